import BrokerClient
import Logging

/// Takes the events of all channels from the broker and applies them: a durable queue subscription a channel, an
/// acknowledgement after the commit and never before (services.md 5.5, 5.6).
struct EventConsumer: Sendable {
    /// How many messages of a channel are handled at a time.
    private static let lanes = 4

    /// Why the subscriptions of all channels were ended.
    private enum Ending {
        case cancelled
        case sessionLost
        case databaseDown
        /// A subscription ended by itself.
        case interrupted
    }

    let configuration: BrokerConfiguration
    let inbox: Inbox
    let broker: BrokerLink
    let clock: ServiceClock
    let metrics: Metrics
    let logger: Logger
    let failPoint: FailPoint?
    let parked: ParkedEvents
    let waiting = WaitingMessages()

    /// Runs until the task is cancelled; messages under way are finished and acknowledged first.
    func run() async {
        guard !inbox.channels.isEmpty else { return }
        await withTaskGroup { group in
            group.addTask { await retryParked() }
            for await client in broker.clients {
                await consume(client)
                if Task.isCancelled { break }
            }
            group.cancelAll()
        }
    }

    private func retryParked() async {
        while !Task.isCancelled {
            do {
                try await parked.retryAll()
            } catch {
                logger.debug("parked events could not be tried again", metadata: ["error": "\(error)"])
            }
            // Cancellation is seen by the loop.
            try? await clock.sleep(.seconds(60))
        }
    }

    /// Subscribes with one client, again and again while the database comes and goes, until its session is lost.
    private func consume(_ client: StreamingClient) async {
        while await databaseAnswers() {
            let ending = await withTaskGroup(of: Ending.self) { group in
                for channel in inbox.channels { group.addTask { await consume(channel, client) } }
                let first = await group.next() ?? .cancelled
                group.cancelAll()
                return first
            }
            switch ending {
            case .cancelled, .sessionLost: return
            case .databaseDown:
                logger.warning("the database does not answer: no events are taken until it does")
            case .interrupted:
                logger.warning("a subscription has ended; all are made anew")
                // Cancellation is seen by the loop.
                try? await clock.sleep(.milliseconds(100))
            }
        }
    }

    /// Returns true when the database answers, false when the task is cancelled.
    private func databaseAnswers() async -> Bool {
        var backoff = Backoff()
        while !Task.isCancelled {
            do {
                try await inbox.database.check()
                return true
            } catch {
                // Cancellation is seen by the loop.
                try? await clock.sleep(backoff.delay())
            }
        }
        return false
    }

    private func consume(_ channel: String, _ client: StreamingClient) async -> Ending {
        var options = ChannelSubscriptionOptions(
            start: .first, durableName: configuration.queueGroup, queueGroup: configuration.queueGroup)
        options.manualAck = true
        options.ackWait = configuration.ackWait
        options.maxInFlight = configuration.maxInFlight
        var backoff = Backoff()
        while !Task.isCancelled {
            do throws(StreamingError) {
                let subscription = try await client.subscribe(channel, options)
                backoff.reset()
                let ending = await consume(subscription)
                // Closed, not unsubscribed: the durable stays. A session that is lost has nothing to close.
                if ending != .sessionLost { await broker.takeLeave { try await subscription.close() } }
                // Also when the broker could not be asked: nobody reads here any more, and the next round subscribes anew.
                await subscription.stop()
                return ending
            } catch {
                switch error {
                case .sessionLost, .closed: return .sessionLost
                case .cancelled: return .cancelled
                default: break
                }
                logger.warning(
                    "a channel could not be subscribed to",
                    metadata: ["channel": "\(channel)", "error": "\(error)"])
                // Cancellation is seen by the loop.
                try? await clock.sleep(backoff.delay())
            }
        }
        return .cancelled
    }

    /// Takes messages until the subscription ends, or the database is away.
    private func consume(_ subscription: ChannelSubscription) async -> Ending {
        let databaseIsAway = WakeUp()
        return await withTaskGroup(of: Ending.self) { group in
            group.addTask { await databaseIsAway.wait() ? .databaseDown : .cancelled }
            group.addTask { await handleAll(of: subscription, databaseIsAway) }
            let first = await group.next() ?? .cancelled
            group.cancelAll()
            return first
        }
    }

    /// Handles several messages at a time, so that they share the server's writes to disk. Their order does not matter:
    /// events of one entity are applied one after the other, and each knows whether it is the newest.
    private func handleAll(of subscription: ChannelSubscription, _ databaseIsAway: WakeUp) async -> Ending {
        await withTaskGroup(of: Void.self) { group in
            var running = 0
            do throws(StreamingError) {
                for try await message in subscription {
                    group.addTask {
                        // In a task of its own: a shutdown does not cut a message that is being applied.
                        let isDatabaseThere = await Task { await handle(message) }.value
                        if !isDatabaseThere { databaseIsAway.signal() }
                    }
                    running += 1
                    if running == Self.lanes {
                        await group.next()
                        running -= 1
                    }
                    if Task.isCancelled { return .cancelled }
                }
                return Task.isCancelled ? .cancelled : .interrupted
            } catch {
                return .sessionLost
            }
        }
    }
}

import BrokerClient
import Logging
import Postgres

/// Takes the events of all channels from the broker and applies them: a durable queue subscription a channel, an
/// acknowledgement after the commit and never before (services.md 5.5, 5.6).
struct EventConsumer: Sendable {
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

    private func consume(_ subscription: ChannelSubscription) async -> Ending {
        do throws(StreamingError) {
            for try await message in subscription {
                // In a task of its own: a shutdown does not cut a message that is being applied.
                let isDatabaseUp = await Task { await handle(message) }.value
                if !isDatabaseUp { return .databaseDown }
                if Task.isCancelled { return .cancelled }
            }
            return Task.isCancelled ? .cancelled : .interrupted
        } catch {
            return .sessionLost
        }
    }

    /// Applies one message and acknowledges it; false when the database is away.
    private func handle(_ message: ChannelMessage) async -> Bool {
        if message.isRedelivered { metrics.add(.redeliveries, 1, ["channel": message.channel]) }
        var log = logger
        log[metadataKey: "channel"] = "\(message.channel)"
        log[metadataKey: "sequence"] = .stringConvertible(message.sequence)
        if let traceID = inbox.traceID(channel: message.channel, payload: message.payload) {
            log[metadataKey: "trace_id"] = "\(traceID)"
        }
        do {
            let outcome = try await inbox.process(channel: message.channel, payload: message.payload)
            metrics.add(.events, 1, ["channel": message.channel, "outcome": outcome.label])
            try await finish(message, outcome, log)
            return true
        } catch {
            let isDatabaseUp = !((error as? PostgresError)?.isUnavailable ?? false)
            guard isDatabaseUp, message.redeliveryCount >= WaitingMessages.deliveryLimit else {
                log.error(
                    "an event could not be handled and will come again", metadata: ["error": "\(error)"])
                return isDatabaseUp
            }
            return await bury(message, "the handler fails: \(error)", log)
        }
    }

    /// What follows from an outcome; the acknowledgement is the last of it.
    private func finish(_ message: ChannelMessage, _ outcome: Inbox.Outcome, _ log: Logger) async throws {
        switch outcome {
        case .waiting(let eventID, let entityID, let reason):
            guard waiting.add(message, entityID: entityID, now: clock.monotonic()) else {
                return log.debug("an event waits for another", metadata: ["reason": "\(reason)"])
            }
            try await inbox.park(
                channel: message.channel, sequence: message.sequence, payload: message.payload,
                eventID: eventID, reason: reason)
            parked.added()
            log.warning("an event is parked", metadata: ["reason": "\(reason)"])
        case .refused(let reason):
            try await inbox.bury(
                channel: message.channel, sequence: message.sequence, payload: message.payload, reason: reason
            )
            try await parked.measure()
            log.error("an event goes to the dead letters", metadata: ["reason": "\(reason)"])
        case .duplicate:
            metrics.add(.duplicates)
            log.debug("an event was handled before")
        case .applied, .ignored, .own:
            FailPoint.inboxBeforeAck.reach(failPoint)
            log.debug("an event was handled", metadata: ["outcome": "\(outcome.label)"])
        }
        message.acknowledge()
        waiting.remove(message)
        if case .applied(let entityID) = outcome { try await retry(entityID) }
    }

    /// Sets a message aside whose handler has failed too often; false when the database is away.
    private func bury(_ message: ChannelMessage, _ reason: String, _ log: Logger) async -> Bool {
        do {
            try await finish(message, .refused(reason), log)
            return true
        } catch {
            return false
        }
    }

    /// Applies what waited for the event that was just applied.
    private func retry(_ entityID: String) async throws {
        for message in waiting.messages(for: entityID) {
            let outcome = try await inbox.process(channel: message.channel, payload: message.payload)
            if case .waiting = outcome { continue }
            metrics.add(.events, 1, ["channel": message.channel, "outcome": outcome.label])
            if case .refused(let reason) = outcome {
                try await inbox.bury(
                    channel: message.channel, sequence: message.sequence, payload: message.payload,
                    reason: reason)
            }
            message.acknowledge()
            waiting.remove(message)
        }
        try await parked.retry(entityID: entityID)
    }
}

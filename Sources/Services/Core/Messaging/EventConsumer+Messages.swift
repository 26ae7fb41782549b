import BrokerClient
import Logging
import Postgres

extension EventConsumer {
    /// Applies one message and acknowledges it; false when the database is away.
    func handle(_ message: ChannelMessage) async -> Bool {
        if message.isRedelivered { metrics.add(.redeliveries, 1, ["channel": message.channel]) }
        var log = logger
        log[metadataKey: "channel"] = "\(message.channel)"
        log[metadataKey: "sequence"] = .stringConvertible(message.sequence)
        do {
            let outcome: Inbox.Outcome
            switch inbox.read(channel: message.channel, payload: message.payload) {
            case .failure(let refusal): outcome = .refused(refusal.reason)
            case .success(let event):
                log[metadataKey: "trace_id"] = "\(event.traceID)"
                outcome = try await inbox.process(event)
            }
            metrics.add(.events, 1, ["channel": message.channel, "outcome": outcome.label])
            try await finish(message, outcome, log)
            guard case .applied(let entityID) = outcome else { return true }
            return await retry(entityID, log)
        } catch {
            let failure = error as? PostgresError
            log.error("an event could not be handled and will come again", metadata: ["error": "\(error)"])
            if failure?.isAway ?? false { return false }
            // A database that is merely slow says nothing about the event.
            let mayPass = failure?.isUnavailable ?? false
            guard !mayPass, message.redeliveryCount >= WaitingMessages.deliveryLimit else { return true }
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
    }

    /// Sets a message aside whose handler has failed too often; false when the database is away.
    private func bury(_ message: ChannelMessage, _ reason: String, _ log: Logger) async -> Bool {
        do {
            try await finish(message, .refused(reason), log)
            return true
        } catch {
            log.error("an event could not be set aside", metadata: ["error": "\(error)"])
            return !((error as? PostgresError)?.isAway ?? false)
        }
    }

    /// Applies what waited for the event that was just applied; false when the database is away. The event itself is done:
    /// what fails here is tried again when the broker sends it again.
    private func retry(_ entityID: String, _ log: Logger) async -> Bool {
        do {
            for message in waiting.messages(for: entityID) {
                let outcome = try await inbox.process(channel: message.channel, payload: message.payload)
                if case .waiting = outcome { continue }
                metrics.add(.events, 1, ["channel": message.channel, "outcome": outcome.label])
                try await finish(message, outcome, log)
            }
            try await parked.retry(entityID: entityID)
            return true
        } catch {
            log.warning(
                "what has waited for this event could not be applied yet", metadata: ["error": "\(error)"])
            return !((error as? PostgresError)?.isAway ?? false)
        }
    }
}

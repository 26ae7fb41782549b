import BrokerLog
import BrokerProtocol

/// A purge that waits for a block from the disk.
struct PendingPurge {
    var extent: ChannelRequest.Extent
    var channel: [UInt8]
    var reply: [UInt8]
}

// Channels are deleted and purged by request: `ChannelRequest`. Who may ask is decided where the request
// comes in (`LoopCore`).
extension StreamingEngine {
    func receiveChannelRequest(
        _ verb: ChannelRequest.Verb, subject: UnsafeRawBufferPointer, reply: [UInt8],
        payload: UnsafeRawBufferPointer
    ) {
        let prefix = verb.prefix(clusterID: Array(options.clusterID.utf8))
        let name = unsafe Array(subject.dropFirst(prefix.count))
        let request: ChannelRequest
        do throws(ChannelRequestError) {
            request = unsafe try ChannelRequest(verb, payload: payload)
        } catch {
            return refuse(error.text, channel: name, reply: reply)
        }
        switch request {
        case .delete(let force): delete(name, force: force, reply: reply)
        case .purge(let extent):
            purge(PendingPurge(extent: extent, channel: name, reply: reply))
        }
    }

    private func refuse(_ error: String, channel: [UInt8], reply: [UInt8]) {
        send(ChannelAnswer.refused(channel, error), to: reply)
    }

    private func unknown(_ name: [UInt8]) -> String { "there is no channel \"\(text(name))\"" }

    // MARK: Delete

    private func delete(_ name: [UInt8], force: Bool, reply: [UInt8]) {
        guard let channel = channelsByName[name].flatMap({ channels[$0] }) else {
            return refuse(unknown(name), channel: name, reply: reply)
        }
        let online = channel.consumers.flatMap(\.members).filter { subscriptions[$0.id] != nil }
        if !force, let one = online.first {
            let count = online.count == 1 ? "a subscription" : "\(online.count) subscriptions"
            return refuse(
                "the channel \"\(text(name))\" has \(count) online (client \"\(text(one.clientID))\"); "
                    + "close what reads it first, or delete it with \"force\"",
                channel: name, reply: reply)
        }
        let info = log.info(of: channel.id)
        let count = channel.subscriptionCount
        let position: LogPosition
        do throws(AppendRefused) {
            position = try delete(channel)
        } catch {
            return refuse(error.description, channel: name, reply: reply)
        }
        let answer = ChannelAnswer.deleted(
            name, messages: info?.messages ?? 0, bytes: info?.bytes ?? 0, subscriptions: count)
        hold(.administration(channel: name), answer, to: reply, until: position)
    }

    /// Deletes a channel with every subscription to it; the name may be used again at once. The protocol
    /// has no message that would tell a subscriber: nothing comes to it any more, and what it still sends
    /// for its subscription is answered as for one that does not exist. Returns where the journal says so.
    @discardableResult
    func delete(_ channel: MessageChannel) throws(AppendRefused) -> LogPosition {
        var position = try log.deleteChannel(channel.id)
        for consumer in channel.consumers {
            for member in consumer.members {
                if let subscription = subscriptions[member.id] {
                    discard(subscription)
                    logger.warning(
                        "STREAM: [Client:\(text(member.clientID))] Its \(kindText(subscription)) ended with the channel"
                    )
                }
                position = journal(.subscriptionRemoved(id: member.id))
            }
        }
        hasAppended = true
        channels[channel.id.rawValue] = nil
        channelsByName[channel.name] = nil
        channelsByFoldedName[Self.folded(channel.name)] = nil
        ready.removeAll { $0.channel === channel }
        loading.removeAll { $0.channel === channel }
        dirtyChannels.removeAll { $0 === channel }
        unsaved.removeAll { consumer in channel.consumers.contains { $0 === consumer } }
        logger.info("STREAM: Channel \"\(text(channel.name))\" has been deleted")
        return position
    }

    // MARK: Purge

    private func purge(_ request: PendingPurge) {
        guard let channel = channelsByName[request.channel].flatMap({ channels[$0] }) else {
            return refuse(unknown(request.channel), channel: request.channel, reply: request.reply)
        }
        guard let first = firstKept(request.extent, in: channel) else {
            waitingPurges.append(request)
            return
        }
        do throws(AppendRefused) {
            switch try log.purge(channel.id, below: first) {
            case .loading: waitingPurges.append(request)
            case .purged(let messages, let position):
                let answer = purged(messages, from: channel, below: first)
                // Where nothing was to be removed nothing has to become durable.
                if position <= log.durable { return send(answer, to: request.reply) }
                hasAppended = true
                hold(.administration(channel: channel.name), answer, to: request.reply, until: position)
            }
        } catch {
            refuse(error.description, channel: request.channel, reply: request.reply)
        }
    }

    /// The first sequence that the purge leaves; nil while a block that tells it is being read.
    private func firstKept(_ extent: ChannelRequest.Extent, in channel: MessageChannel) -> UInt64? {
        switch extent {
        case .all: return channel.lastSequence + 1
        case .upTo(let sequence): return min(sequence, channel.lastSequence) + 1
        case .olderThan(let age):
            let (time, overflow) = clock.wall().subtractingReportingOverflow(Int64(clamping: age))
            switch log.sequence(channel.id, atOrAfter: overflow ? .min : time) {
            case .found(let sequence): return sequence
            case .end: return channel.lastSequence + 1
            case .loading: return nil
            }
        }
    }

    /// Consumers go on behind what is gone. Returns the answer.
    private func purged(_ messages: Int, from channel: MessageChannel, below first: UInt64) -> [UInt8] {
        let info = log.info(of: channel.id)
        for consumer in channel.consumers
        where consumer.dropVanished(below: info?.firstSequence ?? first) {
            markUnsaved(consumer)
            makeReady(consumer, in: channel)
        }
        logger.info("STREAM: Channel \"\(text(channel.name))\" has been purged of \(messages) message(s)")
        return ChannelAnswer.purged(
            channel.name, messages: messages, first: info?.firstSequence ?? first,
            last: info?.lastSequence ?? channel.lastSequence)
    }

    /// Tries the purges again that waited for a block.
    func resumePurges() {
        let waiting = waitingPurges
        waitingPurges = []
        for request in waiting { purge(request) }
    }
}

/// What is answered to a `ChannelRequest`.
enum ChannelAnswer {
    static func refused(_ channel: [UInt8], _ error: String) -> [UInt8] {
        object(channel) { $0.field("error", error) }
    }

    static func deleted(_ channel: [UInt8], messages: Int, bytes: Int, subscriptions: Int) -> [UInt8] {
        object(channel) { json in
            json.field("messages", messages)
            json.field("bytes", bytes)
            json.field("subscriptions", subscriptions)
        }
    }

    static func purged(_ channel: [UInt8], messages: Int, first: UInt64, last: UInt64) -> [UInt8] {
        object(channel) { json in
            json.field("purged", messages)
            json.field("first_sequence", first)
            json.field("last_sequence", last)
        }
    }

    private static func object(_ channel: [UInt8], _ fields: (inout JSONWriter) -> Void) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.field("channel", channel)
        fields(&json)
        json.endObject()
        return json.bytes
    }
}

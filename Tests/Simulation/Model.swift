/// What a log should hold, kept as simply as can be: every record ever appended with its position.
/// Shares no code with the product.
struct Model {
    struct Message {
        var sequence: UInt64
        var time: Int64
        var payload: [UInt8]
        var reply: [UInt8]
        var position: UInt64
    }

    struct Limits: Equatable {
        var messages = 0
        var bytes = 0
        var age: UInt64 = 0
    }

    struct Channel {
        var name: [UInt8]
        var created: UInt64
        var deleted: UInt64?
        var messages: [Message] = []
        /// What was trimmed by age or before a change of limits: position of the record, first kept.
        var floors: [(position: UInt64, first: UInt64)] = []
        var limits: [(position: UInt64, limits: Limits)]
    }

    /// What a channel holds.
    struct Content {
        var first: UInt64
        var last: UInt64
        var bytes: Int
        var messages: [Message]
        var limits: Limits
    }

    var channels: [UInt32: Channel] = [:]
    /// Ids of the engine's state records, which count up, with their positions.
    var states: [(id: UInt64, position: UInt64)] = []
    /// Everything up to here was acknowledged.
    var durable: UInt64 = 0
    /// The last position given.
    var last: UInt64 = 0

    /// Bytes of a MsgProto and 40 more: sequence, subject, reply, data, time.
    static func size(_ message: Message, name: [UInt8]) -> Int {
        func varint(_ value: UInt64) -> Int {
            var value = value
            var count = 1
            while value >= 128 {
                value /= 128
                count += 1
            }
            return count
        }
        func field(_ bytes: [UInt8]) -> Int {
            bytes.isEmpty ? 0 : 1 + varint(UInt64(bytes.count)) + bytes.count
        }
        return 40 + 1 + varint(message.sequence) + field(name) + field(message.reply) + field(message.payload)
            + (message.time == 0 ? 0 : 1 + varint(UInt64(bitPattern: message.time)))
    }

    /// The channels that exist when everything up to `position` happened.
    func existing(at position: UInt64) -> [UInt32] {
        channels.filter { _, channel in
            channel.created <= position && (channel.deleted.map { $0 > position } ?? true)
        }.keys.sorted()
    }

    /// A channel's content when messages up to `messages` and records up to `records` count.
    func content(_ id: UInt32, messages: UInt64, records: UInt64) -> Content {
        guard let channel = channels[id] else { fatalError("the simulation asks for channels it made") }
        let written = channel.messages.filter { $0.position <= messages }
        let floor = channel.floors.filter { $0.position <= records }.map(\.first).max() ?? 1
        let limits = channel.limits.last { $0.position <= records }?.limits ?? Limits()
        var kept = written.filter { $0.sequence >= floor }
        var bytes = kept.reduce(0) { $0 + Self.size($1, name: channel.name) }
        var dropped = 0
        while dropped < kept.count {
            let count = kept.count - dropped
            let over =
                (limits.messages > 0 && count > limits.messages)
                || (limits.bytes > 0 && bytes > limits.bytes && count > 1)
            guard over else { break }
            bytes -= Self.size(kept[dropped], name: channel.name)
            dropped += 1
        }
        kept.removeFirst(dropped)
        let last = written.last?.sequence ?? 0
        return Content(
            first: kept.first?.sequence ?? last + 1, last: last, bytes: bytes, messages: kept, limits: limits)
    }

    /// A channel's content as it is served now: what is durable, under the limits of now.
    func served(_ id: UInt32) -> Content { content(id, messages: durable, records: .max) }

    /// The machine died and the log says that it holds everything up to `position`.
    mutating func crash(to position: UInt64) {
        for (id, channel) in channels {
            if channel.created > position || channel.deleted.map({ $0 <= position }) == true {
                channels[id] = nil
                continue
            }
            channels[id]?.deleted = nil
            channels[id]?.messages.removeAll { $0.position > position }
            channels[id]?.floors.removeAll { $0.position > position }
            channels[id]?.limits.removeAll { $0.position > position }
        }
        states.removeAll { $0.position > position }
        durable = position
        last = position
    }

    /// Messages that are not durable were refused; other records moved to the last positions.
    mutating func refuse() {
        for id in channels.keys {
            channels[id]?.messages.removeAll { $0.position > durable }
            if let created = channels[id]?.created, created > durable { channels[id]?.created = last }
            if let deleted = channels[id]?.deleted, deleted > durable { channels[id]?.deleted = last }
            for index in channels[id]?.floors.indices ?? 0..<0
            where channels[id]?.floors[index].position ?? 0 > durable {
                channels[id]?.floors[index].position = last
            }
            for index in channels[id]?.limits.indices ?? 0..<0
            where channels[id]?.limits[index].position ?? 0 > durable {
                channels[id]?.limits[index].position = last
            }
        }
        for index in states.indices where states[index].position > durable { states[index].position = last }
    }
}

import BrokerLog

/// What can be done with the log under test; the model is told.
extension Simulation {
    /// Creates a channel, unless the log is closed; returns its id.
    @discardableResult
    func createChannel(_ limits: Model.Limits = Model.Limits(), named start: String) throws -> UInt32? {
        guard !isClosed else { return nil }
        var name = Array(start.utf8)
        while log.channel(named: name) != nil { name.append(UInt8(ascii: "x")) }
        guard let id = try? log.createChannel(named: name, limits: limits.product) else { return nil }
        note("create \(id.rawValue) \(limits)")
        guard model.channels[id.rawValue] == nil else {
            throw Violation(description: "id \(id) was given twice")
        }
        let position = mark()
        model.channels[id.rawValue] = Model.Channel(
            name: name, created: position, limits: [(position, limits)])
        return id.rawValue
    }

    /// Appends messages of `size` bytes to a channel, which is nil when it could not be created: noise, or bytes
    /// that lz4 makes small, by chance where that is not said.
    func append(_ count: Int = 1, of size: Int, to id: UInt32?, isNoise: Bool? = nil) throws {
        guard let id else { return }
        for _ in 0..<count where !isClosed {
            var payload = [UInt8](repeating: 7, count: size)
            if isNoise ?? (draw(2) == 0) {
                for index in payload.indices { payload[index] = UInt8(truncatingIfNeeded: random.next()) }
            }
            let reply = Array("reply.\(draw(100))".utf8)
            let result = payload.withUnsafeBytes { payload in
                reply.withUnsafeBytes { reply in
                    Result { () throws(AppendRefused) in
                        try log.append(
                            to: ChannelID(rawValue: id), wallClock: clock, reply: reply,
                            headers: UnsafeRawBufferPointer(start: nil, count: 0), payload: payload)
                    }
                }
            }
            guard case .success(let appended) = result else { return }
            try appendedOne(appended, payload, reply, to: id)
        }
        note("append to \(id) up to \(model.last)")
    }

    private func appendedOne(
        _ appended: Appended, _ payload: [UInt8], _ reply: [UInt8], to id: UInt32
    ) throws {
        let before = model.channels[id]?.messages.last
        let expected = max(before?.sequence ?? 0, model.content(id, messages: .max, records: .max).last) + 1
        guard appended.sequence == expected else {
            throw Violation(
                description: "channel \(id) gave sequence \(appended.sequence), not \(expected)")
        }
        guard appended.position.rawValue > model.last else {
            throw Violation(description: "a position was given twice")
        }
        model.last = appended.position.rawValue
        model.channels[id]?.messages.append(
            Model.Message(
                sequence: appended.sequence, time: appended.timestamp, payload: payload, reply: reply,
                position: appended.position.rawValue))
    }

    func appendState() {
        guard !isClosed else { return }
        _ = mark()
        note("state \(nextState - 1) at \(model.last)")
    }

    /// Appends a state record; its position tells those of the control records before it.
    func mark() -> UInt64 {
        let id = nextState
        let position = withUnsafeBytes(of: id.littleEndian) { log.appendState($0).rawValue }
        guard !isClosed else { return .max }
        nextState += 1
        model.last = position
        model.states.append((id, position))
        return position
    }

    func checkpoint() {
        guard !isClosed else { return }
        note("checkpoint at \(model.last)")
        checkpointed = model.last
        log.checkpoint(state: snapshot)
    }

    /// What the engine would remember: the last state record.
    private var snapshot: [UInt8] { withUnsafeBytes(of: (nextState - 1).littleEndian) { Array($0) } }

    func setLimits(_ limits: Model.Limits, of id: UInt32?) throws {
        guard let id, !isClosed else { return }
        try readEverything()
        guard !isClosed else { return }
        let first = model.served(id).first
        log.setLimits(limits.product, of: ChannelID(rawValue: id))
        let position = mark()
        note("limits of \(id): \(limits), first \(first) at \(position)")
        model.channels[id]?.floors.append((position, first))
        model.channels[id]?.limits.append((position, limits))
    }

    func expire() throws {
        try readEverything()
        guard !isClosed else { return }
        let now = clock
        var floors: [(UInt32, UInt64)] = []
        for id in model.existing(at: .max) {
            let content = model.served(id)
            guard content.limits.age > 0 else { continue }
            let kept = content.messages.first { $0.time > now - Int64(content.limits.age) }?.sequence
            floors.append((id, kept ?? content.last + 1))
        }
        // A block that must go in part is read first; then the rest goes.
        for _ in 0..<4 {
            log.expire(now: now)
            try readEverything()
        }
        let position = mark()
        note("expire at \(position)")
        for (id, first) in floors { model.channels[id]?.floors.append((position, first)) }
    }

    func purge(_ id: UInt32?) throws {
        guard let id, !isClosed else { return }
        try readEverything()
        guard !isClosed else { return }
        let content = model.served(id)
        try purge(id, below: content.first + UInt64(draw(Int(content.last + 3 - content.first))))
    }

    /// Purges a channel below a sequence, unless the disk cannot read what that needs.
    func purge(_ id: UInt32?, below first: UInt64) throws {
        guard let id, !isClosed else { return }
        try readEverything()
        guard !isClosed else { return }
        let content = model.served(id)
        for _ in 0..<20 {
            guard let outcome = try? log.purge(ChannelID(rawValue: id), below: first) else { return }
            guard case .purged = outcome else {
                try readEverything()
                continue
            }
            let position = mark()
            note("purge \(id) below \(first) at \(position)")
            model.channels[id]?.floors.append((position, min(first, content.last + 1)))
            return
        }
        if faults.isFailing || faults.isOff { return }
        throw Violation(description: "channel \(id): a purge below \(first) waits for ever")
    }

    func deleteChannel(_ id: UInt32?) {
        guard let id, !isClosed else { return }
        do { try log.deleteChannel(ChannelID(rawValue: id)) } catch { return }
        note("delete \(id)")
        let position = mark()
        model.channels[id]?.deleted = position
    }

    /// Shuts down in order and starts again.
    func closeAndReopen() throws {
        try close()
        disk.capacity = .max
        try reopen(after: .process)
    }

    /// Shuts down in order.
    func close() throws {
        settle()
        try poll()
        end()
    }

    /// Lets the log end by itself; what it made durable then counts as acknowledged by no one.
    func end() {
        note("close")
        log.close(state: snapshot)
        isClosed = true
    }
}

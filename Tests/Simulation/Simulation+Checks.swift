import BrokerLog

/// What must be true whatever happened.
extension Simulation {
    /// Opening again changes no byte.
    func checkTwice() throws {
        let before = disk.everything()
        try reopen(after: .process)
        // Nor does what the threads have to do then, until something is written.
        _ = log.poll()
        for _ in 0..<20 where log.stepBackground() {}
        guard disk.everything() == before else { throw Violation(description: "opening changed the store") }
    }

    func checkStates() throws {
        let (snapshot, records) = log.recoveredState
        func number(_ bytes: [UInt8]) -> UInt64 { bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
        let covered = snapshot.map(number) ?? 0
        let expected = (model.states.map(\.id).filter { $0 > covered })
        if allowsDamage {
            guard records.map(number).allSatisfy(expected.contains) else {
                throw Violation(description: "state records \(records.map(number)) of \(expected)")
            }
            return
        }
        guard records.map(number) == expected else {
            throw Violation(
                description:
                    "state records \(records.map(number)), not \(expected), after the snapshot of \(covered)")
        }
        nextState = max(covered, model.states.last?.id ?? 0) + 1
    }

    func look() throws {
        try readEverything()
        try checkContents()
    }

    func checkContents() throws {
        if allowsDamage {
            _ = try lost()
            return
        }
        let expected = model.existing(at: .max)
        guard log.channels.map(\.rawValue) == expected else {
            throw Violation(description: "channels \(log.channels.map(\.rawValue)), not \(expected)")
        }
        for id in expected {
            let content = model.served(id)
            let channel = ChannelID(rawValue: id)
            guard let info = log.info(of: channel) else { throw Violation(description: "no channel \(id)") }
            guard info.firstSequence == content.first, info.lastSequence == content.last,
                info.messages == content.messages.count, info.bytes == content.bytes, info.damage.isEmpty
            else {
                throw Violation(
                    description:
                        "channel \(id) says \(info), not first \(content.first) last \(content.last) "
                        + "messages \(content.messages.count) bytes \(content.bytes)")
            }
            try checkMessages(channel, content)
        }
    }

    private func checkMessages(_ channel: ChannelID, _ content: Model.Content) throws {
        var next = content.first
        var index = 0
        while index < content.messages.count {
            switch log.read(channel, at: next) {
            case .messages(let batch):
                for position in 0..<batch.count {
                    let message = batch.message(at: position)
                    let expected = content.messages[index]
                    guard message.sequence == expected.sequence, message.timestamp == expected.time,
                        message.payload.elementsEqual(expected.payload),
                        message.reply.elementsEqual(expected.reply)
                    else { throw Violation(description: "channel \(channel) differs at sequence \(next)") }
                    index += 1
                    next += 1
                    if index == content.messages.count, position + 1 < batch.count {
                        throw Violation(description: "channel \(channel) has more than \(content.last)")
                    }
                }
            case .loading:
                try readOn()
            case .missing(let after):
                throw Violation(description: "channel \(channel): \(next) is missing, next is \(after)")
            case .end:
                throw Violation(
                    description: "channel \(channel) ends before \(next), not after \(content.last)")
            }
        }
    }

    // MARK: On a damaged disk

    /// Sequences by channel that are not served. Everything served must be what was written, and everything else named.
    func lost() throws -> [UInt32: [UInt64]] {
        try endFrames()
        var lost: [UInt32: [UInt64]] = [:]
        for id in model.existing(at: .max) {
            let content = model.served(id)
            let served = try sequences(of: ChannelID(rawValue: id), content)
            let missing = content.messages.map(\.sequence).filter { !served.contains($0) }
            if !missing.isEmpty { lost[id] = missing }
        }
        let damage = log.statistics.damage
        for (id, missing) in lost {
            var named = log.info(of: ChannelID(rawValue: id))?.damage ?? []
            named += damage.flatMap(\.lost).filter { $0.channel.rawValue == id }.map(\.sequences)
            let silent = missing.filter { sequence in !named.contains { $0.contains(sequence) } }
            if silent.isEmpty || isWithinCut(id, silent) || isWithinGap(id, silent) { continue }
            throw Violation(
                description: "channel \(id) lost \(silent) and says \(named); damage \(damage), cut "
                    + "\(log.recovery.cutTail ?? "nothing")")
        }
        return lost
    }

    /// The journal's end was cut, which was said, and what is missing lies behind it.
    private func isWithinCut(_ id: UInt32, _ sequences: [UInt64]) -> Bool {
        guard allowsCut || log.recovery.cutTail != nil else { return false }
        return positions(id, sequences).allSatisfy { $0 > log.durable.rawValue }
    }

    /// Records of the journal are gone without a trace of what they said: only their positions can be named. That they
    /// are within the damaged bytes is for the caller to see, who damaged them.
    private func isWithinGap(_ id: UInt32, _ sequences: [UInt64]) -> Bool {
        log.statistics.damage.contains { $0.file.hasPrefix("journal") }
    }

    private func positions(_ id: UInt32, _ sequences: [UInt64]) -> [UInt64] {
        (model.channels[id]?.messages ?? []).filter { sequences.contains($0.sequence) }.map(\.position)
    }

    private func sequences(of channel: ChannelID, _ content: Model.Content) throws -> Set<UInt64> {
        var served = Set<UInt64>()
        var next = UInt64(1)
        let expected = Dictionary(uniqueKeysWithValues: content.messages.map { ($0.sequence, $0) })
        while true {
            switch log.read(channel, at: next) {
            case .messages(let batch):
                for position in 0..<batch.count {
                    let message = batch.message(at: position)
                    guard message.sequence == next, let expected = expected[next],
                        message.timestamp == expected.time, message.payload.elementsEqual(expected.payload),
                        message.reply.elementsEqual(expected.reply)
                    else {
                        throw Violation(description: "channel \(channel) serves \(message.sequence) altered")
                    }
                    served.insert(next)
                    next += 1
                }
            case .loading:
                try readOn()
            case .missing(let after):
                guard after > next else { throw Violation(description: "\(next) is missing, next \(after)") }
                next = after
            case .end: return served
            }
        }
    }
}

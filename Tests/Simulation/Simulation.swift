import BrokerLog
import Glibc

/// Something that must not be: what, and after which steps.
struct Violation: Error, CustomStringConvertible {
    var description: String
}

/// One random run of a log on a simulated disk against the model. Everything follows from the seed.
final class Simulation {
    var random: SeededGenerator
    let disk: SimulatedFileSystem
    var model = Model()
    var log: Log
    private var configuration: LogConfiguration
    private var clock: Int64 = 1_000_000
    private var nextState: UInt64 = 1
    private var isClosed = false
    private var trace: [String] = []
    private(set) var crashes = 0
    private(set) var acknowledged = 0

    init(seed: UInt64) throws {
        random = SeededGenerator(seed: seed)
        disk = SimulatedFileSystem(seed: seed &* 31 &+ 7)
        configuration = LogConfiguration(storage: .file(directory: "/data"))
        configuration.execution = .manual
        configuration.journalSizeBytes = 1 << 20
        configuration.segmentBytes = 20_000 + Int(random.next() % 150_000)
        configuration.cacheBytes = random.next() % 2 == 0 ? 1 : 1 << 20
        configuration.clusterID = "simulation"
        log = try Log.open(configuration, fileSystem: disk, clock: LogClock { 0 }, wake: {})
    }

    /// Makes `steps` random steps, then a crash and a last look.
    func run(steps: Int) throws {
        do {
            for _ in 0..<steps { try step() }
            try crash()
        } catch {
            throw Violation(
                description: "\(error)\n  last steps: \(trace.suffix(30).joined(separator: ", "))")
        }
    }

    private func draw(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }

    private func step() throws {
        clock += Int64(draw(1_000))
        switch draw(100) {
        case 0..<4: try createChannel()
        case 4..<50: try append()
        case 50..<56: appendState()
        case 56..<66: log.submit()
        case 66..<76: try commit()
        case 76..<82: background()
        case 82..<85: try look()
        case 85..<88: checkpoint()
        case 88..<90: try setLimits()
        case 90..<91: try expire()
        case 91..<92: try purge()
        case 92..<93: try deleteChannel()
        case 93..<94: fillDisk()
        case 94..<95: failOneCall()
        case 95..<97: try crashInside()
        case 97..<98: try closeAndReopen()
        default: try crash()
        }
        try poll()
    }

    // MARK: Steps

    private func createChannel() throws {
        guard model.existing(at: .max).count < 5, !isClosed else { return }
        var name = Array("channel.\(draw(1_000))".utf8)
        while log.channel(named: name) != nil { name.append(UInt8(ascii: "x")) }
        let limits = drawLimits()
        do {
            let id = try log.createChannel(named: name, limits: limits.product)
            note("create \(id.rawValue) \(limits)")
            guard model.channels[id.rawValue] == nil else {
                throw Violation(description: "id \(id) was given twice")
            }
            let position = mark()
            model.channels[id.rawValue] = Model.Channel(
                name: name, created: position, limits: [(position, limits)])
        } catch is AppendRefused {
        }
    }

    private func append() throws {
        guard let id = anyChannel(), !isClosed else { return }
        for _ in 0...draw(6) {
            let size = draw(40) == 0 ? 60_000 + draw(60_000) : draw(2_500)
            var payload = [UInt8](repeating: 0, count: size)
            let isNoise = draw(2) == 0
            for index in payload.indices {
                payload[index] = isNoise ? UInt8(truncatingIfNeeded: random.next()) : 7
            }
            let reply = Array("reply.\(draw(100))".utf8)
            let appended: Appended
            do {
                appended = try payload.withUnsafeBytes { payload in
                    try reply.withUnsafeBytes { reply in
                        try log.append(
                            to: ChannelID(rawValue: id), wallClock: clock, reply: reply,
                            headers: UnsafeRawBufferPointer(start: nil, count: 0), payload: payload)
                    }
                }
            } catch is AppendRefused {
                return
            }
            let before = model.channels[id]?.messages.last
            let expected =
                max(before?.sequence ?? 0, model.content(id, messages: .max, records: .max).last) + 1
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
        note("append to \(id) up to \(model.last)")
    }

    private func appendState() {
        guard !isClosed else { return }
        _ = mark()
        note("state \(nextState - 1) at \(model.last)")
    }

    /// Appends a state record; its position tells those of the control records before it.
    private func mark() -> UInt64 {
        let id = nextState
        let position = withUnsafeBytes(of: id.littleEndian) { log.appendState($0).rawValue }
        guard !isClosed else { return .max }
        nextState += 1
        model.last = position
        model.states.append((id, position))
        return position
    }

    private func commit() throws {
        for _ in 0...draw(3) where log.stepCommit() { note("commit") }
    }

    private func background() {
        for _ in 0...draw(8) where log.stepBackground() { note("background") }
    }

    private func checkpoint() {
        guard !isClosed else { return }
        note("checkpoint at \(model.last)")
        log.checkpoint(state: withUnsafeBytes(of: (nextState - 1).littleEndian) { Array($0) })
        if draw(2) == 0 { settle() }
    }

    private func setLimits() throws {
        guard let id = anyChannel(), !isClosed else { return }
        try readEverything()
        guard !isClosed else { return }
        let first = model.served(id).first
        let limits = drawLimits()
        log.setLimits(limits.product, of: ChannelID(rawValue: id))
        let position = mark()
        note("limits of \(id): \(limits), first \(first) at \(position)")
        model.channels[id]?.floors.append((position, first))
        model.channels[id]?.limits.append((position, limits))
    }

    private func expire() throws {
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

    private func purge() throws {
        guard let id = anyChannel(), !isClosed else { return }
        try readEverything()
        guard !isClosed else { return }
        let content = model.served(id)
        let first = content.first + UInt64(draw(Int(content.last + 3 - content.first)))
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
        throw Violation(description: "channel \(id): a purge below \(first) waits for ever")
    }

    private func deleteChannel() throws {
        guard let id = anyChannel(), !isClosed else { return }
        do { try log.deleteChannel(ChannelID(rawValue: id)) } catch { return }
        note("delete \(id)")
        let position = mark()
        model.channels[id]?.deleted = position
    }

    /// The disk is full for a while.
    private func fillDisk() {
        if disk.capacity == .max, draw(2) == 0 {
            note("disk full")
            disk.capacity = draw(200_000)
        } else {
            disk.capacity = .max
        }
    }

    /// One of the next calls fails.
    private func failOneCall() {
        let calls: [SimulatedFileSystem.Call] = [
            .write, .sync, .open, .rename, .syncDirectory, .syncAll, .read,
        ]
        let kind = calls[draw(calls.count)]
        let code: Int32 = [5, 28, 24][draw(3)]
        if kind == .read || ((kind == .sync || kind == .write) && code == 24) { return }
        let skipped = draw(6)
        nonisolated(unsafe) var seen = 0
        note("fail \(kind) with \(code) after \(skipped)")
        disk.onCall { call, _ in
            guard call == kind else { return nil }
            seen += 1
            return seen == skipped + 1 ? code : nil
        }
    }

    /// The machine dies somewhere inside the next calls.
    private func crashInside() throws {
        let limit = draw(30)
        nonisolated(unsafe) var calls = 0
        note("dies within \(limit) calls")
        disk.onCall { _, _ in
            calls += 1
            return calls > limit ? SimulatedFileSystem.machineIsOff : nil
        }
        for _ in 0..<12 {
            if draw(2) == 0 { checkpoint() }
            try append()
            log.submit()
            _ = log.stepCommit()
            for _ in 0..<4 { _ = log.stepBackground() }
            try poll()
        }
        try crash()
    }

    private func closeAndReopen() throws {
        note("close")
        settle()
        try poll()
        log.close(state: withUnsafeBytes(of: (nextState - 1).littleEndian) { Array($0) })
        disk.capacity = .max
        try reopen(after: .process)
        if !isClosed { try checkTwice() }
    }

    private func crash() throws {
        disk.capacity = .max
        let kinds = SimulatedFileSystem.Crash.allCases
        try reopen(after: draw(2) == 0 ? .random : kinds[draw(kinds.count)])
        if draw(3) == 0 { try checkTwice() }
        // A chain: crashes while recovering.
        if draw(4) == 0 {
            let limit = draw(40)
            nonisolated(unsafe) var calls = 0
            disk.onCall { _, _ in
                calls += 1
                return calls > limit ? SimulatedFileSystem.machineIsOff : nil
            }
            disk.dropLocks()
            _ = try? Log.open(configuration, fileSystem: disk, clock: LogClock { 0 }, wake: {})
            try reopen(after: .random)
        }
    }

    // MARK: Checks

    private func reopen(after kind: SimulatedFileSystem.Crash) throws {
        crashes += 1
        note("crash \(kind)")
        disk.crash(kind)
        let known = model.durable
        do {
            log = try Log.open(configuration, fileSystem: disk, clock: LogClock { 0 }, wake: {})
        } catch {
            throw Violation(description: "the store does not open: \(error)")
        }
        isClosed = false
        guard log.recovery.damage.isEmpty else {
            throw Violation(description: "damage where there is none: \(log.recovery.damage)")
        }
        let position = log.durable.rawValue
        guard position >= known else {
            throw Violation(description: "acknowledged up to \(known), recovered up to \(position)")
        }
        model.crash(to: position)
        try checkStates()
        try checkContents()
    }

    /// Opening again changes no byte.
    private func checkTwice() throws {
        let before = disk.everything()
        try reopen(after: .process)
        guard disk.everything() == before else { throw Violation(description: "opening changed the store") }
    }

    private func checkStates() throws {
        let (snapshot, records) = log.recoveredState
        func number(_ bytes: [UInt8]) -> UInt64 { bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
        let covered = snapshot.map(number) ?? 0
        let expected = (model.states.map(\.id).filter { $0 > covered })
        guard records.map(number) == expected else {
            throw Violation(
                description:
                    "state records \(records.map(number)), not \(expected), after the snapshot of \(covered)")
        }
        nextState = max(covered, model.states.last?.id ?? 0) + 1
    }

    private func look() throws {
        try readEverything()
        try checkContents()
    }

    private func checkContents() throws {
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
                while log.stepReader() {}
                try poll()
            case .missing(let after):
                throw Violation(description: "channel \(channel): \(next) is missing, next is \(after)")
            case .end:
                throw Violation(
                    description: "channel \(channel) ends before \(next), not after \(content.last)")
            }
        }
    }

    // MARK: Small parts

    private func poll() throws {
        let news = log.poll()
        let durable = log.durable.rawValue
        if durable > model.durable { acknowledged += Int(durable - model.durable) }
        guard durable >= model.durable else {
            throw Violation(description: "durable went back to \(durable)")
        }
        model.durable = durable
        if let reason = news.refused {
            note("refused: \(reason)")
            model.refuse()
        }
        if let reason = news.closed {
            note("closed: \(reason)")
            isClosed = true
        }
        if news.checkpointWanted { checkpoint() }
    }

    /// Reads what trimming waits for.
    private func readEverything() throws {
        for _ in 0..<4 {
            while log.stepReader() {}
            try poll()
        }
    }

    private func settle() {
        log.submit()
        for _ in 0..<50 where log.stepCommit() {}
        try? poll()
        for _ in 0..<50 where log.stepBackground() {}
    }

    private func anyChannel() -> UInt32? {
        let ids = model.existing(at: .max)
        return ids.isEmpty ? nil : ids[draw(ids.count)]
    }

    private func drawLimits() -> Model.Limits {
        var limits = Model.Limits()
        if draw(3) == 0 { limits.messages = 1 + draw(60) }
        if draw(3) == 0 { limits.bytes = 1_000 + draw(120_000) }
        if draw(3) == 0 { limits.age = UInt64(1_000 + draw(30_000)) }
        return limits
    }

    private func note(_ text: String) {
        trace.append(text)
        if verbose { write(2, text + "\n", text.utf8.count + 1) }
    }
    private let verbose = getenv("SIMULATION_VERBOSE") != nil
}

extension Model.Limits {
    /// The product's value of these limits.
    var product: ChannelLimits { ChannelLimits(maxMessages: messages, maxBytes: bytes, maxAge: age) }
}

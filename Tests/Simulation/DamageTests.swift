import BrokerLog
import Synchronization
import Testing

/// A small store with everything in it, and what may be lost where.
struct DamagedStore {
    let whole: Simulation
    let files: [String: [UInt8]]
    let regions: [Region]

    /// Sealed and unsealed segments, two checkpoints with tails, and a journal behind them.
    init(seed: UInt64) throws {
        let run = try Simulation(seed: seed) { configuration in
            configuration.segmentBytes = 900
            configuration.cacheBytes = 1
        }
        let names = try ["first", "second", "third"].map { try run.createChannel(named: $0) }
        // Records that lz4 makes small, so that a block of them is.
        for round in 0..<2 {
            // What fills a block nearly, and then what does not fit: the tails stay small.
            for size in [31_000, 31_000, 900, 31_000, 31_000, 800] where round == 0 || size > 800 {
                try run.append(of: size, to: names[0], isNoise: false)
            }
            if round == 0 {
                for size in [31_000, 31_000, 4_000] { try run.append(of: size, to: names[1], isNoise: false) }
            }
            try run.append(2, of: 20, to: names[2])
            run.appendState()
            try run.commit()
            try run.background()
            run.checkpoint()
            try run.commit()
            try run.background()
        }
        for size in [30, 10, 40] {
            for id in names { try run.append(2, of: size, to: id) }
            run.appendState()
            try run.commit()
        }
        self.init(afterCrashOf: run)
    }

    private init(afterCrashOf run: Simulation) {
        run.disk.crash(.dropAll)
        whole = run
        files = run.disk.everything()
        regions = Region.all(files)
    }

    /// A store that has come to one journal file and nothing else.
    init(oneJournalFile seed: UInt64) throws {
        let run = try Simulation(seed: seed)
        let names = try ["first", "second"].map { try run.createChannel(named: $0) }
        try run.commit()
        for size in [30, 10, 40] {
            for id in names { try run.append(2, of: size, to: id) }
            run.appendState()
            try run.commit()
        }
        self.init(afterCrashOf: run)
    }

    /// A copy that damage is done to.
    func copy(_ seed: UInt64) throws -> Simulation {
        let run = try Simulation(copying: whole, seed: seed)
        run.allowsDamage = true
        return run
    }

    /// Whether nothing but the damaged region is lost.
    func check(_ lost: [UInt32: [UInt64]], within damaged: [Region]) throws {
        for (id, sequences) in lost {
            for sequence in sequences {
                let position =
                    whole.model.channels[id]?.messages.first { $0.sequence == sequence }?.position ?? 0
                let isWithin = damaged.contains { region in
                    switch region.kind {
                    case .frame(let positions): positions.contains(position)
                    case .block(id, let sequences), .tail(id, let sequences): sequences.contains(sequence)
                    default: false
                    }
                }
                guard isWithin else {
                    throw Violation(description: "channel \(id): \(sequence) is lost, which was not damaged")
                }
            }
        }
    }

    /// Regions of a file that a range of bytes touches.
    func touched(_ file: String, _ range: Range<Int>) -> [Region] {
        regions.filter { $0.file == file && $0.range.overlaps(range) }
    }

    /// Whether recovery needs a region: what only an older checkpoint needs is for `broker check` to find.
    func isNeeded(_ region: Region) -> Bool {
        switch region.kind {
        case .frame(let positions): positions.lowerBound > covered
        case .spare: false
        default: region.file.contains("/checkpoints/") ? region.file.hasPrefix(newest) : true
        }
    }

    private var covered: UInt64 { whole.checkpointed }
    private var newest: String {
        files.keys.filter { $0.hasSuffix(".checkpoint") }.max().map { String($0.dropLast(11)) } ?? ""
    }
}

@Suite("The log on a disk that changes what was written")
final class DamageTests {
    @Test("a flipped bit in every byte is found, and costs no more than its block", arguments: 0..<4)
    func flips(part: Int) throws {
        let store = try DamagedStore(seed: 1)
        var flips = 0
        var noticed = 0
        // What recovery does not read (frames that a checkpoint covers) is passed over in strides, unless asked for all.
        let stride = Seeds.value("SIMULATION_EVERY_BYTE") == nil ? 67 : 1
        for region in store.regions {
            let isNeeded = store.isNeeded(region)
            for byte in region.range where byte % 4 == part && (isNeeded || byte % stride == 0) {
                let run = try store.copy(UInt64(byte))
                run.disk.flipBit(region.file, byte: byte, bit: byte % 8)
                flips += 1
                try attempt("flip of byte \(byte) of \(region.file) (\(region.kind))", run) {
                    try run.open()
                    try store.check(try run.lost(), within: [region])
                    let isNoticed =
                        !run.log.statistics.damage.isEmpty || run.log.recovery.cutTail != nil
                    noticed += isNoticed ? 1 : 0
                    guard isNoticed || !isNeeded else {
                        throw Violation(description: "not noticed")
                    }
                    if byte % 32 == part { try goOn(run, store, [region]) }
                }
            }
        }
        print("simulation: \(flips) bits flipped, \(noticed) noticed at opening or reading, part \(part)")
    }

    @Test("a journal's tail cut at every byte loses what lay behind, and says so where anything tells")
    func truncation() throws {
        let store = try DamagedStore(seed: 2)
        let frames = store.regions.filter { if case .frame = $0.kind { true } else { false } }
        let file = try #require(frames.last?.file)
        let own = frames.filter { $0.file == file }
        let end = try #require(own.last?.range.upperBound)
        let bytes = try #require(store.files[file])
        // Frames that a checkpoint covers are not read: there strides will do, unless asked for all.
        let stride = Seeds.value("SIMULATION_EVERY_BYTE") == nil ? 67 : 1
        let needed = own.filter(store.isNeeded)
        for length in 0...end
        where length % stride == 0
            || needed.contains(where: { $0.range.lowerBound <= length && length <= $0.range.upperBound })
        {
            let run = try store.copy(UInt64(length))
            run.disk.overwrite(file, with: Array(bytes.prefix(length)))
            try attempt("\(file) cut to \(length) bytes", run) {
                // Frames at the end leave no trace when they are gone as a whole.
                run.allowsCut = true
                try run.open()
                try store.check(try run.lost(), within: own.filter { $0.range.upperBound > length })
                if length % 64 == 0 { try goOn(run, store, own) }
            }
        }
    }

    @Test(
        "files emptied, missing, swapped, zeroed in part, unreadable in part, or of an older copy",
        arguments: [false, true])
    func files(isOneJournalFile: Bool) throws {
        let store = try isOneJournalFile ? DamagedStore(oneJournalFile: 3) : DamagedStore(seed: 3)
        var cases = 0
        func damaged(
            _ what: String, _ damaged: [Region], mustNotice: Bool = true, allowsCut: Bool = false,
            atOpening: Bool = false, _ damage: (Simulation) throws -> Void
        ) throws {
            cases += 1
            let run = try store.copy(UInt64(cases))
            try attempt(what, run) {
                try damage(run)
                try run.disk.syncAll("/")
                run.allowsCut = allowsCut
                try run.open()
                if atOpening, run.log.statistics.damage.isEmpty {
                    throw Violation(description: "not noticed before it was read")
                }
                try store.check(try run.lost(), within: damaged)
                let isNoticed = !run.log.statistics.damage.isEmpty || run.log.recovery.cutTail != nil
                guard isNoticed || !mustNotice else { throw Violation(description: "not noticed") }
                try goOn(run, store, damaged)
            }
        }
        let used = Set(store.regions.map(\.file))
        let newestJournal = used.filter { $0.hasSuffix(".wal") }.max()
        for (path, bytes) in store.files.sorted(by: { $0.key < $1.key }) where used.contains(path) {
            let regions = store.regions.filter { $0.file == path }
            let isNeeded = regions.contains(where: store.isNeeded)
            let isSegment = path.hasSuffix(".seg")
            // Of a store that is one file nothing is left to tell that it was there.
            let mayVanish = isOneJournalFile
            try damaged(
                "\(path) emptied", regions, mustNotice: isNeeded && !mayVanish, allowsCut: mayVanish,
                atOpening: isSegment
            ) {
                $0.disk.overwrite(path, with: [])
            }
            // Without the newest checkpoint the one before and the journal tell everything.
            try damaged(
                "\(path) missing", regions,
                mustNotice: isNeeded && !path.hasSuffix(".checkpoint") && !mayVanish, allowsCut: mayVanish,
                atOpening: isSegment
            ) {
                try $0.disk.remove(path)
            }
            for start in stride(from: 0, to: bytes.count, by: 4096) {
                let range = start..<min(start + 4096, bytes.count)
                let touched = store.touched(path, range)
                if touched.isEmpty { continue }
                let needed = touched.contains(where: store.isNeeded) || (isOneJournalFile && start == 0)
                // The last frame may be gone without a trace.
                let isEnd =
                    path == newestJournal
                    && touched.contains { $0.range.upperBound == regions.last?.range.upperBound }
                try damaged(
                    "\(path) zeroed from \(start)", touched, mustNotice: needed && !isEnd, allowsCut: isEnd
                ) {
                    var zeroed = bytes
                    for index in range { zeroed[index] = 0 }
                    $0.disk.overwrite(path, with: zeroed)
                }
                try damaged(
                    "\(path) unreadable from \(start)", touched, mustNotice: needed && !isEnd,
                    allowsCut: isEnd
                ) {
                    $0.disk.makeUnreadable(path, range)
                }
            }
            // Swapped with, or replaced by, each other file of its kind.
            for (other, content) in store.files where other != path && used.contains(other) {
                guard other.split(separator: ".").last == path.split(separator: ".").last else { continue }
                let both = regions + store.regions.filter { $0.file == other }
                // Tails that did not change between two checkpoints are the same bytes.
                let isTails = path.hasSuffix(".tails")
                try damaged("\(path) replaced by \(other)", regions, mustNotice: isNeeded && !isTails) {
                    $0.disk.overwrite(path, with: content)
                }
                // Without either checkpoint the journal, which reaches back to the beginning here, tells everything.
                let needsBoth = !isTails && both.contains(where: store.isNeeded)
                try damaged("\(path) swapped with \(other)", both, mustNotice: needsBoth) {
                    $0.disk.overwrite(path, with: content)
                    $0.disk.overwrite(other, with: bytes)
                }
            }
        }
        print("simulation: \(cases) files damaged")
    }

    @Test("a journal file that vanishes behind the one in which recovery begins is missed")
    func vanished() throws {
        let run = try Simulation(seed: 4) { $0.cacheBytes = 1 }
        let channel = try run.createChannel(named: "first")
        for _ in 0..<4 {
            try run.append(3, of: 31_000, to: channel, isNoise: false)
            try run.commit()
        }
        run.disk.crash(.dropAll)
        let used = Set(Region.all(run.disk.everything()).map(\.file)).filter { $0.hasSuffix(".wal") }
        try #require(used.count > 1)
        run.allowsDamage = true
        try run.disk.remove(try #require(used.max()))
        try run.disk.syncAll("/")
        try run.open()
        #expect(!run.log.statistics.damage.isEmpty)
    }

    @Test("a segment that is missing or short is named at opening, before it is read")
    func missingSegment() throws {
        let run = try Simulation(seed: 5) {
            $0.segmentBytes = 1 << 20
            $0.cacheBytes = 1
        }
        let channel = try run.createChannel(named: "first")
        try run.append(5, of: 31_000, to: channel, isNoise: false)
        try run.commit()
        try run.background()
        run.checkpoint()
        try run.commit()
        try run.background()
        run.disk.crash(.dropAll)
        let path = try #require(run.disk.everything().keys.first { $0.hasSuffix(".seg") })
        let bytes = try #require(run.disk.everything()[path])
        for length in [nil, 0, 520, bytes.count - 1] as [Int?] {
            let damaged = try Simulation(copying: run, seed: 5)
            damaged.allowsDamage = true
            if let length {
                damaged.disk.overwrite(path, with: Array(bytes.prefix(length)))
            } else {
                try damaged.disk.remove(path)
            }
            try damaged.disk.syncAll("/")
            try damaged.open()
            #expect(!damaged.log.statistics.damage.isEmpty, "cut to \(String(describing: length))")
        }
    }

    @Test(
        "a file of an older copy of the store costs what it lacks, and that is named",
        arguments: UInt64(0)..<4)
    func older(part: UInt64) throws {
        var cases = 0
        for seed in Seeds.dealt(part, of: 4, share: 0.05) {
            let run = try Simulation(seed: seed)
            let steps = 30 + run.draw(60)
            var copy: [String: [UInt8]] = [:]
            do {
                for step in 0..<3 {
                    try run.run(steps: steps / 3)
                    if step == 1 { copy = run.disk.everything() }
                }
                try run.close()
            } catch {
                Seeds.fail("DamageTests", seed: seed, error, run)
                continue
            }
            run.disk.crash(.process)
            let now = run.disk.everything()
            for (path, bytes) in copy.sorted(by: { $0.key < $1.key })
            where now[path] != nil && now[path] != bytes {
                cases += 1
                let damaged = try Simulation(copying: run, seed: seed)
                damaged.allowsDamage = true
                damaged.disk.overwrite(path, with: bytes)
                do {
                    try damaged.open()
                    let lost = try damaged.lost()
                    guard lost.isEmpty || !damaged.log.statistics.damage.isEmpty else {
                        throw Violation(description: "\(lost) is lost and nothing says so")
                    }
                } catch {
                    Seeds.fail("DamageTests", seed: seed, error, damaged)
                    Issue.record("\(path) of an older copy")
                }
            }
        }
        print("simulation: \(cases) files of an older copy, part \(part)")
    }

    /// The store goes on: messages are taken, and the damage is remembered over checkpoints and crashes.
    private func goOn(_ run: Simulation, _ store: DamagedStore, _ damaged: [Region]) throws {
        try run.open(twice: true)
        let before = run.log.statistics.damage.count
        let lost = try run.lost()
        run.takeInLosses()
        for round in 0..<2 {
            for id in run.model.existing(at: .max) { try run.append(2, of: 50 + round, to: id) }
            try run.commit()
            run.checkpoint()
            try run.commit()
            try run.background()
            guard run.model.durable >= run.model.last else {
                throw Violation(description: "no messages are taken: \(run.log.closedReason ?? "")")
            }
            try run.reopen(after: .dropAll)
            let now = try run.lost()
            guard now == lost || now.isEmpty else {
                throw Violation(description: "lost \(now), before \(lost)")
            }
        }
        guard before == 0 || !run.log.statistics.damage.isEmpty else {
            throw Violation(description: "the damage is forgotten")
        }
    }

    /// A test that fails says so a few times, not for every byte.
    private func attempt(_ what: String, _ run: Simulation, _ body: () throws -> Void) throws {
        do { try body() } catch {
            Issue.record("\(what): \(error)")
            failures.add(1, ordering: .relaxed)
            try #require(failures.load(ordering: .relaxed) < Int(Seeds.value("SIMULATION_ISSUES") ?? 5))
        }
    }
    private let failures = Atomic(0)
}

/// What repairing a data directory does, by what a check of it found.
public struct RepairPlan: Equatable, Sendable {
    /// One thing that is done.
    public enum Step: Equatable, Sendable {
        /// The file is copied, as it is, to the directory of damaged files.
        case setAside(file: String)
        /// A directory is made that is missing.
        case makeDirectory(String)
        /// The file `store`, which is damaged or missing, is written anew.
        case writeStore
        /// A checkpoint that is not whole is removed; its copy was set aside.
        case removeCheckpoint(file: String)
        /// The segment gets a new header and a new index, which lists its whole blocks.
        case mendSegment(file: String, channel: UInt32, first: UInt64)
        /// A segment whose file is missing is not looked for any more.
        case forgetSegment(file: String, channel: UInt32, first: UInt64)
        /// Two checkpoints are made of what is whole, behind a new journal file: from then on nothing of the
        /// damaged journal or checkpoints is read.
        case makeCheckpoints
    }

    /// In the order in which it is done; empty where nothing is damaged.
    public private(set) var steps: [Step] = []
    /// Messages that the damage took, by channel and sequence. They were lost before; after the repair they
    /// are reported as lost and no longer as damage.
    public private(set) var lost: [LostRange] = []
    /// Files to copy first.
    var files: [String] = []

    /// - Parameter exists: whether a file, by its path below the data directory, is there.
    init(_ report: LogCheckReport, exists: (String) -> Bool) {
        guard !report.damage.isEmpty else { return }
        lost = report.damage.flatMap(\.lost)
        var mended: [Step] = []
        for file in Set(report.damage.map(\.file)).sorted() {
            if Self.directories.contains(file) {
                if !exists(file) { steps.append(.makeDirectory(file)) }
                continue
            }
            // That file is looked at; what a checkpoint remembers of it counts for nothing.
            let isStore = file == "store" && report.clusterID == nil
            guard Self.isOwn(file) || isStore else { continue }
            let isThere = exists(file)
            if isThere { files.append(file) }
            if isStore {
                mended.append(.writeStore)
            } else if let (channel, first) = Self.segment(file) {
                mended.append(
                    isThere
                        ? .mendSegment(file: file, channel: channel, first: first)
                        : .forgetSegment(file: file, channel: channel, first: first))
            } else if file.hasSuffix(".checkpoint"), isThere {
                mended.append(.removeCheckpoint(file: file))
            }
        }
        steps += files.map { .setAside(file: $0) } + mended + [.makeCheckpoints]
    }

    /// The directories that every store has.
    static let directories = ["journal", "channels", "checkpoints"]

    /// Whether a path below the data directory is one that the store gives to its files. A checkpoint remembers damage by
    /// path, and a forged one says any: nothing else is looked for, copied or removed.
    private static func isOwn(_ file: String) -> Bool {
        let parts = file.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        switch parts.first {
        case "journal" where parts.count == 2: return JournalFileHeader.number(parts[1]) != nil
        case "checkpoints" where parts.count == 2:
            return [".checkpoint", ".tails"].contains { CheckpointFile.number(parts[1], $0) != nil }
        default: return segment(file) != nil
        }
    }

    /// Channel and first sequence of a segment by its path below the data directory.
    private static func segment(_ file: String) -> (UInt32, UInt64)? {
        let parts = file.split(separator: "/")
        guard parts.count == 3, parts[0] == "channels", parts[2].hasSuffix(".seg"),
            let channel = UInt32(parts[1]), let first = UInt64(parts[2].dropLast(4)),
            SegmentFile.path("channels", channel, first) == file
        else { return nil }
        return (channel, first)
    }
}

extension RepairPlan.Step: CustomStringConvertible {
    /// A sentence for the person who repairs.
    public var description: String {
        switch self {
        case .setAside(let file): "keep a copy of \(file)"
        case .makeDirectory(let path): "make the missing directory \(path)"
        case .writeStore: "write the file store anew, for the cluster id given with --cluster-id"
        case .removeCheckpoint(let file): "remove \(file), which is not whole"
        case .mendSegment(let file, _, _): "write a new index of the whole blocks to \(file)"
        case .forgetSegment(let file, _, _): "forget \(file), which is missing"
        case .makeCheckpoints:
            "make two checkpoints of everything that is whole, and begin a new journal file behind them"
        }
    }
}

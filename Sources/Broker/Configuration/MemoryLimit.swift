import BrokerLog

/// How much memory the messages that the file store keeps there may take, where nobody said it.
public enum MemoryLimit {
    /// Where the process has no limit.
    public static let unlimitedDefault = 128 << 20
    /// Below this the store would read every message from the disk.
    public static let least = 16 << 20

    /// A quarter of what the process may have, by its control group: the rest is for the process itself, for
    /// connections, and for the index of what is stored.
    ///
    /// - Parameter contents: the text of a file; nil where there is none.
    public static func standard(contents: (String) -> String? = readFile) -> Int {
        guard let limit = controlGroup(contents: contents) else { return unlimitedDefault }
        return min(max(least, limit / 4), 1 << 30)
    }

    /// The memory that the process's control group, or one above it, allows; nil without a limit (cgroups(7):
    /// `memory.max` of version 2, `memory.limit_in_bytes` of version 1).
    public static func controlGroup(contents: (String) -> String?) -> Int? {
        var limits: [Int] = []
        for line in (contents("/proc/self/cgroup") ?? "").split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let isUnified = parts[0] == "0" && parts[1].isEmpty
            guard isUnified || parts[1].split(separator: ",").contains("memory") else { continue }
            let root = isUnified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory"
            let name = isUnified ? "memory.max" : "memory.limit_in_bytes"
            var path = parts[2].split(separator: "/")
            while true {
                let file = ([root] + path.map(String.init) + [name]).joined(separator: "/")
                let text = contents(file)?.split(whereSeparator: \.isWhitespace).first
                if let limit = text.flatMap({ Int($0) }), limit > 0 { limits.append(limit) }
                if path.popLast() == nil { break }
            }
        }
        // Version 1 says "no limit" by a number that no machine has.
        return limits.filter { $0 < 1 << 60 }.min()
    }

    /// The first bytes of a small file.
    public static func readFile(_ path: String) -> String? {
        let files = RealFileSystem()
        guard let file = try? files.open(path, .read) else { return nil }
        defer { files.close(file) }
        let text = unsafe [UInt8](unsafeUninitializedCapacity: 65_536) { memory, count in
            count = unsafe (try? files.read(file, into: UnsafeMutableRawBufferPointer(memory), at: 0)) ?? 0
        }
        return String(decoding: text, as: UTF8.self)
    }
}

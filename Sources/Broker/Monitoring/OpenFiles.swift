import Glibc

/// How many files and sockets the process has open, and how many it may have.
struct OpenFiles {
    let open: Int
    let limit: UInt64

    /// Asks the operating system; nil where there is no `/proc`.
    static func now() -> OpenFiles? {
        guard let directory = unsafe opendir("/proc/self/fd") else { return nil }
        defer { unsafe closedir(directory) }
        var count = 0
        while unsafe readdir(directory) != nil { count += 1 }
        var limits = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits) == 0 else { return nil }
        // Without ".", ".." and the descriptor that the listing itself uses.
        return OpenFiles(open: count - 3, limit: UInt64(limits.rlim_cur))
    }
}

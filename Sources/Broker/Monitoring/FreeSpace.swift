import Glibc

/// Room on a file system.
enum FreeSpace {
    /// Bytes that a process may still write below `path`; nil where the system does not say.
    static func bytes(at path: String) -> UInt64? {
        var found = statvfs()
        guard unsafe statvfs(path, &found) == 0 else { return nil }
        return UInt64(found.f_bavail) * UInt64(found.f_frsize)
    }
}

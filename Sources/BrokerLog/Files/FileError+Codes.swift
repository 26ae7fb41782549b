import Glibc

extension FileError {
    /// The disk or a quota is full: what was written before is whole, and trying again later is right.
    public var isNoSpace: Bool { code == ENOSPC || code == EDQUOT }
    /// No sync failed, so nothing that was written before is in doubt, and trying again later is right: the disk is full, or
    /// a file could not be opened, created or renamed. A file that is not there will not come back by itself.
    var mayPass: Bool {
        if [
            "fdatasync", "fsync", "syncfs", "sync_file_range", "sync", "syncDirectory", "syncAll",
            "beginWriteBack", "awaitWriteBack",
        ]
        .contains(call) {
            return false
        }
        if isMissing { return false }
        // Of these `opendir` may tell too.
        return isNoSpace || code == EMFILE || code == ENFILE
            || ["open", "rename", "unlink", "remove", "mkdir", "makeDirectory"].contains(call)
    }
    /// The disk cannot give back what was written there.
    var isUnreadable: Bool { code == EIO && (call == "pread" || call == "read") }
    /// Nothing was done, nor would be at another time: the right to do it is missing, or the file system cannot.
    var isRefused: Bool { [EACCES, EPERM, EROFS, EINVAL, ENOTSUP].contains(code) }
    /// The path names nothing.
    public var isMissing: Bool { code == ENOENT || code == ENOTDIR }
    /// The path names something already.
    public var exists: Bool { code == EEXIST }

    /// The system's sentence for the code, with call and path.
    public var description: String {
        let text = unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)"
        return "\(call) \(path): \(text)"
    }
}

import Glibc

/// The few calls on files that migrations need; failures have the system's words as Go prints them.
enum Directory {
    struct Failure: Error {
        let reason: String

        /// What `errno` says, in small letters as in Go.
        init(errno code: Int32) {
            let text = unsafe String(cString: strerror(code))
            reason = text.prefix(1).lowercased() + text.dropFirst()
        }
    }

    /// The path from the root, with `.` and `..` taken out.
    static func absolute(_ path: String) -> String {
        var parts: [Substring] = []
        let full = path.hasPrefix("/") ? path : "\(workingDirectory)/\(path)"
        for part in full.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return "/" + parts.joined(separator: "/")
    }

    private static var workingDirectory: String {
        guard let text = unsafe getcwd(nil, 0) else { return "/" }
        defer { unsafe free(text) }
        return unsafe String(cString: text)
    }

    /// The names of all that is not a directory, in no order; those of links again.
    static func fileNames(_ directory: String) throws(Failure) -> (all: [String], links: [String]) {
        guard let stream = unsafe opendir(directory) else { throw Failure(errno: errno) }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        var links: [String] = []
        while let entry = unsafe readdir(stream) {
            let type = unsafe Int(entry.pointee.d_type)
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) {
                    unsafe String(cString: $0)
                }
            }
            if type != Int(DT_DIR) { names.append(name) }
            if type == Int(DT_LNK) { links.append(name) }
        }
        return (names, links)
    }

    /// Names in the order of their bytes.
    static func sorted(_ names: [String]) -> [String] {
        names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    static func size(_ path: String) throws(Failure) -> Int {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { throw Failure(errno: errno) }
        return Int(status.st_size)
    }

    static func contents(_ path: String) throws(Failure) -> [UInt8] {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure(errno: errno) }
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw Failure(errno: errno) }
        var count = 0
        var failure: Int32 = 0
        // One byte more than the size tells a file that is still growing.
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size) + 1)
        while true {
            if count == bytes.count { bytes += [UInt8](repeating: 0, count: bytes.count) }
            let length = unsafe bytes.withUnsafeMutableBytes { buffer in
                unsafe Glibc.read(descriptor, buffer.baseAddress?.advanced(by: count), buffer.count - count)
            }
            if length < 0, errno == EINTR { continue }
            if length < 0 { failure = errno }
            if length <= 0 { break }
            count += length
        }
        guard failure == 0 else { throw Failure(errno: failure) }
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    static func prefetch(_ path: String) {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        // What cannot be opened is reported when it is run.
        guard descriptor >= 0 else { return }
        posix_fadvise(descriptor, 0, 0, POSIX_FADV_WILLNEED)
        close(descriptor)
    }
}

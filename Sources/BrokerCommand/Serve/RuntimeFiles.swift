import Glibc

/// The files that tell other programs about a running broker (nats-core.md 4.8).
struct RuntimeFiles {
    /// The ports file, to be removed at the end; the pid file stays, as in the original.
    private var portsFile: String?

    /// Writes the pid file.
    static func writeProcessID(to path: String) throws(Refusal) {
        try write(String(getpid()), to: path)
    }

    /// Writes the ports file into `directory`.
    mutating func writePorts(host: String, port: Int, monitoringPort: Int?, into directory: String)
        throws(Refusal)
    {
        let path = directory + "/broker_\(getpid()).ports"
        let shown = host == "0.0.0.0" || host == "::" ? "127.0.0.1" : host.contains(":") ? "[\(host)]" : host
        let monitoring = monitoringPort.map { "[\"http://\(shown):\($0)\"]" } ?? "[]"
        try Self.write("{\"nats\":[\"nats://\(shown):\(port)\"],\"monitoring\":\(monitoring)}", to: path)
        portsFile = path
    }

    /// Removes the ports file.
    func remove() {
        if let portsFile { unsafe unlink(portsFile) }
    }

    private static func write(_ text: String, to path: String) throws(Refusal) {
        func failure() -> Refusal {
            Refusal(message: unsafe "could not write \(path): \(String(cString: strerror(errno)))")
        }
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw failure() }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        let written = unsafe bytes.withUnsafeBytes {
            unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
        }
        guard written == bytes.count else { throw failure() }
    }
}

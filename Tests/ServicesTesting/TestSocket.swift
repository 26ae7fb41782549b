import Foundation

/// A bare connection, to send what no client would.
public final class TestSocket: Sendable {
    private let descriptor: Int32

    /// Connects to a port of this machine.
    public init(port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw POSIXError(.ECONNREFUSED) }
        // Nothing that is tested takes longer; a server that never ends would hang the test otherwise.
        var limit = timeval(tv_sec: 30, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    /// Whether the server has closed its side of the connection while it still had something to send, as the kernel knows
    /// it: also when nothing is read here.
    public func isClosing(at server: Int) throws -> Bool {
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &size)
            }
        }
        guard result == 0 else { throw POSIXError(.EBADF) }
        let ends = [server, Int(UInt16(bigEndian: address.sin_port))].map {
            "0100007F:" + String(format: "%04X", $0)
        }
        // proc(5), /proc/net/tcp: local address, remote address, state; 04 is FIN_WAIT1. (That a line is missing says
        // nothing: the table changes while it is read.)
        // A file of proc has no size and comes page by page: it is read until its end.
        guard let file = FileHandle(forReadingAtPath: "/proc/self/net/tcp") else { throw POSIXError(.ENOENT) }
        let table = String(decoding: try file.readToEnd() ?? Data(), as: UTF8.self)
        return table.contains("\(ends[0]) \(ends[1]) 04")
    }

    /// Sends text; whether all of it was taken.
    @discardableResult
    public func write(_ text: String) -> Bool {
        var bytes = Array(text.utf8)
        return send(descriptor, &bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
    }

    /// Sends nothing more.
    public func endWriting() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// What arrives next.
    public func read() async -> String {
        let descriptor = descriptor
        return await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                var buffer = [UInt8](repeating: 0, count: 65_536)
                let count = recv(descriptor, &buffer, buffer.count, 0)
                continuation.resume(returning: String(decoding: buffer[..<max(count, 0)], as: UTF8.self))
            }
        }
    }

    /// What arrives until the server ends the connection.
    public func readToEnd() async -> String {
        let descriptor = descriptor
        return await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                var bytes: [UInt8] = []
                var buffer = [UInt8](repeating: 0, count: 65_536)
                while true {
                    let count = recv(descriptor, &buffer, buffer.count, 0)
                    guard count > 0 else { break }
                    bytes += buffer[..<count]
                }
                continuation.resume(returning: String(decoding: bytes, as: UTF8.self))
            }
        }
    }
}

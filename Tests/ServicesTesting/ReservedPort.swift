import Foundation

/// A port that nobody else gets, where nobody listens until a server of the test's own does: bound and not listened on,
/// so that connections are refused, and a listener that may use the address again can still have it.
public final class ReservedPort: Sendable {
    private let descriptor: Int32
    /// Its number.
    public let number: Int

    /// Reserves a port of the loopback address until the object is gone.
    public init() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        self.descriptor = descriptor
        var on: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(descriptor, address, size) == 0 ? getsockname(descriptor, address, &size) : -1
            }
        }
        number = Int(UInt16(bigEndian: address.sin_port))
        if result != 0 {
            close(descriptor)
            throw POSIXError(.EADDRINUSE)
        }
    }

    deinit { close(descriptor) }
}

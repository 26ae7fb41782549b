import Foundation
import Glibc
import Postgres
import Synchronization

/// A server that lets one client in, waits for its first statement, perhaps for requests to cancel it, and answers with
/// given bytes; or lets nobody in.
final class NonsenseServer {
    private let port: Int
    private let listening: Int32
    private let thread: Thread
    private let ended = DispatchSemaphore(value: 0)
    private let met = Flag()

    private final class Flag: Sendable {
        let isSet = Atomic<Bool>(false)
    }

    /// A client has said something.
    var hasMetClient: Bool { met.isSet.load(ordering: .acquiring) }

    /// The bytes of an error, and of the end of its statement.
    static func refusal(_ sqlState: String, _ message: String) -> [UInt8] {
        let report = Array("SERROR\0VERROR\0C\(sqlState)\0M\(message)\0\0".utf8)
        return [UInt8(ascii: "E"), 0, 0, 0, UInt8(report.count + 4)] + report
            + [UInt8(ascii: "Z"), 0, 0, 0, 5, UInt8(ascii: "I")]
    }

    init(answer: [UInt8], afterCancels cancels: Int = 0, welcomes: Bool = true) {
        let listening = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = unsafe withUnsafeMutablePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(listening, $0, length) == 0 && listen(listening, 1) == 0
                    && getsockname(listening, $0, &length) == 0
            }
        }
        precondition(isBound, "there is a free port on the loopback")
        port = Int(UInt16(bigEndian: address.sin_port))
        self.listening = listening
        let ended = ended
        let met = met
        thread = Thread {
            defer { ended.signal() }
            let client = accept(listening, nil, nil)
            guard client >= 0 else { return }
            defer { close(client) }
            var buffer = [UInt8](repeating: 0, count: 65_536)
            // Whatever the client says is its start, and then its statement: each comes in one piece on the loopback.
            guard unsafe recv(client, &buffer, buffer.count, 0) > 0 else { return }
            met.isSet.store(true, ordering: .releasing)
            let welcome: [UInt8] =
                [UInt8(ascii: "R"), 0, 0, 0, 8, 0, 0, 0, 0]
                + [UInt8(ascii: "K"), 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 1]
                + [UInt8(ascii: "Z"), 0, 0, 0, 5, UInt8(ascii: "I")]
            if welcomes { unsafe send(client, welcome, welcome.count, Int32(MSG_NOSIGNAL)) }
            guard unsafe recv(client, &buffer, buffer.count, 0) > 0 else { return }
            for _ in 0..<cancels {
                let request = accept(listening, nil, nil)
                guard request >= 0 else { return }
                // It has all been read when the other side hears the end.
                while unsafe recv(request, &buffer, 16, Int32(MSG_WAITALL)) < 0, errno == EINTR {}
                close(request)
            }
            unsafe send(client, answer, answer.count, Int32(MSG_NOSIGNAL))
            while unsafe recv(client, &buffer, buffer.count, 0) > 0 {}
        }
        thread.start()
    }

    /// What a client connects with.
    var configuration: PostgresConfiguration {
        var configuration = PostgresConfiguration(
            host: "127.0.0.1", port: port, database: "none", user: "nobody")
        configuration.parameters["sslmode"] = "disable"
        // A machine that is busy is no failure.
        configuration.connectTimeout = .seconds(300)
        return configuration
    }

    /// Ends the server; waits for its thread.
    func stop() {
        shutdown(listening, Int32(SHUT_RDWR))
        ended.wait()
        close(listening)
    }
}

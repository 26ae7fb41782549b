import Postgres

extension PostgresError {
    /// The error in the words of `lib/pq`, golang-migrate's driver.
    var driverText: String {
        switch code {
        case .server: "pq: \(server?.message ?? message)"
        case .timedOut: "pq: canceling statement due to user request"
        case .connectionLost: server.map { "pq: \($0.message)" } ?? "driver: bad connection"
        case .copyNotSupported(.fromClient): "pq: unknown response for simple query: 'G'"
        case .copyNotSupported(.toClient): "pq: unknown response for simple query: 'H'"
        default: message
        }
    }

    /// An error of connecting in the words of Go's network library and of `lib/pq`.
    var connectingText: String {
        guard case .connectionFailed(let failure) = code else { return driverText }
        return switch failure {
        case .refusedByServer: "pq: \(server?.message ?? message)"
        case .refused: "dial tcp \(address): connect: connection refused"
        case .hostNotFound: "dial tcp: \(message)"
        case .timedOut: "dial tcp: i/o timeout"
        case .tlsNotSupported: "pq: SSL is not enabled on the server"
        case .other: socketText ?? message
        }
    }

    /// Whether the server may only not be up yet: worth waiting for (`specs/migrate.md` 5, item 3).
    var isWorthWaitingFor: Bool {
        switch code {
        case .connectionFailed(.refused), .connectionFailed(.hostNotFound), .connectionFailed(.timedOut): true
        // Starting up or shutting down; too many connections.
        case .connectionFailed(.refusedByServer): sqlState == "57P03" || sqlState == "53300"
        // The socket is not there yet, or the server was stopped while it took us in.
        case .connectionFailed(.other):
            message.hasSuffix("No such file or directory")
                || message.hasBytes("closed the connection unexpectedly")
        default: false
        }
    }

    /// `127.0.0.1:5432` out of `connection to server at "localhost" (127.0.0.1), port 5432 failed: …`.
    private var address: String {
        guard let at = message.firstBytes("at \"")?.upperBound,
            let comma = message[at...].firstBytes(", port "),
            let end = message[comma.upperBound...].firstBytes(" failed")
        else { return "server" }
        let port = message[comma.upperBound..<end.lowerBound]
        var host = message[at..<comma.lowerBound]
        if host.hasSuffix(")"), let open = host.lastIndex(of: "(") {
            host = host[host.index(after: open)...].dropLast()
        } else {
            host = host.dropLast()
        }
        return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    private var socketText: String? {
        guard let start = message.firstBytes("on socket \"")?.upperBound,
            let end = message[start...].firstBytes("\" failed: ")
        else { return nil }
        return
            "dial unix \(message[start..<end.lowerBound]): connect: \(message[end.upperBound...].lowercased())"
    }
}

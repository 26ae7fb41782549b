/// Reads why a connection could not be opened out of libpq's words: while connecting libpq 15 gives nothing else.
///
/// The verbosity is `PQERRORS_VERBOSE` then, so the server's reports carry their SQLSTATE:
/// `connection to server at "127.0.0.1", port 5432 failed: FATAL:  28P01: password authentication failed …`
enum ConnectionFailureText {
    static func error(_ text: String) -> PostgresError {
        let lines = text.split(separator: "\n").map(String.init)
        for line in lines {
            if let server = serverReport(line) {
                return PostgresError(
                    .connectionFailed(.refusedByServer), server.message, server: server)
            }
        }
        let first = lines.first ?? "the connection could not be opened, and libpq does not say why"
        if let line = lines.first(where: { $0.hasSuffix("Connection refused") }) {
            return PostgresError(.connectionFailed(.refused), line)
        }
        if let line = lines.first(where: { $0.hasBytes("server does not support SSL") }) {
            return PostgresError(.connectionFailed(.tlsNotSupported), line)
        }
        if let line = lines.first(where: { $0.hasBytes("could not translate host name") }) {
            return PostgresError(.connectionFailed(.hostNotFound), line)
        }
        if let line = lines.first(where: {
            $0.hasSuffix("Connection timed out") || $0.hasBytes("timeout expired")
        }) {
            return PostgresError(.connectionFailed(.timedOut), line)
        }
        return PostgresError(.connectionFailed(.other), first)
    }

    /// `… failed: FATAL:  28P01: message`.
    private static func serverReport(_ line: String) -> PostgresServerError? {
        // Further attempts on the same connection have no prefix.
        let report = line.firstBytes("failed: ").map { line[$0.upperBound...] } ?? line[...]
        guard let colon = report.firstBytes(":  ") else { return nil }
        let severity = report[..<colon.lowerBound]
        let rest = report[colon.upperBound...]
        let state = rest.prefix(5)
        guard severity.allSatisfy(\.isLetter), !severity.isEmpty, state.utf8.count == 5,
            state.allSatisfy({ $0.isASCII && ($0.isUppercase || $0.isNumber) }),
            rest.dropFirst(5).hasPrefix(": ")
        else { return nil }
        return PostgresServerError(
            severity: String(severity), sqlState: String(state),
            message: String(rest.dropFirst(7)))
    }
}

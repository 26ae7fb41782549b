import Postgres

extension MigrationDatabase {
    /// Sends a migration's text as it is (`specs/migrate.md` 3.8).
    ///
    /// - Parameters:
    ///   - body: The text; taken over, because it may be large.
    ///   - path: The file, for the hints.
    ///   - isInTransaction: The caller opened a transaction, which must be open afterwards.
    /// - Throws: `MigrationError` in the original's words. The session has no open transaction then.
    func run(_ body: consuming [UInt8], path: String, isInTransaction: Bool = false) async throws {
        guard body.contains(where: { !($0 == 0x20 || (9...13).contains($0)) }) else { return }
        if url.isMultiStatement {
            try await runPieces(body, path: path)
        } else {
            // In place: the array was read with room for it.
            body.append(0)
            do {
                try await connection.execute(terminatedScript: body, timeout: url.statementTimeout)
            } catch {
                body.removeLast()
                await rollBack()
                throw failure(error, text: body, path: path, offset: 0, whole: body)
            }
        }
        switch (connection.transactionStatus, isInTransaction) {
        case (.inTransaction, false):
            await rollBack()
            throw MigrationError(
                .migrationFailed,
                "transaction start failed in line 0:  (details: pq: unexpected transaction status idle in transaction)",
                hints: ["\(path) has BEGIN without COMMIT: nothing of what came after BEGIN was kept."])
        default: break
        }
    }

    private func runPieces(_ body: [UInt8], path: String) async throws {
        for piece in StatementSplitter.split(body) {
            guard piece.count <= url.multiStatementMaxSize else {
                await rollBack()
                throw MigrationError(
                    .migrationFailed, "bufio.Scanner: token too long",
                    hints: [
                        "A statement of \(path) has \(piece.count) bytes; x-multi-statement-max-size allows "
                            + "\(url.multiStatementMaxSize)."
                    ])
            }
            let text = Array(body[piece])
            do {
                try await connection.execute(script: text, timeout: url.statementTimeout)
            } catch {
                await rollBack()
                throw failure(error, text: text, path: path, offset: piece.lowerBound, whole: body)
            }
        }
    }

    /// `migration failed: MSG (column C), DETAIL in line L: SQL (details: pq: MSG)`.
    func failure(
        _ error: any Error, text: [UInt8], path: String, offset: Int, whole: [UInt8]
    ) -> MigrationError {
        let error =
            error as? PostgresError
            ?? PostgresError(
                .timedOut, "canceling statement due to user request",
                server: PostgresServerError(
                    severity: "ERROR", sqlState: "57014", message: "canceling statement due to user request"))
        var head = "migration failed"
        var line = 0
        if let server = error.server {
            head +=
                ": " + (error.code == .timedOut ? "canceling statement due to user request" : server.message)
            if let position = server.position.flatMap({ StatementPosition($0, in: text) }) {
                line = position.line
                head += " (column \(position.column))"
            }
            if let detail = server.detail { head += ", \(detail)" }
        }
        return MigrationError(
            .migrationFailed,
            bytes: Array("\(head) in line \(line): ".utf8) + text
                + Array(" (details: \(error.driverText))".utf8),
            hints: FailureHints.lines(error, path: path, offset: offset, text: text, whole: whole),
            cause: error)
    }
}

/// What helps to find a mistake in a migration: file, line, column, the line itself with a caret, and the server's
/// own advice.
enum FailureHints {
    private static let width = 120

    static func lines(
        _ error: PostgresError, path: String, offset: Int, text: [UInt8], whole: [UInt8]
    ) -> [String] {
        var lines: [String] = []
        let message = error.server?.message ?? error.message
        let before = whole[..<offset]
        if let place = error.server?.position.flatMap({ StatementPosition($0, in: text) }) {
            let linesBefore = before.count { $0 == UInt8(ascii: "\n") }
            let lastFeed = before.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
            let columnsBefore =
                place.line == 1
                ? String(decoding: before[lastFeed...], as: UTF8.self).unicodeScalars.count : 0
            let line = place.line + linesBefore
            let column = place.column + columnsBefore
            lines.append("\(path):\(line):\(column): \(message)")
            lines += excerpt(whole, line: line, column: column)
        } else {
            lines.append("\(path): \(message)")
        }
        if error.sqlState == "22021", let place = invalidUTF8(whole) {
            lines.append("The file is not UTF-8: the byte at offset \(place) is the first that does not fit.")
        }
        if let context = error.server?.context { lines += context.split(separator: "\n").map { "  \($0)" } }
        if let hint = error.server?.hint { lines.append("Hint of the server: \(hint)") }
        return lines
    }

    /// The line, and a caret below the column.
    private static func excerpt(_ text: [UInt8], line: Int, column: Int) -> [String] {
        let found = text.split(
            separator: UInt8(ascii: "\n"), maxSplits: line, omittingEmptySubsequences: false)
        guard found.indices.contains(line - 1) else { return [] }
        let characters = Array(
            String(decoding: found[line - 1].filter { $0 != UInt8(ascii: "\r") }, as: UTF8.self)
                .unicodeScalars)
        let start = max(0, column - 1 - width / 2)
        let shown = characters.dropFirst(start).prefix(width)
        // A tab stays a tab, so that the caret stands below its character.
        let padding = shown.prefix(max(0, column - 1 - start)).map { $0 == "\t" ? Unicode.Scalar("\t") : " " }
        return [
            "    " + String(String.UnicodeScalarView(shown)),
            "    " + String(String.UnicodeScalarView(padding)) + "^",
        ]
    }

    /// The offset of the first byte that is no UTF-8.
    private static func invalidUTF8(_ bytes: [UInt8]) -> Int? {
        var decoder = UTF8()
        var iterator = bytes.makeIterator()
        var offset = 0
        while true {
            switch decoder.decode(&iterator) {
            case .scalarValue(let scalar): offset += UTF8.width(scalar)
            case .emptyInput: return nil
            case .error: return offset
            }
        }
    }
}

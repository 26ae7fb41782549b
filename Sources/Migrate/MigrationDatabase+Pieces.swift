import Postgres

/// A large file that may be sent in pieces (docs/decisions/0024).
struct LargeScript: Sendable {
    /// Files of this size and more are looked at.
    static let smallestSize = 1 << 20

    let path: String
    let firstLine: [UInt8]

    /// Goes over a file; `nil` when it must be sent whole: it is small or one statement, it has statements that are not
    /// plain, or bytes that are not text.
    init?(_ path: String) throws(Directory.Failure) {
        guard try Directory.size(path) >= Self.smallestSize else { return nil }
        self.path = path
        var pieces = try ScriptPieces(path)
        var firstLine: [UInt8]?
        while let piece = try pieces.next() {
            guard pieces.isPlain, !piece.contains(0) else { return nil }
            firstLine = firstLine ?? Array(piece.prefix { $0 != UInt8(ascii: "\n") })
        }
        // One statement may be such that it must not be in a transaction, whatever comments are around it.
        guard pieces.statementCount > 1, let firstLine else { return nil }
        self.firstLine = firstLine
    }
}

extension MigrationDatabase {
    /// Sends a large migration in pieces, as one transaction, which is what the server makes of it when it is sent whole.
    ///
    /// - Parameters:
    ///   - script: The file.
    ///   - isInTransaction: The caller opened a transaction, which stays open.
    ///   - whole: Reads the file, for the text of an error.
    /// - Throws: `MigrationError` as for a text that is sent whole. The session has no open transaction then.
    func run(
        _ script: LargeScript, isInTransaction: Bool, whole: () throws(MigrationError) -> [UInt8]
    ) async throws {
        let clock = ContinuousClock()
        let deadline = url.statementTimeout.map { clock.now.advanced(by: $0) }
        var charactersBefore = 0
        do {
            var pieces = try ScriptPieces(script.path)
            if !isInTransaction { try await connection.query("BEGIN") }
            while let piece = try pieces.next() {
                // The file was changed since it was gone over, or a statement has changed how the server reads text.
                guard pieces.isPlain, isTextReadAsUsual else {
                    await rollBack()
                    if isInTransaction { try await bookkeep("BEGIN") }
                    return try await run(whole(), path: script.path, isInTransaction: isInTransaction)
                }
                let timeout = deadline.map { max(.milliseconds(1), clock.now.duration(to: $0)) }
                try await connection.execute(script: piece, timeout: timeout)
                // Continuation bytes of UTF-8 begin with 10.
                charactersBefore += piece.count { $0 & 0xC0 != 0x80 }
            }
            if !isInTransaction { try await connection.query("COMMIT") }
        } catch let error as MigrationError {
            await rollBack()
            throw error
        } catch let error as Directory.Failure {
            await rollBack()
            throw MigrationError(.source, "read \(script.path): \(error.reason)")
        } catch {
            await rollBack()
            let text = try whole()
            var shifted = error as? PostgresError
            if let position = shifted?.server?.position {
                shifted?.server?.position = position + charactersBefore
            }
            throw failure(shifted ?? error, text: text, path: script.path, offset: 0, whole: text)
        }
    }

    /// The session reads strings and characters as the file was gone over, and as `PostgresConnection` sets it.
    private var isTextReadAsUsual: Bool {
        connection.serverParameter("standard_conforming_strings") == "on"
            && connection.serverParameter("client_encoding") == "UTF8"
    }
}

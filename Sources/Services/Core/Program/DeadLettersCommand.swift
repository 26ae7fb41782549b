import AsyncHTTPClient
import Glibc
import Logging
import Postgres

/// `dead-letters list|replay|drop`: the messages that could not be applied.
///
/// An id is `channel/sequence`, as `list` prints it. `replay` applies a message in this process, through the same inbox as
/// the service: once, also while the service runs.
struct DeadLettersCommand<Service: BackendService>: Sendable {
    private struct Letter: Sendable {
        let channel: String
        let sequence: Int64
        let payload: [UInt8]
        let reason: String
        let at: Timestamp

        var id: String { "\(channel)/\(UInt64(bitPattern: sequence))" }
    }

    let configuration: ServiceConfiguration
    let logger: Logger
    var print: @Sendable (String) -> Void = { Swift.print($0) }

    private var consumer: String { configuration.broker.queueGroup }

    func run(_ words: [String]) async -> Int32 {
        let database = Database.make(configuration, logger)
        let client = HTTPClient.make()
        let code: Int32
        do {
            code = try await run(words, database, client)
        } catch {
            JSONLogHandler.standardError(Array("dead-letters: \(error)\n".utf8))
            code = 1
        }
        await database.pool.shutdown()
        // Nothing was asked of it; the process ends.
        try? await client.shutdown()
        return code
    }

    private func run(_ words: [String], _ database: Database, _ client: HTTPClient) async throws -> Int32 {
        let wanted = Set(words.dropFirst())
        switch words.first {
        case "list" where wanted.isEmpty:
            for letter in try await letters(database) {
                print(
                    "\(letter.id)\t\(letter.at.rfc3339)\t\(letter.payload.count) bytes\t\(letter.reason)\t\(Self.text(letter.payload))"
                )
            }
            return 0
        case "replay" where !wanted.isEmpty, "drop" where !wanted.isEmpty:
            let all = try await letters(database)
            let missing = wanted.subtracting(all.map(\.id)).subtracting(["--all"])
            for id in missing.sorted() {
                JSONLogHandler.standardError(Array("\(id) is no dead letter of \(consumer)\n".utf8))
            }
            let chosen = all.filter { wanted.contains("--all") || wanted.contains($0.id) }
            let isDone =
                words.first == "drop"
                ? try await drop(chosen, database) : try await replay(chosen, database, client)
            return missing.isEmpty && isDone ? 0 : 1
        default:
            JSONLogHandler.standardError(
                Array(
                    "usage: \(Service.name) dead-letters list | replay ID… | drop ID…   (--all for all)\n"
                        .utf8))
            return 2
        }
    }

    private func letters(_ database: Database) async throws -> [Letter] {
        try await database.query(
            """
            SELECT channel, sequence, payload, reason, at FROM dead_letters WHERE consumer = \(consumer)
            ORDER BY at, channel, sequence
            """
        ).map { row in
            let (channel, sequence, payload, reason, at) = try row.decode(
                String.self, Int64.self, [UInt8].self, String.self, Timestamp.self)
            return Letter(channel: channel, sequence: sequence, payload: payload, reason: reason, at: at)
        }
    }

    private func drop(_ letters: [Letter], _ database: Database) async throws -> Bool {
        for letter in letters {
            try await delete(letter, database)
            print("\(letter.id)\tdropped")
        }
        return true
    }

    /// Applies letters; true when all of them are gone.
    private func replay(_ letters: [Letter], _ database: Database, _ client: HTTPClient) async throws -> Bool
    {
        let resources = ServiceResources(
            configuration: configuration, database: database, httpClient: client, metrics: Metrics(),
            clock: .system, logger: logger)
        let inbox = Inbox(consumer: consumer, database: database, listeners: Service(resources).listeners)
        var isDone = true
        for letter in letters {
            switch try await inbox.process(channel: letter.channel, payload: letter.payload) {
            case .applied: print("\(letter.id)\tapplied")
            case .ignored: print("\(letter.id)\tnothing to do: it is stale")
            case .duplicate: print("\(letter.id)\tnothing to do: it was applied before")
            case .own: print("\(letter.id)\tnothing to do: this service published it")
            case .waiting(_, _, let reason):
                print("\(letter.id)\tstays: \(reason)")
                isDone = false
                continue
            case .refused(let reason):
                print("\(letter.id)\tstays: \(reason)")
                isDone = false
                continue
            }
            try await delete(letter, database)
        }
        return isDone
    }

    private func delete(_ letter: Letter, _ database: Database) async throws {
        try await database.query(
            """
            DELETE FROM dead_letters WHERE consumer = \(consumer) AND channel = \(letter.channel)
              AND sequence = \(letter.sequence)
            """)
    }

    /// The beginning of a payload on one line, without what would command a terminal.
    private static func text(_ payload: [UInt8]) -> String {
        String(decoding: payload.prefix(200), as: UTF8.self).unicodeScalars.map { scalar in
            scalar.value < 0x20 || scalar.value == 0x7F ? "\u{FFFD}" : String(scalar)
        }.joined() + (payload.count > 200 ? "…" : "")
    }
}

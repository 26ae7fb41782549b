import Glibc
import Logging
import PostgresCluster
import Synchronization
import Testing

@testable import Postgres

/// What a session must come through without holding up the others of the process.
@Suite("Connections that are lost or stopped in bad moments", .timeLimit(.minutes(10)))
struct LostConnectionTests {
    @Test(
        "a server that talks nonsense loses its connection, and nothing else",
        arguments: [
            // A row of a length that cannot be, at once, and behind the end of a first statement.
            [UInt8(ascii: "D"), 0, 0, 0, 1],
            [UInt8(ascii: "2"), 0, 0, 0, 4, UInt8(ascii: "C"), 0, 0, 0, 13] + Array("SELECT 1\0".utf8)
                + [UInt8(ascii: "D"), 0, 0, 0, 1],
        ], [false, true])
    func nonsense(_ answer: [UInt8], isPipeline: Bool) async throws {
        let server = NonsenseServer(answer: answer)
        defer { server.stop() }
        let connection = try await PostgresConnection.open(server.configuration)
        defer { connection.close() }
        let error = await #expect(throws: PostgresError.self) {
            if isPipeline {
                _ = try await connection.pipeline(["SELECT 1", "SELECT 2"])
            } else {
                _ = try await connection.query("SELECT 1")
            }
        }
        #expect(error?.code == .connectionLost)
        #expect(!connection.isOpen)
        try await withConnection { try await $0.ping() }
    }

    @Test("what belongs to a transaction that the server did not begin is not carried out by itself")
    func refusedBegin() async throws {
        let server = NonsenseServer(
            answer: NonsenseServer.refusal("0A000", "cannot use serializable mode in a hot standby"))
        defer { server.stop() }
        let connection = try await PostgresConnection.open(server.configuration)
        defer { connection.close() }
        let error = await #expect(throws: PostgresError.self) {
            try await connection.withTransaction(isolation: .serializable) { transaction in
                // Passed over in silence: the next one must not be sent.
                do { try await transaction.query("SELECT \(1)::int") } catch let first as PostgresError {
                    #expect(first.sqlState == "0A000")
                }
                try await transaction.query("SELECT \(2)::int")
            }
        }
        #expect(error?.code == .connectionLost || error?.sqlState == "0A000")
        #expect(!connection.isOpen)
    }

    @Test("a server that has forgotten a request to cancel, as one does that came too early, is asked again")
    func forgottenCancel() async throws {
        let server = NonsenseServer(
            answer: NonsenseServer.refusal("57014", "canceling statement due to user request"),
            afterCancels: 2)
        defer { server.stop() }
        let connection = try await PostgresConnection.open(server.configuration)
        defer { connection.close() }
        let error = await #expect(throws: PostgresError.self) {
            try await connection.query("SELECT pg_sleep(600)", timeout: .milliseconds(1))
        }
        #expect(error?.code == .timedOut)
        #expect(connection.isOpen)
    }

    @Test("whenever its task is cancelled, a listener ends, and so does a statement of the same connection")
    func cancelledListener() async throws {
        let configuration = try await PostgresConfiguration.testServer()
        for round in 0..<200 {
            let connection = try await PostgresConnection.open(configuration)
            defer { connection.close() }
            let arrivals = Atomic<Int>(0)
            let task = Task.detached {
                try await withTaskCancellationHandler {
                    try await connection.withNotifications(on: "c") { notifications in
                        try await withThrowingTaskGroup(of: Void.self) { group in
                            group.addTask {
                                while !Task.isCancelled { try await connection.query("NOTIFY c") }
                            }
                            for try await _ in notifications { arrivals.add(1, ordering: .relaxed) }
                        }
                    }
                } onCancel: {
                    connection.close()
                }
            }
            while arrivals.load(ordering: .relaxed) < 1 + round % 7 { await Task.yield() }
            task.cancel()
            _ = await task.result
        }
    }

    @Test("look-ups that hang hold up no cancellation")
    func hangingLookUps() async throws {
        // Nobody else in this process can open a connection meanwhile, so the server is there before, and it is over soon.
        var configuration = try await PostgresConfiguration.testServer()
        let release = Semaphore()
        // More than there are threads for: what is queued behind them waits too.
        for _ in 0..<8 { BlockingCalls.openings.run { release.wait() } }
        defer { for _ in 0..<8 { release.signal() } }
        // This one needs no look-up, and begins on its own thread.
        configuration.startsOnCallersThread = true
        let connection = try await PostgresConnection.open(configuration)
        defer { connection.close() }
        let error = await #expect(throws: PostgresError.self) {
            try await connection.query("SELECT pg_sleep(600)", timeout: .milliseconds(50))
        }
        #expect(error?.code == .timedOut)
        try await connection.ping()
    }

    @Test("a loss is logged when the connection can be asked about itself")
    func lossIsLoggedUnlocked() async throws {
        let asked = Atomic<Bool>(true)
        let place = Mutex<PostgresConnection?>(nil)
        let connection = try await {
            var configuration = try await PostgresConfiguration.testServer()
            var logger = Logger(label: "test") { _ in
                AskingLogHandler { asked.store(place.withLock { $0 }?.isOpen ?? true, ordering: .relaxed) }
            }
            logger.logLevel = .trace
            configuration.logger = logger
            return try await PostgresConnection.open(configuration)
        }()
        place.withLock { $0 = connection }
        defer { place.withLock { $0 = nil } }
        try await withConnection {
            try await $0.query("SELECT pg_terminate_backend(\(connection.backendProcessID))")
        }
        await #expect(throws: PostgresError.self) { while true { try await connection.ping() } }
        while asked.load(ordering: .relaxed) { await Task.yield() }
    }

    @Test("an opening that is called off says that it was")
    func calledOffOpening() async throws {
        let server = NonsenseServer(answer: [], welcomes: false)
        defer { server.stop() }
        let silent = server.configuration
        let task = Task { _ = try await PostgresConnection.open(silent) }
        while !server.hasMetClient { await Task.yield() }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test("no borrower loses its connection to a shutdown of the pool")
    func shutdownWhileLent() async throws {
        for _ in 0..<60 {
            var options = PostgresPool.Options()
            options.maximumConnections = 1
            options.acquireTimeout = .seconds(600)
            let pool = PostgresPool(try await .testServer(), options: options)
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        do {
                            while true { try await pool.query("SELECT 1") }
                        } catch {
                            #expect((error as? PostgresError)?.code == .poolClosed)
                        }
                    }
                }
                while pool.statistics.opened == 0 { await Task.yield() }
                await pool.shutdown()
            }
        }
    }
}

private struct AskingLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace
    let ask: @Sendable () -> Void

    init(ask: @escaping @Sendable () -> Void) { self.ask = ask }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { ask() }
}

import Foundation
import PostgresCluster
import Testing

@testable import Postgres

@Suite struct ConnectionTests {
    private func failure(_ change: (inout PostgresConfiguration) -> Void) async throws -> PostgresError {
        var configuration = try await PostgresConfiguration.testServer()
        change(&configuration)
        do {
            let connection = try await PostgresConnection.open(configuration)
            connection.close()
            throw ClusterError(description: "connected, and should not have")
        } catch let error as PostgresError {
            return error
        }
    }

    @Test("what cannot be opened says why, and never the password")
    func openingErrors() async throws {
        let refused = try await failure { $0.parameters["port"] = "1" }
        #expect(refused.code == .connectionFailed(.refused))
        // Longer than a part of a name can be: the machine knows that without asking anybody.
        let host = String(repeating: "n", count: 64) + ".invalid"
        let unknown = try await failure { $0.parameters["host"] = host }
        #expect(unknown.code == .connectionFailed(.hostNotFound))
        #expect(unknown.message == "lookup \(host): no such host")
        let password = try await failure { $0.parameters["password"] = "s3cret" }
        #expect(password.code == .connectionFailed(.refusedByServer))
        #expect(password.sqlState == "28P01")
        #expect(password.message == "password authentication failed for user \"postgres\"")
        let database = try await failure { $0.parameters["dbname"] = "nodb" }
        #expect(database.sqlState == "3D000")
        let tls = try await failure { $0.parameters["sslmode"] = "require" }
        #expect(tls.code == .connectionFailed(.tlsNotSupported))
        let option = try await failure { $0.parameters["no_such_option"] = "1" }
        #expect(option.message.contains("no_such_option"))
        for error in [refused, unknown, password, database, tls, option] {
            #expect(!"\(error)".contains("s3cret"))
        }
        #expect(throws: PostgresError.self) {
            try PostgresConfiguration(connectionString: "postgres://u:s3cret@[bad")
        }
        let read = try PostgresConfiguration(connectionString: "postgres://u:s3cret@h:99/d?sslmode=disable")
        #expect(read.parameters["password"] == "s3cret")
        #expect(!"\(read)".contains("s3cret"))
        var dumped = ""
        dump(read, to: &dumped)
        #expect(!dumped.contains("s3cret"))
    }

    @Test("several hosts are tried in turn")
    func hosts() async throws {
        let change: (inout PostgresConfiguration) -> Void = {
            let port = $0.parameters["port"] ?? ""
            $0.parameters["host"] = "127.0.0.1,localhost"
            $0.parameters["port"] = "1,\(port)"
        }
        try await withConnection(change) { connection in
            let row = try await connection.query("SELECT 1")[0]
            #expect(try row.decode(0, as: Int.self) == 1)
        }
    }

    @Test("a server that accepts and says nothing runs into the connect timeout")
    func silentServer() async throws {
        let silent = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(silent) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let port =
            withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                    bind(silent, pointer, length) == 0 && listen(silent, 8) == 0
                        && getsockname(silent, pointer, &length) == 0
                }
            } ? UInt16(bigEndian: address.sin_port) : 0
        let error = try await failure {
            $0.parameters["port"] = "\(port)"
            $0.connectTimeout = .milliseconds(100)
        }
        #expect(error.code == .connectionFailed(.timedOut))
        // A task that is cancelled while it connects ends at once.
        var configuration = try await PostgresConfiguration.testServer()
        configuration.parameters["port"] = "\(port)"
        configuration.connectTimeout = nil
        let patient = configuration
        let task = Task { _ = try await PostgresConnection.open(patient) }
        task.cancel()
        await #expect(throws: (any Error).self) { try await task.value }
    }

    @Test("TLS is libpq's: the certificate is verified when asked for")
    func tls() async throws {
        let cluster = try await PostgresCluster.encrypted()
        var configuration = try await PostgresConfiguration.testServer(cluster)
        configuration.parameters["sslmode"] = "verify-full"
        configuration.parameters["sslrootcert"] = "\(cluster.directory)/ca.crt"
        // The certificate is for the name, not for the address.
        let wrong = configuration
        await #expect(throws: PostgresError.self) { try await PostgresConnection.open(wrong) }
        configuration.parameters["host"] = "localhost"
        let connection = try await PostgresConnection.open(configuration)
        defer { connection.close() }
        let large = String(repeating: "x", count: 3 << 20)
        let row = try await connection.query(
            "SELECT ssl, \(large)::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()")[0]
        let (isEncrypted, text) = try row.decode(Bool.self, String.self)
        #expect(isEncrypted)
        #expect(text == large)
        try await connection.withRows(of: "SELECT generate_series(1, 100000)") { rows in
            var count = 0
            for try await _ in rows { count += 1 }
            #expect(count == 100_000)
        }
    }

    @Test("a cancelled task cancels its statement on the server, and the connection goes on")
    func cancellation() async throws {
        try await withConnection { connection in
            try await withConnection { observer in
                let pid = connection.backendProcessID
                for _ in 0..<20 {
                    let task = Task { try await connection.query("SELECT pg_sleep(1000)") }
                    try await waitUntil(
                        observer, "SELECT state = 'active' FROM pg_stat_activity WHERE pid = \(pid)")
                    task.cancel()
                    await #expect(throws: CancellationError.self) { try await task.value }
                    // Nothing of the cancellation reaches the next statement.
                    let row = try await connection.query("SELECT \(7)::int")[0]
                    #expect(try row.decode(0, as: Int.self) == 7)
                }
                let early = Task {
                    withUnsafeCurrentTask { $0?.cancel() }
                    return try await connection.query("SELECT 1")
                }
                await #expect(throws: CancellationError.self) { try await early.value }
            }
        }
    }

    @Test("a queued statement can be cancelled before it is sent")
    func queuedCancellation() async throws {
        try await withConnection { connection in
            try await withConnection { observer in
                let pid = connection.backendProcessID
                let first = Task { try await connection.query("SELECT pg_sleep(1000)") }
                try await waitUntil(
                    observer, "SELECT state = 'active' FROM pg_stat_activity WHERE pid = \(pid)")
                let second = Task { try await connection.query("SELECT 1") }
                second.cancel()
                await #expect(throws: CancellationError.self) { try await second.value }
                first.cancel()
                await #expect(throws: CancellationError.self) { try await first.value }
            }
        }
    }

    @Test("a statement that outlives its time is cancelled, and says so")
    func timeout() async throws {
        try await withConnection { connection in
            let error = await #expect(throws: PostgresError.self) {
                try await connection.query("SELECT pg_sleep(1000)", timeout: .milliseconds(50))
            }
            #expect(error?.code == .timedOut)
            let one = try await connection.query("SELECT 1", timeout: .seconds(60)).count
            #expect(one == 1)
        }
    }

    @Test("a connection that the server ends fails what is under way with the server's words, and is closed")
    func termination() async throws {
        try await withConnection { connection in
            try await withConnection { observer in
                let pid = connection.backendProcessID
                let task = Task { try await connection.query("SELECT pg_sleep(1000)") }
                try await waitUntil(
                    observer, "SELECT state = 'active' FROM pg_stat_activity WHERE pid = \(pid)")
                try await observer.query("SELECT pg_terminate_backend(\(pid))")
                let error = await #expect(throws: PostgresError.self) { try await task.value }
                #expect(error?.sqlState == "57P01")
                let next = await #expect(throws: PostgresError.self) {
                    try await connection.query("SELECT 1")
                }
                #expect(next?.code == .connectionLost)
                #expect(!connection.isOpen)
            }
        }
    }

    @Test("a million rows stream in bounded memory, and a stream may be left early")
    func streaming() async throws {
        try await withConnection { connection in
            let sum = try await connection.withRows(
                of: "SELECT i, repeat('x', 100) FROM generate_series(1, \(1_000_000)::int) i"
            ) { rows in
                var sum = 0
                for try await row in rows { sum += try row.decode(0, as: Int.self) }
                return sum
            }
            #expect(sum == 500_000_500_000)
            // A consumer that rests after one row: the server is soon stuck writing, because nobody reads the socket.
            try await withConnection { observer in
                let pid = connection.backendProcessID
                try await connection.withRows(of: "SELECT repeat('x', 1000) FROM generate_series(1, 1000000)")
                { rows in
                    var iterator = rows.makeAsyncIterator()
                    _ = try await iterator.next()
                    try await waitUntil(
                        observer, "SELECT wait_event = 'ClientWrite' FROM pg_stat_activity WHERE pid = \(pid)"
                    )
                    var count = 1
                    while (try await iterator.next()) != nil { count += 1 }
                    #expect(count == 1_000_000)
                }
            }
            for _ in 0..<10 {
                let first = try await connection.withRows(of: "SELECT generate_series(1, 100000000)") {
                    rows in
                    var iterator = rows.makeAsyncIterator()
                    return try await iterator.next()?.decode(0, as: Int.self)
                }
                #expect(first == 1)
            }
            let after = try await connection.query("SELECT 1").count
            #expect(after == 1)
            let error = await #expect(throws: PostgresError.self) {
                try await connection.withRows(of: "SELECT 1/(3 - i) FROM generate_series(1, 5) i") { rows in
                    for try await _ in rows {}
                }
            }
            #expect(error?.sqlState == "22012")
        }
    }

    @Test("a stream whose task is cancelled is cancelled on the server")
    func streamCancellation() async throws {
        try await withConnection { connection in
            try await withConnection { observer in
                let pid = connection.backendProcessID
                let task = Task {
                    try await connection.withRows(of: "SELECT pg_sleep(1000)") { rows in
                        for try await _ in rows {}
                    }
                }
                try await waitUntil(
                    observer, "SELECT state = 'active' FROM pg_stat_activity WHERE pid = \(pid)")
                task.cancel()
                await #expect(throws: CancellationError.self) { try await task.value }
                let after = try await connection.query("SELECT 1").count
                #expect(after == 1)
            }
        }
    }

    @Test(
        "notifications arrive in order while listening, and the sequence ends with an error when the connection does"
    )
    func notifications() async throws {
        try await withConnection { listener in
            try await withConnection { sender in
                try await listener.withNotifications(on: "Odd \"name\"", "other") { notifications in
                    for number in 1...100 {
                        try await sender.query("SELECT pg_notify('Odd \"name\"', \("\(number)"))")
                    }
                    var iterator = notifications.makeAsyncIterator()
                    for number in 1...100 {
                        let next = try await iterator.next()
                        #expect(next?.payload == "\(number)")
                        #expect(next?.channel == "Odd \"name\"")
                        #expect(next?.processID == sender.backendProcessID)
                    }
                    // Statements run meanwhile.
                    let one = try await listener.query("SELECT 1").count
                    #expect(one == 1)
                    try await sender.query("SELECT pg_terminate_backend(\(listener.backendProcessID))")
                    let end = await #expect(throws: PostgresError.self) {
                        while (try await iterator.next()) != nil {}
                    }
                    #expect(end?.code == .connectionLost)
                }
            }
        }
    }

    @Test("a listener that does not take its notifications is told that some are lost")
    func notificationOverflow() async throws {
        try await withConnection { connection in
            let error = await #expect(throws: PostgresError.self) {
                try await connection.withNotifications(on: "flood") { notifications in
                    try await connection.query(
                        "SELECT pg_notify('flood', i::text) FROM generate_series(1, \(PostgresConnection.notificationLimit + 5)::int) i"
                    )
                    // What the server had for us has arrived with this answer or the next.
                    for _ in 0..<3 { try await connection.ping() }
                    for try await _ in notifications {}
                }
            }
            #expect(error?.code == .notificationsLost)
        }
    }

    @Test(
        "transactions commit, roll back on an error or a cancellation, and try serialization failures again")
    func transactions() async throws {
        try await withConnection { connection in
            try await connection.execute(script: "CREATE TEMP TABLE t (n int)")
            let value = try await connection.withTransaction { transaction in
                try await transaction.query("INSERT INTO t VALUES (1)")
                return 5
            }
            #expect(value == 5)
            struct Stop: Error {}
            await #expect(throws: Stop.self) {
                try await connection.withTransaction { transaction in
                    try await transaction.query("INSERT INTO t VALUES (2)")
                    throw Stop()
                }
            }
            let silent = await #expect(throws: PostgresError.self) {
                try await connection.withTransaction { transaction in
                    try await transaction.query("INSERT INTO t VALUES (3)")
                    _ = try? await transaction.query("SELECT 1/0")
                }
            }
            #expect(silent?.code == .transactionRolledBack)
            let nested = await #expect(throws: PostgresError.self) {
                try await connection.withTransaction { try await $0.withTransaction { _ in } }
            }
            #expect(nested?.code == .misuse)
            let cancelled = Task {
                try await connection.withTransaction { transaction in
                    try await transaction.query("INSERT INTO t VALUES (4)")
                    withUnsafeCurrentTask { $0?.cancel() }
                }
            }
            await #expect(throws: CancellationError.self) { try await cancelled.value }
            #expect(connection.transactionStatus == .idle)
            var attempts = 0
            try await connection.withTransaction(isolation: .serializable, attempts: 3) { transaction in
                attempts += 1
                let isolation = try await transaction.query("SHOW transaction_isolation")[0].decode(
                    0, as: String.self)
                #expect(isolation == "serializable")
                if attempts < 3 {
                    try await transaction.query("DO $$ BEGIN RAISE 'again' USING ERRCODE = '40001'; END $$")
                }
                try await transaction.query("INSERT INTO t VALUES (6)")
            }
            #expect(attempts == 3)
            let readOnly = await #expect(throws: PostgresError.self) {
                try await connection.withTransaction(isReadOnly: true) {
                    try await $0.query("CREATE TABLE no ()")
                }
            }
            #expect(readOnly?.sqlState == "25006")
            let rows = try await connection.query("SELECT n FROM t ORDER BY n").map {
                try $0.decode(0, as: Int.self)
            }
            #expect(rows == [1, 6])
        }
    }

    @Test(
        "words of libpq about a failed connection are understood, and odd ones are passed on",
        arguments: [
            (
                "connection to server at \"127.0.0.1\", port 1 failed: Connection refused\n\tIs the server running?\n",
                PostgresError.ConnectionFailure.refused
            ),
            (
                "connection to server at \"h\" (::1), port 1 failed: Connection refused\nconnection to server at \"h\" (127.0.0.1), port 1 failed: FATAL:  57P03: the database system is starting up\nLOCATION:  x",
                .refusedByServer
            ),
            (
                "connection to server at \"h\", port 1 failed: server does not support SSL, but SSL was required\n",
                .tlsNotSupported
            ),
            ("", .other), ("FATAL", .other), ("x failed: :  12345: y", .other),
        ] as [(String, PostgresError.ConnectionFailure)])
    func failureTexts(_ text: String, _ failure: PostgresError.ConnectionFailure) {
        #expect(ConnectionFailureText.error(text).code == .connectionFailed(failure))
    }
}

/// Waits in the server until a condition holds.
func waitUntil(_ observer: PostgresConnection, _ condition: String) async throws {
    try await observer.execute(
        script: "DO $$ BEGIN FOR i IN 1..60000 LOOP IF coalesce((\(condition)), false) THEN RETURN; END IF; "
            + "PERFORM pg_sleep(0.01); PERFORM pg_stat_clear_snapshot(); END LOOP; RAISE 'not within 10 min'; END $$"
    )
}

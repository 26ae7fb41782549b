import Foundation
import Postgres
import PostgresCluster
import PostgresFoundation
import Testing

@Suite struct QueryTests {
    @Test("values go to the server as parameters and come back as what they were")
    func roundTrip() async throws {
        try await withConnection { connection in
            let id = UUID()
            let now = Date(timeIntervalSince1970: 1_764_000_000.123456)
            let bytes: [UInt8] = [0, 1, 0x5c, 0x27, 255]
            let nothing: String? = nil
            let row = try #require(
                try await connection.query(
                    """
                    SELECT \(42)::int, \(Int64.min)::bigint, \("O'Hara; --")::text, \(id)::uuid, \(now)::timestamptz,
                      \(true), \(bytes), \(nothing)::text, \(1.5)::float8, \(["a", "b\"c\\,{}", "", "NULL"])::text[],
                      \(Int16(-3))::smallint
                    """
                ).first)
            let (a, b, c, d, e, f, g, h, i, j, k) = try row.decode(
                Int.self, Int64.self, String.self, UUID.self, Date.self, Bool.self, [UInt8].self,
                String?.self,
                Double.self, [String].self, Int16.self)
            #expect(a == 42)
            #expect(b == .min)
            #expect(c == "O'Hara; --")
            #expect(d == id)
            #expect(abs(e.timeIntervalSince(now)) < 0.000_001)
            #expect(f)
            #expect(g == bytes)
            #expect(h == nil)
            #expect(i == 1.5)
            #expect(j == ["a", "b\"c\\,{}", "", "NULL"])
            #expect(k == -3)
        }
    }

    struct Event: Codable, Equatable, Sendable { var kind: String, count: Int }

    @Test("JSON is written from and read into Codable types")
    func json() async throws {
        try await withConnection { connection in
            let event = Event(kind: "created", count: 3)
            let row = try #require(
                try await connection.query("SELECT \(try PostgresJSON(event).encoded())::jsonb AS event")
                    .first)
            #expect(try row.decode("event", as: PostgresJSON<Event>.self).value == event)
            #expect(throws: PostgresError.self) { try row.decode("event", as: PostgresJSON<[Int]>.self) }
        }
    }

    @Test("points in time are read in every zone, era and precision, and infinity is refused")
    func times() async throws {
        try await withConnection { connection in
            for zone in ["UTC", "Asia/Kolkata", "America/St_Johns", "Europe/Amsterdam"] {
                _ = try await connection.query("SELECT set_config('TimeZone', \(zone), false)")
                for text in [
                    "2026-11-24 07:00:00.000001+00", "1900-01-01 00:00:00+00", "0001-01-01 00:00:00+00",
                    "12345-06-07 08:09:10.5+00", "1970-01-01 00:00:00+00", "2000-02-29 23:59:59.999999+00",
                    "0044-03-15 12:00:00+00 BC",
                ] {
                    let row = try #require(
                        try await connection.query(
                            "SELECT \(text)::timestamptz, extract(epoch FROM \(text)::timestamptz)::float8"
                        ).first)
                    let (date, epoch) = try row.decode(Date.self, Double.self)
                    #expect(abs(date.timeIntervalSince1970 - epoch) < 0.000_1, "\(text) in \(zone)")
                    let same = try await connection.query(
                        "SELECT \(date)::timestamptz = \(text)::timestamptz")
                    #expect(try same[0].decode(0, as: Bool.self), "\(text) in \(zone)")
                }
            }
            let infinity = try await connection.query("SELECT 'infinity'::timestamptz AS t")
            #expect(throws: PostgresError.self) { try infinity[0].decode(0, as: Date.self) }
        }
    }

    @Test("a value of another type, a NULL, a missing column: each error names the column and the way out")
    func decodingErrors() async throws {
        try await withConnection { connection in
            let row = try await connection.query("SELECT 'x' AS name, NULL::int AS age, 70000 AS big")[0]
            let cases: [(() throws -> Void, String)] = [
                ({ _ = try row.decode("name", as: Int.self) }, "\"name\""),
                ({ _ = try row.decode("age", as: Int.self) }, "Int?"),
                ({ _ = try row.decode("big", as: Int16.self) }, "70000"),
                ({ _ = try row.decode("none", as: Int.self) }, "name, age, big"),
                ({ _ = try row.decode(3, as: Int.self) }, "no column 3"),
            ]
            for (decode, part) in cases {
                do {
                    try decode()
                    Issue.record("decoded what is not there: \(part)")
                } catch let error as PostgresError {
                    #expect(error.code == .decoding)
                    #expect(error.message.contains(part), "\(error.message)")
                }
            }
        }
    }

    @Test("an error of the server has SQLSTATE, constraint, detail, hint and position")
    func serverErrors() async throws {
        try await withConnection { connection in
            try await connection.execute(
                script: "CREATE TEMP TABLE t (id int CONSTRAINT t_key PRIMARY KEY); INSERT INTO t VALUES (1)")
            let duplicate = await #expect(throws: PostgresError.self) {
                try await connection.query("INSERT INTO t VALUES (\(1))")
            }
            #expect(duplicate?.sqlState == "23505")
            #expect(duplicate?.server?.constraint == "t_key")
            #expect(duplicate?.server?.detail == "Key (id)=(1) already exists.")
            #expect(duplicate?.server?.table == "t")
            let unknown = await #expect(throws: PostgresError.self) {
                try await connection.query("SELECT lenght('x')")
            }
            #expect(unknown?.server?.position == 8)
            #expect(unknown?.server?.hint?.isEmpty == false)
            #expect(unknown?.code == .server)
            // The connection goes on.
            let one = try await connection.query("SELECT 1")[0].decode(0, as: Int.self)
            #expect(one == 1)
        }
    }

    @Test("a script counts the statements done before the one that fails, and all of it is undone")
    func scripts() async throws {
        try await withConnection { connection in
            let value1 = try await connection.execute(script: "SELECT 1; SELECT 2; SELECT 3")
            #expect(value1 == 3)
            let error = await #expect(throws: PostgresError.self) {
                try await connection.execute(script: "CREATE TEMP TABLE a (); SELECT 1; SELECT 1/0; SELECT 4")
            }
            #expect(error?.completedStatements == 2)
            #expect(error?.sqlState == "22012")
            await #expect(throws: PostgresError.self) { try await connection.query("SELECT FROM a") }
        }
    }

    @Test("a NUL character is refused with its place, in text and in parameters")
    func nul() async throws {
        try await withConnection { connection in
            for query: PostgresQuery in ["SELECT '\0'", "SELECT \("a\0b")"] {
                let error = await #expect(throws: PostgresError.self) { try await connection.query(query) }
                #expect(error?.code == .misuse)
                #expect(error?.message.contains("NUL") == true)
            }
            let value2 = try await connection.query("SELECT 1").count
            #expect(value2 == 1)
        }
    }

    @Test("a COPY that has no peer here ends in a sentence, and the connection goes on")
    func copies() async throws {
        try await withConnection { connection in
            try await connection.execute(script: "CREATE TEMP TABLE c (n int)")
            let into = await #expect(throws: PostgresError.self) {
                try await connection.query("COPY c FROM STDIN")
            }
            #expect(into?.code == .copyNotSupported(.fromClient))
            let out = await #expect(throws: PostgresError.self) {
                try await connection.query("COPY (SELECT generate_series(1, 100000)) TO STDOUT")
            }
            #expect(out?.code == .copyNotSupported(.toClient))
            let count = try await connection.query("SELECT count(*) FROM c")[0].decode(0, as: Int.self)
            #expect(count == 0)
        }
    }

    @Test("a prepared statement runs many times, and on no other connection")
    func prepared() async throws {
        try await withConnection { connection in
            let statement = try await connection.prepare("SELECT $1::int * 2")
            for number in 1...20 {
                let row = try await connection.query(statement, number)[0]
                #expect(try row.decode(0, as: Int.self) == number * 2)
            }
            try await withConnection { other in
                let error = await #expect(throws: PostgresError.self) { try await other.query(statement, 1) }
                #expect(error?.code == .misuse)
            }
            try await connection.deallocate(statement)
            let gone = await #expect(throws: PostgresError.self) { try await connection.query(statement, 1) }
            #expect(gone?.sqlState == "26000")
        }
    }

    @Test("a pipeline answers every statement; when one fails, none has an effect and the error says which")
    func pipelines() async throws {
        try await withConnection { connection in
            try await connection.execute(script: "CREATE TEMP TABLE p (n int PRIMARY KEY)")
            let insert = try await connection.prepare("INSERT INTO p VALUES ($1)")
            let results = try await connection.pipeline(
                (1...5_000).map { PostgresStatement(insert, [$0]) } + ["SELECT count(*) FROM p"])
            #expect(results.count == 5_001)
            #expect(try results.last?.first?.decode(0, as: Int.self) == 5_000)
            let error = await #expect(throws: PostgresError.self) {
                try await connection.pipeline([
                    "INSERT INTO p VALUES (\(9_001))", "INSERT INTO p VALUES (\(1))",
                    "INSERT INTO p VALUES (\(9_002))",
                ])
            }
            #expect(error?.sqlState == "23505")
            #expect(error?.completedStatements == 1)
            let count = try await connection.query("SELECT count(*) FROM p")[0].decode(0, as: Int.self)
            #expect(count == 5_000)
            #expect(try await connection.pipeline([]).isEmpty)
            let misuse = await #expect(throws: PostgresError.self) {
                try await connection.pipeline(["SELECT 1", "SELECT \("a\0")"])
            }
            #expect(misuse?.code == .misuse)
            let value3 = try await connection.query("SELECT 1").count
            #expect(value3 == 1)
        }
    }

    @Test(
        "a value of eight megabytes goes there and back, and a result of two million rows does not stop the others"
    )
    func largeValues() async throws {
        try await withConnection { connection in
            let large = [UInt8](repeating: 0xab, count: 8 << 20)
            async let rows = try withConnection { other in
                try await other.query("SELECT generate_series(1, 2000000)").count
            }
            let row = try await connection.query("SELECT \(large) AS v, length(\(large)) AS n")[0]
            #expect(try row.decode("n", as: Int.self) == large.count)
            #expect(try row.decode("v", as: [UInt8].self) == large)
            let value4 = try await rows
            #expect(value4 == 2_000_000)
        }
    }

    @Test("notices are handed over with their severity")
    func notices() async throws {
        let (stream, continuation) = AsyncStream<PostgresServerError>.makeStream()
        let change: (inout PostgresConfiguration) -> Void = { $0.onNotice = { continuation.yield($0) } }
        try await withConnection(change) { connection in
            try await connection.execute(
                script: "DO $$ BEGIN RAISE WARNING 'look %', 7 USING HINT = 'there'; END $$")
            var iterator = stream.makeAsyncIterator()
            let notice = await iterator.next()
            #expect(notice?.message == "look 7")
            #expect(notice?.severity == "WARNING")
            #expect(notice?.hint == "there")
        }
    }

    @Test("two tasks on one connection are served in turn")
    func sharing() async throws {
        try await withConnection { connection in
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<50 {
                    group.addTask {
                        try await connection.query("SELECT \(number)::int")[0].decode(0, as: Int.self)
                            == number
                    }
                }
                for try await isRight in group { #expect(isRight) }
            }
        }
    }
}

import BrokerProtocol
import NIOCore
import Postgres
import PostgresCluster
import Testing

@testable import ServicesCore

@Suite("Rows written as JSON")
struct JSONRowFormatTests {
    /// What becomes of the one row of a statement.
    private func json(
        _ sql: PostgresQuery, _ kinds: JSONRowFormat.Kind...
    ) async throws -> String {
        let format: JSONRowFormat =
            kinds.count == 1 ? JSONRowFormat(["k": kinds[0]]) : JSONRowFormat(["k": kinds[0], "l": kinds[1]])
        let cluster = try await PostgresCluster.shared()
        var configuration = PostgresConfiguration(
            host: "127.0.0.1", port: cluster.port, database: "postgres", user: "postgres",
            password: "postgres")
        configuration.parameters["sslmode"] = "disable"
        let connection = try await PostgresConnection.open(configuration)
        defer { connection.close() }
        return String(buffer: try format.json(await connection.query(sql)))
    }

    @Test(
        "text and arrays of text come out as if they had been strings of Swift, whatever is in them",
        arguments: [
            [], [""], ["plain"], ["two words", "a,b", "{", "}", "{}"], ["NULL", "null", "Nu11", "none"],
            ["\"", "\\", "\\\"", "\\\\"],
            ["<script>&", "ä€😀", "\u{2028}", "tab\tline\n\u{1}"], ["column-1", "column-2"], [" a ", "a\\"],
        ])
    func texts(_ values: [String]) async throws {
        for value in values + ["plain"] {
            var expected = JSONWriter()
            expected.beginArray()
            expected.beginObject()
            expected.field("k", values)
            expected.field("l", value)
            expected.endObject()
            expected.endArray()
            #expect(
                try await json("SELECT \(values)::text[], \(value)::text", .texts, .text)
                    == String(decoding: expected.bytes, as: UTF8.self))
        }
    }

    @Test("arrays that are none of strings are refused", arguments: ["{NULL}", "{a,null}", "{{a},{b}}"])
    func noTexts(_ text: String) async throws {
        await #expect(throws: PostgresError.self) {
            _ = try await json("SELECT \(text)::text[]", .texts)
        }
    }

    @Test("NULL is null, and no point in time")
    func null() async throws {
        #expect(try await json("SELECT NULL::text", .text) == #"[{"k":null}]"#)
        #expect(try await json("SELECT NULL::boolean", .boolean) == #"[{"k":null}]"#)
        #expect(try await json("SELECT NULL::text[]", .texts) == #"[{"k":null}]"#)
        for text in ["NULL::timestamp", "'infinity'::timestamp"] {
            await #expect(throws: PostgresError.self) {
                _ = try await json(PostgresQuery(unsafeSQL: "SELECT \(text)"), .time)
            }
        }
    }

    @Test("there are as many objects as rows")
    func rows() async throws {
        #expect(try await json("SELECT 1 WHERE false", .text) == "[]")
        #expect(
            try await json("SELECT n, n = 2 FROM generate_series(1, 2) n", .text, .boolean)
                == #"[{"k":"1","l":false},{"k":"2","l":true}]"#)
    }

    @Test("points in time are those of Swift")
    func times() async throws {
        for (sql, text) in [
            ("2021-05-16 20:36:42.105449", "2021-05-16T20:36:42.105449Z"),
            ("2021-05-16 20:36:42.5", "2021-05-16T20:36:42.5Z"),
            ("1969-12-31 23:59:59", "1969-12-31T23:59:59Z"),
            ("12021-05-16 20:36:42", "12021-05-16T20:36:42Z"),
            ("2000-02-29 00:00:00.000001", "2000-02-29T00:00:00.000001Z"),
        ] {
            #expect(
                try await json("SELECT \(sql)::timestamp", .time)
                    == #"[{"k":"\#(text)"}]"#)
        }
    }
}

import BrokerProtocol
import Postgres
import PostgresCluster
import Testing

@testable import ServicesCore

@Suite("Columns written as JSON")
struct JSONCellsTests {
    private func json(
        _ sql: PostgresQuery, _ write: (PostgresCell, inout JSONWriter) throws -> Void
    ) async throws -> String {
        let cluster = try PostgresCluster.shared()
        var configuration = PostgresConfiguration(
            host: "127.0.0.1", port: cluster.port, database: "postgres", user: "postgres",
            password: "postgres")
        configuration.parameters["sslmode"] = "disable"
        let connection = try await PostgresConnection.open(configuration)
        defer { connection.close() }
        let row = try await connection.query(sql)[0]
        var json = JSONWriter()
        json.beginObject()
        try write(try row.cell(0), &json)
        json.endObject()
        return String(decoding: json.bytes, as: UTF8.self)
    }

    @Test(
        "text and arrays of text come out as if they had been strings of Swift, whatever is in them",
        arguments: [
            [], [""], ["plain"], ["two words", "a,b", "{", "}", "{}"], ["NULL", "null"],
            ["\"", "\\", "\\\"", "\\\\"],
            ["<script>&", "ä€😀", "\u{2028}", "tab\tline\n\u{1}"], ["column-1", "column-2"], [" a ", "a\\"],
        ])
    func texts(_ values: [String]) async throws {
        var expected = JSONWriter()
        expected.beginObject()
        expected.field("k", values)
        expected.endObject()
        #expect(
            try await json("SELECT \(values)::text[]") { try $1.field("k", texts: $0) }
                == String(decoding: expected.bytes, as: UTF8.self))
        for value in values {
            var expected = JSONWriter()
            expected.beginObject()
            expected.field("k", value)
            expected.endObject()
            #expect(
                try await json("SELECT \(value)::text") { $1.field("k", text: $0) }
                    == String(decoding: expected.bytes, as: UTF8.self))
        }
    }

    @Test("arrays that are none of strings are refused", arguments: ["{NULL}", "{a,NULL}", "{{a},{b}}"])
    func noTexts(_ text: String) async throws {
        await #expect(throws: PostgresError.self) {
            _ = try await json("SELECT \(text)::text[]") { try $1.field("k", texts: $0) }
        }
    }

    @Test("NULL is null, and no point in time")
    func null() async throws {
        #expect(try await json("SELECT NULL::text") { $1.field("k", text: $0) } == #"{"k":null}"#)
        #expect(try await json("SELECT NULL::boolean") { $1.field("k", boolean: $0) } == #"{"k":null}"#)
        #expect(try await json("SELECT NULL::text[]") { try $1.field("k", texts: $0) } == #"{"k":null}"#)
        for text in ["NULL::timestamp", "'infinity'::timestamp"] {
            await #expect(throws: PostgresError.self) {
                _ = try await json(PostgresQuery(unsafeSQL: "SELECT \(text)")) { try $1.field("k", time: $0) }
            }
        }
    }

    @Test("booleans and points in time are those of Swift")
    func others() async throws {
        #expect(try await json("SELECT true") { $1.field("k", boolean: $0) } == #"{"k":true}"#)
        #expect(try await json("SELECT false") { $1.field("k", boolean: $0) } == #"{"k":false}"#)
        for (sql, text) in [
            ("2021-05-16 20:36:42.105449", "2021-05-16T20:36:42.105449Z"),
            ("2021-05-16 20:36:42.5", "2021-05-16T20:36:42.5Z"),
            ("1969-12-31 23:59:59", "1969-12-31T23:59:59Z"),
            ("12021-05-16 20:36:42", "12021-05-16T20:36:42Z"),
            ("2000-02-29 00:00:00.000001", "2000-02-29T00:00:00.000001Z"),
        ] {
            #expect(
                try await json("SELECT \(sql)::timestamp") { try $1.field("k", time: $0) }
                    == #"{"k":"\#(text)"}"#)
        }
    }
}

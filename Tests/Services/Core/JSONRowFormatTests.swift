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
        var query = sql
        query.resultFormat = .binary
        return String(buffer: try format.json(await connection.query(query)))
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

    @Test(
        "arrays that are none of strings are refused",
        arguments: ["{NULL}", "{a,null}", "{{a},{b}}", "[0:1]={a,b}"])
    func noTexts(_ text: String) async throws {
        await #expect(throws: PostgresError.self) {
            _ = try await json("SELECT \(text)::text[]", .texts)
        }
    }

    @Test("bytes that end early, or are none of the type, are refused, and nothing beyond them is read")
    func hostile() throws {
        /// An array of texts as the server writes it: "ab" and "".
        let array: [UInt8] =
            [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 25, 0, 0, 0, 2, 0, 0, 0, 1] + [0, 0, 0, 2, 97, 98] + [
                0, 0, 0, 0,
            ]
        func write(_ bytes: [UInt8], _ kind: JSONRowFormat.Kind) throws -> String {
            var json = JSONBytes(capacity: 0)
            try unsafe bytes.withUnsafeBytes { try unsafe BinaryColumn.write($0, kind, 0, to: &json) }
            return String(buffer: json.buffer)
        }
        #expect(try write(array, .texts) == #"["ab",""]"#)
        for count in 0..<array.count {
            #expect(throws: PostgresError.self, "\(count) bytes") {
                try write(Array(array[..<count]), .texts)
            }
        }
        for place in [0, 3, 12, 15, 19, 20, 23, 26] {
            var bytes = array
            bytes[place] ^= 0x80
            #expect(throws: PostgresError.self, "byte \(place)") { try write(bytes, .texts) }
        }
        for count in 0..<8 {
            #expect(throws: PostgresError.self) { try write([UInt8](repeating: 0, count: count), .time) }
        }
        #expect(try write([UInt8](repeating: 0, count: 8), .time) == #""2000-01-01T00:00:00Z""#)
    }

    @Test("a column of another type is refused, not misread")
    func types() async throws {
        for (sql, kind) in [
            ("1", JSONRowFormat.Kind.text), ("'a'::text", .boolean), ("'{1}'::int[]", .texts),
            ("now()", .time),
            ("'2021-05-16'::date", .time), ("'a'::text", .texts), ("true", .text),
        ] {
            let error = await #expect(throws: PostgresError.self, "\(sql)") {
                _ = try await json(PostgresQuery(unsafeSQL: "SELECT \(sql)"), kind)
            }
            #expect(error?.code == .decoding && "\(error.map { "\($0)" } ?? "")".contains("column 0"))
        }
    }

    @Test("varchar is text, and an array of varchar one of texts")
    func varying() async throws {
        #expect(
            try await json("SELECT 'a'::varchar(36), '{b,\"c d\"}'::varchar(8)[]", .text, .texts)
                == #"[{"k":"a","l":["b","c d"]}]"#)
    }

    @Test("NULL is null, and no point in time")
    func null() async throws {
        #expect(try await json("SELECT NULL::text", .text) == #"[{"k":null}]"#)
        #expect(try await json("SELECT NULL::boolean", .boolean) == #"[{"k":null}]"#)
        #expect(try await json("SELECT NULL::text[]", .texts) == #"[{"k":null}]"#)
        for text in [
            "NULL::timestamp", "'infinity'::timestamp", "'-infinity'::timestamp",
            // Further from 1970 than microseconds can be counted.
            "'294276-12-31'::timestamp",
        ] {
            await #expect(throws: PostgresError.self) {
                _ = try await json(PostgresQuery(unsafeSQL: "SELECT \(text)"), .time)
            }
        }
    }

    @Test("there are as many objects as rows")
    func rows() async throws {
        #expect(try await json("SELECT 'a'::text WHERE false", .text) == "[]")
        #expect(
            try await json("SELECT n::text, n = 2 FROM generate_series(1, 2) n", .text, .boolean)
                == #"[{"k":"1","l":false},{"k":"2","l":true}]"#)
    }

    @Test("any point in time comes out as `Timestamp` has it")
    func anyTime() async throws {
        // From 42 BC to the year 11,000, all of 1 BC's midnights among what is asked for below.
        for days in stride(from: -735_000, to: 3_300_000, by: 39_973) {
            let time = Timestamp(
                microseconds: Int64(days) * 86_400_000_000 + Int64(days & 0xffff) * 1_310_719)
            #expect(
                try await json("SELECT \(time)::timestamp", .time) == #"[{"k":"\#(time.rfc3339)"}]"#,
                "\(days)")
        }
    }

    @Test("points in time are those of Swift")
    func times() async throws {
        for (sql, text) in [
            ("2021-05-16 20:36:42.105449", "2021-05-16T20:36:42.105449Z"),
            ("2021-05-16 20:36:42.5", "2021-05-16T20:36:42.5Z"),
            ("1969-12-31 23:59:59", "1969-12-31T23:59:59Z"),
            ("12021-05-16 20:36:42", "12021-05-16T20:36:42Z"),
            ("2000-02-29 00:00:00.000001", "2000-02-29T00:00:00.000001Z"),
            ("1970-01-01 00:00:00", "1970-01-01T00:00:00Z"),
            ("0001-05-05 00:00:00 BC", "0001-05-05T00:00:00Z"),
            ("294246-12-31 23:59:59", "294246-12-31T23:59:59Z"),
            ("1999-12-31 23:59:59.999999", "1999-12-31T23:59:59.999999Z"),
            ("2024-12-31 10:20:30.1002", "2024-12-31T10:20:30.1002Z"),
            ("0001-01-01 00:00:00", "0001-01-01T00:00:00Z"),
            ("9999-12-31 23:59:59.01", "9999-12-31T23:59:59.01Z"),
        ] {
            #expect(
                try await json("SELECT \(sql)::timestamp", .time)
                    == #"[{"k":"\#(text)"}]"#)
        }
    }
}

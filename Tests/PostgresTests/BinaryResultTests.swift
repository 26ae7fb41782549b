import Postgres
import PostgresCluster
import Testing

@Suite("Results in binary form") struct BinaryResultTests {
    /// A number, a text and NULL.
    private func query(_ number: Int) -> PostgresQuery {
        var query: PostgresQuery = "SELECT \(number)::bigint, \("n\(number)")::text, NULL::text"
        query.resultFormat = .binary
        return query
    }

    private func check(_ result: PostgresResult, _ number: Int, _ location: SourceLocation = #_sourceLocation)
    {
        var values: [[UInt8]?] = []
        unsafe result.forEachValue { row, column, bytes in
            #expect(row == 0 && column == values.count, sourceLocation: location)
            values.append(unsafe bytes.map { unsafe Array($0) })
        }
        let expected: [[UInt8]?] = [[0, 0, 0, 0, 0, 0, 0, UInt8(number)], Array("n\(number)".utf8), nil]
        #expect(result.format == .binary && values == expected, sourceLocation: location)
        #expect((0..<3).map { result.typeOID(ofColumn: $0) } == [20, 25, 25], sourceLocation: location)
    }

    @Test("come from each way to run a statement, and do not change the ones after")
    func ways() async throws {
        try await withConnection { connection in
            check(try await connection.query(query(1)), 1)
            for number in 2...4 { check(try await connection.queryKept(query(number)), number) }
            var text = query(5)
            text.resultFormat = .text
            #expect(try await connection.queryKept(text)[0].decode(0, as: Int.self) == 5)
            check(try await connection.queryKept(query(6)), 6)
            // Without parameters too.
            var plain: PostgresQuery = "SELECT 7::bigint, 'n7'::text, NULL::text"
            plain.resultFormat = .binary
            check(try await connection.query(plain), 7)
        }
    }

    @Test("come to each of several callers whose statements travel together, others in text form")
    func together() async throws {
        try await ConvoyTests().run { pool, _, _ in
            let numbers = Array(1...6)
            let answers = try await ConvoyTests().together(
                pool,
                numbers.map { number in
                    var query = query(number)
                    if number.isMultiple(of: 2) { query.resultFormat = .text }
                    return query
                })
            for (number, answer) in zip(numbers, answers) {
                let result = try await answer.value
                if number.isMultiple(of: 2) {
                    #expect(try result[0].decode(1, as: String.self) == "n\(number)")
                } else {
                    check(result, number)
                }
            }
        }
    }

    @Test("are not read as cells: their bytes would be taken for text")
    func cells() async throws {
        try await withConnection { connection in
            let result = try await connection.query(query(1))
            for read in [
                { try result[0].decode(1, as: String.self) },
                { try result[0].decode("text", as: String.self) },
            ] {
                let error = #expect(throws: PostgresError.self) { try read() }
                #expect(error?.code == .decoding && "\(error.map { "\($0)" } ?? "")".contains("binary form"))
            }
        }
    }
}

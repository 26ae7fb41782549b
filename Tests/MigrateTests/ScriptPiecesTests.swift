import Foundation
import Testing

@testable import Migrate

@Suite struct ScriptPiecesTests {
    /// Statements whose semicolons, quotes and ends are where a reader may go wrong.
    private static let statements = [
        "CREATE TABLE t (id int, t text);", "\nINSERT INTO t VALUES (1, 'a;b''c;');",
        " -- a comment; it's one\nSELECT 1;",
        "/* nested /* ; ' */ ; */ UPDATE t SET id = 2;", "INSERT INTO t VALUES (2, E'it\\'s; \\\\');",
        "INSERT INTO t VALUES (3, E'a'\n  'b\\';');", "INSERT INTO \"t;\"\"x\" VALUES (4);",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1; SELECT 2; $$;",
        "CREATE FUNCTION g() RETURNS int LANGUAGE sql AS $b_1$ SELECT ';$$;$b$'; $b_1$;",
        "CREATE RULE r AS ON INSERT TO t DO (DELETE FROM t; SELECT 1);", "SELECT 'äöü;', $1, a$b$c;",
        "SELECT U&'d;\\0061', N';', X'ff';", ";", "\n\n;", "SET search_path = public;",
        "SELECT E'it''s Bob\\'s; x';", "SELECT E'''\\';', e'a\\\\'';';", "-- it's\rSELECT 1;",
        "SELECT E'a'\n-- b;'\n'c\\';';", "SELECT E'a' -- b;'\r'c\\';';", "SELECT E'a' - -1;",
        "SELECT E'x' 'y\\';",
    ]

    private func pieces(_ text: [UInt8], readLength: Int) throws -> (
        pieces: [[UInt8]], isPlain: Bool, count: Int
    ) {
        let path = NSTemporaryDirectory() + "pieces-" + UUID().uuidString
        try Data(text).write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        var reader = try ScriptPieces(path, readLength: readLength)
        var pieces: [[UInt8]] = []
        while let piece = try reader.next() { pieces.append(piece) }
        return (pieces, reader.isPlain, reader.statementCount)
    }

    @Test("pieces of any length are whole statements, and together the file", arguments: Array(0..<20))
    func wholeStatements(_ number: Int) throws {
        var generator = SeededGenerator(seed: UInt64(number) + 1)
        var text: [UInt8] = []
        for _ in 0..<12 {
            text += Array((Self.statements.dropLast().randomElement(using: &generator) ?? "").utf8)
        }
        text += Array("\nSELECT 'the end'".utf8)
        let whole = StatementSplitter.split(text).map { Array(text[$0]) }
        for readLength in 1...120 {
            let (pieces, isPlain, _) = try pieces(text, readLength: readLength)
            #expect(isPlain)
            #expect(Array(pieces.joined()) == text, "seed \(number + 1), reads of \(readLength)")
            // A rule's actions stand in parentheses, which the splitter at every semicolon does not know.
            guard !text.contains(Array("CREATE RULE".utf8)) else { continue }
            let statements = pieces.flatMap { piece in StatementSplitter.split(piece).map { Array(piece[$0]) }
            }
            #expect(statements == whole, "seed \(number + 1), reads of \(readLength)")
        }
        let (small, _, _) = try pieces(text, readLength: 1)
        #expect(small.count > 3)
    }

    @Test(
        "a semicolon in parentheses, in a string that goes on in the next line, or in a comment ends nothing")
    func noEnds() throws {
        for statement in Self.statements.dropLast() where !statement.hasSuffix("\n;") {
            for readLength in 1...statement.utf8.count {
                let (pieces, _, _) = try pieces(Array((statement + " ").utf8), readLength: readLength)
                #expect(
                    pieces.first == Array(statement.utf8) || pieces.count == 1, "\(statement): \(readLength)")
                #expect(pieces.count <= 2)
            }
        }
    }

    @Test(
        "what makes a difference to a transaction, or cannot be read with certainty, is not plain",
        arguments: [
            "BEGIN;", "COMMIT;", "start transaction;", "SAVEPOINT a;", "ROLLBACK TO a;", "COPY t FROM STDIN;",
            "VACUUM;", "LOCK TABLE t;", "DO $$ BEGIN COMMIT; END $$;", "CALL p();", "SET LOCAL x = 1;",
            "set transaction read only;", "SET standard_conforming_strings = off;", "\\i file\n;",
            "DECLARE c CURSOR FOR SELECT 1;",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END;", "-- a\n/* b */ BEGIN;",
            "SET client_encoding = 'LATIN1';", "set Names 'LATIN1';", "SET backslash_quote = off;",
            "-- x\rCOMMIT;", "SELECT E'it''s Bob\\'s'; COMMIT;", "PREPARE p AS SELECT 1;", "LISTEN a;",
            "END;",
            "SELECT 1; COMMIT",
        ])
    func notPlain(_ text: String) throws {
        let (_, isPlain, _) = try pieces(Array("SELECT 1; \(text) SELECT 2".utf8), readLength: 7)
        #expect(!isPlain)
    }

    @Test(
        "only what has a word counts as a statement",
        arguments: [
            ("SELECT 1; -- a", 1), ("/* a */ ; SELECT 1 -- b\n;;\n", 1), ("-- a\n", 0),
            ("(SELECT 1); VALUES (1)", 2),
        ])
    func count(_ text: String, _ count: Int) throws {
        for readLength in 1...text.utf8.count {
            let (_, _, found) = try pieces(Array(text.utf8), readLength: readLength)
            #expect(found == count)
        }
    }
}

/// Numbers that a seed determines (SplitMix64).
private struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}

import Foundation
import Testing

@testable import Postgres

@Suite("Texts byte by byte")
struct BytesTests {
    @Test("texts of the same characters in other bytes are not the same")
    func sameBytes() {
        let texts = [
            "", "a", "b", "SELECT 'é'", "SELECT 'e\u{301}'", "\u{212B}", "A\u{30A}", "K", "\u{212A}", "a\0b",
            "a\0c",
        ]
        for (place, one) in texts.enumerated() {
            for (other, two) in texts.enumerated() {
                #expect(one.hasSameBytes(as: two) == (place == other), "\(one) and \(two)")
            }
            // Of other memory, and one that Foundation holds.
            #expect(one.hasSameBytes(as: String(decoding: Array(one.utf8), as: UTF8.self)))
            #expect(one.hasSameBytes(as: NSString(string: one) as String))
        }
    }

    @Test("a NUL in a statement is refused by its place")
    func nul() {
        for (text, place) in [("\0", 0), ("SELECT 1\0", 8), ("é\0", 2)] {
            let error = #expect(throws: PostgresError.self) { try refuseNUL(text) }
            #expect(error?.message.contains("byte \(place);") == true)
        }
        for text in ["", "SELECT 1", "é"] { #expect(throws: Never.self) { try refuseNUL(text) } }
    }
}

import BrokerProtocol
import Postgres

// Columns of a row that go into an answer as they are, without a value of Swift in between: lists are most of what the
// services send, and making a string of each column costs more than the writing.
extension JSONWriter {
    /// A column of text as a string member; NULL as null.
    public mutating func field(_ key: String, text cell: PostgresCell) {
        let isWritten: Void? = unsafe cell.withBytes { unsafe field(key, RawSpan(_unsafeBytes: $0)) }
        if isWritten == nil { nullField(key) }
    }

    /// A column of the type `boolean`; NULL as null.
    public mutating func field(_ key: String, boolean cell: PostgresCell) {
        let value = unsafe cell.withBytes { unsafe $0.first == UInt8(ascii: "t") }
        if let value { field(key, value) } else { nullField(key) }
    }

    /// A column of the type `text[]` as an array of strings; NULL as null.
    ///
    /// - Throws: `PostgresError` for NULL elements and several dimensions.
    public mutating func field(_ key: String, texts cell: PostgresCell) throws {
        let isWhole = unsafe cell.withBytes { text in
            beginArray(key)
            defer { endArray() }
            return unsafe elements(of: text)
        }
        guard let isWhole else { return nullField(key) }
        if !isWhole { throw cell.mismatch("the array has NULL elements or several dimensions") }
    }

    /// Writes the elements of `{plain,"with \"quotes\""}` (PostgreSQL 15 documentation, 8.15.6); false for an array that is
    /// none of strings.
    private mutating func elements(of text: UnsafeRawBufferPointer) -> Bool {
        guard text.count >= 2, unsafe text[0] == UInt8(ascii: "{"),
            unsafe text[text.count - 1] == UInt8(ascii: "}")
        else { return false }
        let end = text.count - 1
        var index = 1
        while index < end {
            if unsafe text[index] == UInt8(ascii: "\"") {
                var element: [UInt8] = []
                index += 1
                while index < end, unsafe text[index] != UInt8(ascii: "\"") {
                    if unsafe text[index] == UInt8(ascii: "\\") { index += 1 }
                    unsafe element.append(text[index])
                    index += 1
                }
                index += 1
                self.element(element)
            } else {
                let start = index
                while index < end, unsafe text[index] != UInt8(ascii: ",") { index += 1 }
                let element = unsafe UnsafeRawBufferPointer(rebasing: text[start..<index])
                guard unsafe element.first != UInt8(ascii: "{"), unsafe !element.elementsEqual("NULL".utf8)
                else {
                    return false
                }
                unsafe self.element(RawSpan(_unsafeBytes: element))
            }
            // The comma.
            index += 1
        }
        return true
    }

    /// A column of the type `timestamp` as HTTP bodies have it (RFC 3339 in UTC, microseconds).
    ///
    /// - Throws: `PostgresError` when it is NULL or infinite.
    public mutating func field(_ key: String, time cell: PostgresCell) throws {
        field(key, try Timestamp(postgresCell: cell))
    }
}

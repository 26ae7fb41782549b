import BrokerProtocol
import Postgres

/// How the rows of a list become JSON objects: a member for each column, in the order of the columns.
///
/// The columns go into the answer as they are, without a value of Swift in between: lists are most of what the services
/// send, and making a string of each column costs more than the writing.
public struct JSONRowFormat: Sendable {
    /// What a column holds.
    public enum Kind: Sendable {
        /// Text; NULL as null.
        case text
        /// The type `boolean`; NULL as null.
        case boolean
        /// The type `text[]`, as an array of strings; NULL as null.
        case texts
        /// The type `timestamp`, as HTTP bodies have it (RFC 3339 in UTC, microseconds); never NULL.
        case time
    }

    private struct Member: Sendable {
        /// What stands before the value: `{"id":`, `,"name":`.
        let start: [UInt8]
        let kind: Kind
    }

    private let members: [Member]

    /// A format.
    ///
    /// - Parameter members: The name and kind of each column; at least one, and names that JSON need not escape.
    public init(_ members: KeyValuePairs<String, Kind>) {
        precondition(!members.isEmpty, "an object of a row has members")
        self.members = members.enumerated().map { index, member in
            Member(start: Array("\(index == 0 ? "{" : ",")\"\(member.key)\":".utf8), kind: member.value)
        }
    }

    /// The rows as a JSON array.
    ///
    /// - Throws: `PostgresError` when a column holds nothing of its kind.
    public func json(_ rows: PostgresResult) throws -> [UInt8] {
        var json: [UInt8] = []
        // Some 25 bytes a column: an id has 36, a truth 4.
        json.reserveCapacity(2 + rows.count * members.count * 28)
        json.append(UInt8(ascii: "["))
        for row in rows.indices {
            if row > 0 { json.append(UInt8(ascii: ",")) }
            for (column, member) in members.enumerated() {
                json.append(contentsOf: member.start)
                let isWritten = unsafe rows.withBytes(row: row, column: column) {
                    unsafe Self.write($0, as: member.kind, to: &json)
                }
                // Rare: what is NULL, or needs a longer look.
                if isWritten != true { try Self.write(rows[row].cell(column), as: member.kind, to: &json) }
            }
            json.append(UInt8(ascii: "}"))
        }
        json.append(UInt8(ascii: "]"))
        return json
    }

    /// Writes a value in the form that nearly all have; false, and nothing is written, for others.
    private static func write(
        _ text: UnsafeRawBufferPointer, as kind: Kind, to json: inout [UInt8]
    ) -> Bool {
        switch kind {
        case .text: unsafe writePlain(text, to: &json)
        case .boolean: unsafe writeTruth(text, to: &json)
        case .texts: unsafe writePlainElements(of: text, to: &json)
        case .time: unsafe writeCommonTime(text, to: &json)
        }
    }

    private static func writePlain(_ text: UnsafeRawBufferPointer, to json: inout [UInt8]) -> Bool {
        guard unsafe JSONWriter.isPlain(text) else { return false }
        json.append(UInt8(ascii: "\""))
        unsafe json.append(contentsOf: text)
        json.append(UInt8(ascii: "\""))
        return true
    }

    private static func writeTruth(_ text: UnsafeRawBufferPointer, to json: inout [UInt8]) -> Bool {
        json.append(contentsOf: unsafe text.first == UInt8(ascii: "t") ? "true".utf8 : "false".utf8)
        return true
    }

    /// `{plain,column-1}`: elements that neither PostgreSQL nor JSON has to escape (PostgreSQL 15 documentation, 8.15.6).
    private static func writePlainElements(
        of text: UnsafeRawBufferPointer, to json: inout [UInt8]
    ) -> Bool {
        guard unsafe text.count >= 2 && text[0] == UInt8(ascii: "{") && JSONWriter.isPlain(text) else {
            return false
        }
        let elements = unsafe UnsafeRawBufferPointer(rebasing: text[1..<text.count - 1])
        // A quoted element is not plain, and one of the four letters could be NULL.
        guard unsafe !elements.contains(UInt8(ascii: "{")) else { return false }
        let start = json.count
        json.append(UInt8(ascii: "["))
        var begin = 0
        while begin < elements.count {
            let end = unsafe elements[begin...].firstIndex(of: UInt8(ascii: ",")) ?? elements.count
            if end - begin == 4, unsafe elements[begin] | 0x20 == UInt8(ascii: "n") {
                json.removeSubrange(start...)
                return false
            }
            if begin > 0 { json.append(UInt8(ascii: ",")) }
            json.append(UInt8(ascii: "\""))
            unsafe json.append(contentsOf: UnsafeRawBufferPointer(rebasing: elements[begin..<end]))
            json.append(UInt8(ascii: "\""))
            begin = end + 1
        }
        json.append(UInt8(ascii: "]"))
        return true
    }

    /// `2021-05-16 20:36:42.105449` with a fraction or none: the year has four digits and is of our era.
    private static func writeCommonTime(_ text: UnsafeRawBufferPointer, to json: inout [UInt8]) -> Bool {
        guard text.count >= 19, text.count <= 26, text.count != 20 else { return false }
        for index in 0..<text.count {
            let byte = unsafe text[index]
            let isRight =
                switch index {
                case 4, 7: byte == UInt8(ascii: "-")
                case 10: byte == UInt8(ascii: " ")
                case 13, 16: byte == UInt8(ascii: ":")
                case 19: byte == UInt8(ascii: ".")
                default: byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
                }
            if !isRight { return false }
        }
        json.append(UInt8(ascii: "\""))
        let start = json.count
        unsafe json.append(contentsOf: text)
        json[start + 10] = UInt8(ascii: "T")
        if text.count > 19 {
            while json.last == UInt8(ascii: "0") { json.removeLast() }
            if json.last == UInt8(ascii: ".") { json.removeLast() }
        }
        json.append(UInt8(ascii: "Z"))
        json.append(UInt8(ascii: "\""))
        return true
    }

    /// Writes any value, by way of Swift's values.
    private static func write(_ cell: PostgresCell, as kind: Kind, to json: inout [UInt8]) throws {
        var writer = JSONWriter()
        switch kind {
        case .time: writer.element(try Timestamp(postgresCell: cell).rfc3339)
        case _ where cell.isNull: writer.nullElement()
        case .text: writer.element(try String(postgresCell: cell))
        case .boolean: preconditionFailure("a boolean is t, f or NULL")
        case .texts:
            writer.beginArray()
            for element in try [String](postgresCell: cell) { writer.element(element) }
            writer.endArray()
        }
        json += writer.bytes
    }
}

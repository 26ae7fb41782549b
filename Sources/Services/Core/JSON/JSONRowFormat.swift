import BrokerProtocol
import NIOCore
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

    /// Holds no reference: one that was counted for each value took a tenth of the time of writing a list.
    private struct Member: Sendable {
        /// Where in `names` that lies what stands before the value: `{"id":`, `,"name":`.
        let start: Range<Int>
        let kind: Kind
    }

    private let members: [Member]
    private let names: [UInt8]

    /// A format.
    ///
    /// - Parameter members: The name and kind of each column; at least one, and names that JSON need not escape.
    public init(_ members: KeyValuePairs<String, Kind>) {
        precondition(!members.isEmpty, "an object of a row has members")
        var names: [UInt8] = []
        self.members = members.map { name, kind in
            let start = names.count
            names += Array("\(names.isEmpty ? "{" : ",")\"\(name)\":".utf8)
            return Member(start: start..<names.count, kind: kind)
        }
        self.names = names
    }

    /// The rows as a JSON array.
    ///
    /// - Throws: `PostgresError` when a column holds nothing of its kind.
    public func json(_ rows: PostgresResult) throws -> ByteBuffer {
        precondition(rows.isEmpty || rows.columnCount == members.count, "a member for each column")
        // Some 25 bytes a column: an id has 36, a truth 4.
        var json = JSONBytes(capacity: 2 + rows.count * members.count * 28)
        json.append(UInt8(ascii: "["))
        try unsafe names.withUnsafeBytes { names in
            try unsafe members.withUnsafeBufferPointer { members in
                try unsafe rows.forEachValue { row, column, bytes in
                    if column == 0, row > 0 { json.append(UInt8(ascii: ",")) }
                    let member = unsafe members[column]
                    unsafe json.append(UnsafeRawBufferPointer(rebasing: names[member.start]))
                    var isWritten = false
                    if let bytes = unsafe bytes {
                        isWritten = unsafe Self.write(bytes, as: member.kind, to: &json)
                    }
                    // Rare: what is NULL, or needs a longer look.
                    if !isWritten {
                        let other = try Self.json(rows[row].cell(column), as: member.kind)
                        unsafe other.withUnsafeBytes { unsafe json.append($0) }
                    }
                    if column == members.count - 1 { json.append(UInt8(ascii: "}")) }
                }
            }
        }
        json.append(UInt8(ascii: "]"))
        return json.buffer
    }

    /// Writes a value in the form that nearly all have; false, and nothing is written, for others.
    private static func write(
        _ text: UnsafeRawBufferPointer, as kind: Kind, to json: inout JSONBytes
    ) -> Bool {
        switch kind {
        case .text: return unsafe writePlain(text, to: &json)
        case .boolean:
            json.append(unsafe text.first == UInt8(ascii: "t") ? "true" : "false")
            return true
        case .texts: return unsafe writePlainElements(of: text, to: &json)
        case .time: return unsafe writeCommonTime(text, to: &json)
        }
    }

    private static func writePlain(_ text: UnsafeRawBufferPointer, to json: inout JSONBytes) -> Bool {
        guard unsafe JSONWriter.isPlain(text) else { return false }
        json.append(UInt8(ascii: "\""))
        unsafe json.append(text)
        json.append(UInt8(ascii: "\""))
        return true
    }

    /// `{plain,column-1}`: elements that neither PostgreSQL nor JSON has to escape (PostgreSQL 15 documentation, 8.15.6).
    private static func writePlainElements(
        of text: UnsafeRawBufferPointer, to json: inout JSONBytes
    ) -> Bool {
        guard unsafe text.count >= 2 && text[0] == UInt8(ascii: "{") && JSONWriter.isPlain(text) else {
            return false
        }
        let elements = unsafe UnsafeRawBufferPointer(rebasing: text[1..<text.count - 1])
        let start = json.count
        json.append(UInt8(ascii: "["))
        var begin = 0
        while begin < elements.count {
            var end = begin
            while end < elements.count, unsafe elements[end] != UInt8(ascii: ",") {
                // An array within the array.
                if unsafe elements[end] == UInt8(ascii: "{") {
                    json.shrink(to: start)
                    return false
                }
                end += 1
            }
            // A quoted element is not plain, and one of the four letters could be NULL.
            if end - begin == 4, unsafe elements[begin] | 0x20 == UInt8(ascii: "n") {
                json.shrink(to: start)
                return false
            }
            if begin > 0 { json.append(UInt8(ascii: ",")) }
            json.append(UInt8(ascii: "\""))
            unsafe json.append(UnsafeRawBufferPointer(rebasing: elements[begin..<end]))
            json.append(UInt8(ascii: "\""))
            begin = end + 1
        }
        json.append(UInt8(ascii: "]"))
        return true
    }

    /// `2021-05-16 20:36:42.105449` with a fraction or none: the year has four digits and is of our era.
    private static func writeCommonTime(_ text: UnsafeRawBufferPointer, to json: inout JSONBytes) -> Bool {
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
        var end = text.count
        if end > 19 {
            while unsafe text[end - 1] == UInt8(ascii: "0") { end -= 1 }
            if unsafe text[end - 1] == UInt8(ascii: ".") { end -= 1 }
        }
        json.append(UInt8(ascii: "\""))
        unsafe json.append(UnsafeRawBufferPointer(rebasing: text[..<10]))
        json.append(UInt8(ascii: "T"))
        unsafe json.append(UnsafeRawBufferPointer(rebasing: text[11..<end]))
        json.append("Z\"")
        return true
    }

    /// Any value, by way of Swift's values.
    private static func json(_ cell: PostgresCell, as kind: Kind) throws -> [UInt8] {
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
        return writer.bytes
    }
}

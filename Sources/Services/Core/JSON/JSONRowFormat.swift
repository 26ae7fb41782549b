import BrokerProtocol
import NIOCore
import Postgres

/// How the rows of a list become JSON objects: a member for each column, in the order of the columns.
///
/// The columns go into the answer as they are, without a value of Swift in between: lists are most of what the services
/// send, and making a string of each column costs more than the writing. They come in binary form, which costs the server
/// less (docs/decisions/0029).
public struct JSONRowFormat: Sendable {
    /// What a column holds.
    public enum Kind: Sendable {
        /// The types `text` and `varchar`; NULL as null.
        case text
        /// The type `boolean`; NULL as null.
        case boolean
        /// The types `text[]` and `varchar[]`, as an array of strings; NULL as null.
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
    /// - Parameter rows: A result in binary form.
    /// - Throws: `PostgresError` when a column holds nothing of its kind.
    public func json(_ rows: PostgresResult) throws -> ByteBuffer {
        precondition(rows.format == .binary, "a query for a list asks for the binary form")
        precondition(rows.columnCount == members.count, "a member for each column")
        for (column, member) in members.enumerated() {
            try BinaryColumn.check(rows.typeOID(ofColumn: column), member.kind, column)
        }
        // Some 25 bytes a column: an id has 36, a truth 4.
        var json = JSONBytes(capacity: 2 + rows.count * members.count * 28)
        json.append(UInt8(ascii: "["))
        try unsafe names.withUnsafeBytes { names in
            try unsafe members.withUnsafeBufferPointer { members in
                try unsafe rows.forEachValue { row, column, value in
                    if column == 0, row > 0 { json.append(UInt8(ascii: ",")) }
                    let member = unsafe members[column]
                    unsafe json.append(UnsafeRawBufferPointer(rebasing: names[member.start]))
                    try unsafe BinaryColumn.write(value, member.kind, column, to: &json)
                    if column == members.count - 1 { json.append(UInt8(ascii: "}")) }
                }
            }
        }
        json.append(UInt8(ascii: "]"))
        return json.buffer
    }
}

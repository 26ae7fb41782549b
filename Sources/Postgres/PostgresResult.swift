import CLibPQ
import Synchronization

/// Owns one `PGresult` of libpq.
///
/// Invariants: the pointer is valid until `deinit`; libpq never changes a result after it handed it out.
// @unchecked: nothing writes to a PGresult after this object exists, so any thread may read it.
@safe final class ResultStorage: @unchecked Sendable {
    let pointer: OpaquePointer
    private let madeColumns = Mutex<[PostgresColumn]?>(nil)

    init(_ pointer: OpaquePointer) { unsafe self.pointer = unsafe pointer }

    deinit { unsafe PQclear(pointer) }

    var rowCount: Int { unsafe Int(PQntuples(pointer)) }
    var columnCount: Int { unsafe Int(PQnfields(pointer)) }
    var commandTag: String { unsafe PQcmdStatus(pointer).map { unsafe String(cString: $0) } ?? "" }

    /// `row` and `column` must lie within the result; libpq does not check them for us in release builds.
    func isNull(row: Int, column: Int) -> Bool {
        unsafe PQgetisnull(pointer, Int32(row), Int32(column)) != 0
    }

    /// Valid as long as this object.
    func bytes(row: Int, column: Int) -> UnsafeRawBufferPointer? {
        let length = unsafe Int(PQgetlength(pointer, Int32(row), Int32(column)))
        if length == 0, isNull(row: row, column: column) { return nil }
        return unsafe UnsafeRawBufferPointer(
            start: PQgetvalue(pointer, Int32(row), Int32(column)), count: length)
    }

    func withBytes<Value>(
        row: Int, column: Int, _ body: (UnsafeRawBufferPointer) throws -> Value
    ) rethrows -> Value {
        let length = unsafe Int(PQgetlength(pointer, Int32(row), Int32(column)))
        return try unsafe body(
            UnsafeRawBufferPointer(start: PQgetvalue(pointer, Int32(row), Int32(column)), count: length))
    }
}

/// A column of a result.
public struct PostgresColumn: Sendable, Hashable {
    /// Its name.
    public let name: String
    /// The object id of its type in `pg_type`.
    public let typeOID: UInt32
}

extension ResultStorage {
    /// The columns, made when somebody asks: lists are written by the places of their columns.
    var columns: [PostgresColumn] {
        madeColumns.withLock { made in
            if let made { return made }
            let columns = makeColumns()
            made = columns
            return columns
        }
    }

    var format: PostgresResultFormat { unsafe PQbinaryTuples(pointer) == 1 ? .binary : .text }

    func typeOID(ofColumn column: Int) -> UInt32 { unsafe PQftype(pointer, Int32(column)) }

    func makeColumns() -> [PostgresColumn] {
        (0..<columnCount).map { index in
            PostgresColumn(
                name: unsafe PQfname(pointer, Int32(index)).map { unsafe String(cString: $0) } ?? "",
                typeOID: typeOID(ofColumn: index))
        }
    }

    /// A field of the server's report; `nil` when it has none.
    func errorField(_ code: Unicode.Scalar) -> String? {
        unsafe PQresultErrorField(pointer, Int32(UInt8(ascii: code))).map { unsafe String(cString: $0) }
    }

    /// The server's report, when this result is an error or a notice that came from it.
    func makeServerError() -> PostgresServerError? {
        // The letters of PG_DIAG_… (postgres_ext.h).
        guard let state = errorField("C") else { return nil }
        var error = PostgresServerError(
            severity: errorField("V") ?? errorField("S") ?? "ERROR", sqlState: state,
            message: errorField("M") ?? "")
        error.detail = errorField("D")
        error.hint = errorField("H")
        error.position = errorField("P").flatMap { Int($0) }
        error.context = errorField("W")
        error.schema = errorField("s")
        error.table = errorField("t")
        error.column = errorField("c")
        error.dataType = errorField("d")
        error.constraint = errorField("n")
        error.routine = errorField("R")
        return error
    }
}

/// What a statement gave back: its rows, and the tag of the command.
public struct PostgresResult: Sendable {
    /// The number of rows.
    public let count: Int
    /// The number of columns.
    public let columnCount: Int

    private let storage: ResultStorage

    init(_ storage: ResultStorage) {
        self.storage = storage
        count = storage.rowCount
        columnCount = storage.columnCount
    }

    /// The form of the values.
    public var format: PostgresResultFormat { storage.format }

    /// The columns of the rows; their names are made at the first look.
    public var columns: [PostgresColumn] { storage.columns }

    /// What the server says it did: `SELECT 3`, `INSERT 0 1`, `CREATE TABLE`; empty for an empty statement.
    public var commandTag: String { storage.commandTag }

    /// How many rows the command inserted, changed, deleted or selected; 0 where the tag has no number.
    public var affectedRows: Int {
        commandTag.split(separator: " ").last.flatMap { Int($0) } ?? 0
    }
}

extension PostgresResult {
    /// The object id of a column's type in `pg_type`, without a look at its name.
    public func typeOID(ofColumn column: Int) -> UInt32 {
        precondition((0..<columnCount).contains(column), "column \(column) of \(columnCount)")
        return storage.typeOID(ofColumn: column)
    }

    /// Calls `body` with each value, row by row: its column and its bytes in the result's `format`, valid during the call;
    /// `nil` for NULL. For lists: without a `PostgresRow` and a `PostgresCell` in between.
    public func forEachValue(
        _ body: (_ row: Int, _ column: Int, _ bytes: UnsafeRawBufferPointer?) throws -> Void
    ) rethrows {
        for row in 0..<count {
            for column in 0..<columnCount {
                try unsafe body(row, column, storage.bytes(row: row, column: column))
            }
        }
    }
}

extension PostgresResult: RandomAccessCollection {
    /// The index of the first row.
    public var startIndex: Int { 0 }
    /// One past the index of the last row.
    public var endIndex: Int { count }

    /// A row. The memory of the whole result stays as long as one row of it is kept.
    public subscript(position: Int) -> PostgresRow {
        precondition(indices.contains(position), "row \(position) of a result of \(count)")
        return PostgresRow(storage: storage, columns: columns, row: position)
    }
}

/// One row of a result.
public struct PostgresRow: Sendable {
    let storage: ResultStorage
    /// The columns.
    public let columns: [PostgresColumn]
    let row: Int

    /// The cell in a column.
    ///
    /// - Throws: `PostgresError` with the code `.decoding` when there is no such column, or the result is in binary form.
    public func cell(_ index: Int) throws -> PostgresCell {
        guard storage.format == .text else {
            throw PostgresError(
                .decoding,
                "the result is in binary form, which `forEachValue` gives; rows are read from results in text form"
            )
        }
        guard columns.indices.contains(index) else {
            throw PostgresError(.decoding, "there is no column \(index): the result has \(columns.count)")
        }
        return PostgresCell(row: self, index: index)
    }

    /// Reads the value in a column.
    ///
    /// ```swift
    /// let id = try row.decode("user_id", as: UUID.self)
    /// let name = try row.decode("name", as: String?.self)
    /// ```
    ///
    /// - Throws: `PostgresError` with the code `.decoding` when there is no such column or value.
    public func decode<Value: PostgresDecodable>(_ name: String, as type: Value.Type) throws -> Value {
        guard let index = columns.firstIndex(where: { $0.name == name }) else {
            let names = columns.map(\.name).joined(separator: ", ")
            throw PostgresError(.decoding, "there is no column \"\(name)\"; there are: \(names)")
        }
        return try Value(postgresCell: cell(index))
    }

    /// Reads the value in a column by its place, from 0.
    ///
    /// - Throws: `PostgresError` with the code `.decoding` when there is no such column or value.
    public func decode<Value: PostgresDecodable>(_ index: Int, as type: Value.Type) throws -> Value {
        try Value(postgresCell: cell(index))
    }

    /// Reads the first columns at once: `let (id, name) = try row.decode(Int.self, String?.self)`.
    ///
    /// - Throws: `PostgresError` with the code `.decoding` when a column or value is missing.
    public func decode<each Value: PostgresDecodable>(
        _ types: repeat (each Value).Type
    ) throws -> (repeat each Value) {
        var index = 0
        func next<One: PostgresDecodable>(_ type: One.Type) throws -> One {
            defer { index += 1 }
            return try One(postgresCell: cell(index))
        }
        return (repeat try next(each types))
    }
}

/// One value of a row, in the text form of its type.
public struct PostgresCell: Sendable {
    let row: PostgresRow
    let index: Int

    /// The column.
    public var column: PostgresColumn { row.columns[index] }
    /// Whether the value is NULL.
    public var isNull: Bool { row.storage.isNull(row: row.row, column: index) }

    /// The bytes of the text form, valid during the call; `nil` for NULL.
    public func withBytes<Value>(_ body: (UnsafeRawBufferPointer) -> Value) -> Value? {
        isNull ? nil : unsafe row.storage.withBytes(row: row.row, column: index, body)
    }

    /// The text form; `nil` for NULL.
    public var text: String? { unsafe withBytes { unsafe String(decoding: $0, as: UTF8.self) } }

    package func requiredText(as type: String) throws -> String {
        guard let text else { throw mismatch("it is NULL; ask for \(type)? if that is right") }
        return text
    }

    package func require(_ oids: [UInt32], as type: String) throws {
        guard oids.contains(column.typeOID) else {
            throw mismatch(
                "its type has the object id \(column.typeOID), which is no \(type); "
                    + "cast it in the statement or read it as String")
        }
    }

    /// An error of decoding that names the column.
    public func mismatch(_ reason: String) -> PostgresError {
        PostgresError(.decoding, "column \"\(column.name)\": \(reason)")
    }
}

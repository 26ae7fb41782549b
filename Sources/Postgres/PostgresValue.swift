/// A parameter of a statement, as it goes to the server.
public struct PostgresParameter: Sendable, Hashable {
    enum Payload: Sendable, Hashable {
        case null
        case text(String)
        case binary([UInt8])
    }

    let payload: Payload
    /// The type's object id in `pg_type`; 0 lets the server infer it from the statement.
    public let typeOID: UInt32

    /// NULL, of a type that the server infers.
    public static let null = PostgresParameter(payload: .null, typeOID: 0)

    /// A value in the text form of its type; a NUL character is refused when the statement is sent.
    public static func text(_ text: String, typeOID: UInt32 = 0) -> PostgresParameter {
        PostgresParameter(payload: .text(text), typeOID: typeOID)
    }

    /// A value in the binary form of its type.
    public static func binary(_ bytes: [UInt8], typeOID: UInt32) -> PostgresParameter {
        PostgresParameter(payload: .binary(bytes), typeOID: typeOID)
    }
}

/// A Swift type that can be a parameter of a statement.
public protocol PostgresEncodable: Sendable {
    /// The value as the server reads it.
    var postgresParameter: PostgresParameter { get }
}

/// A Swift type that can be read from a cell of a result.
public protocol PostgresDecodable: Sendable {
    /// Reads the cell.
    ///
    /// - Throws: `PostgresError` with the code `.decoding` when the cell holds no such value.
    init(postgresCell cell: PostgresCell) throws
}

extension Optional: PostgresEncodable where Wrapped: PostgresEncodable {
    /// NULL for `nil`.
    public var postgresParameter: PostgresParameter { self?.postgresParameter ?? .null }
}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
    /// `nil` for NULL.
    public init(postgresCell cell: PostgresCell) throws {
        self = cell.isNull ? nil : try Wrapped(postgresCell: cell)
    }
}

/// Object ids of the built-in types that the library reads and writes (`pg_type.dat` of PostgreSQL).
enum TypeOID {
    static let bool: UInt32 = 16
    static let bytea: UInt32 = 17
    static let name: UInt32 = 19
    static let int8: UInt32 = 20
    static let int2: UInt32 = 21
    static let int4: UInt32 = 23
    static let text: UInt32 = 25
    static let oid: UInt32 = 26
    static let json: UInt32 = 114
    static let float4: UInt32 = 700
    static let float8: UInt32 = 701
    static let textArray: UInt32 = 1009
    static let varcharArray: UInt32 = 1015
    static let varchar: UInt32 = 1043
    static let timestamp: UInt32 = 1114
    static let timestamptz: UInt32 = 1184
    static let uuid: UInt32 = 2950
    static let jsonb: UInt32 = 3802
}

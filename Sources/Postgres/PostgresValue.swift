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

extension PostgresParameter: PostgresEncodable {
    /// Itself.
    public var postgresParameter: PostgresParameter { self }
}

/// Object ids of the built-in types that the library reads and writes (`pg_type.dat` of PostgreSQL).
package enum TypeOID {
    package static let bool: UInt32 = 16
    package static let bytea: UInt32 = 17
    package static let name: UInt32 = 19
    package static let int8: UInt32 = 20
    package static let int2: UInt32 = 21
    package static let int4: UInt32 = 23
    package static let text: UInt32 = 25
    package static let oid: UInt32 = 26
    package static let json: UInt32 = 114
    package static let float4: UInt32 = 700
    package static let float8: UInt32 = 701
    package static let textArray: UInt32 = 1009
    package static let varcharArray: UInt32 = 1015
    package static let varchar: UInt32 = 1043
    package static let timestamp: UInt32 = 1114
    package static let timestamptz: UInt32 = 1184
    package static let uuid: UInt32 = 2950
    package static let jsonb: UInt32 = 3802
}

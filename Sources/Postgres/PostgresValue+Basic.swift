// Integers, floating point, booleans, text and bytes.

/// An integer that maps to `smallint`, `integer` or `bigint`.
public protocol PostgresInteger: FixedWidthInteger, PostgresEncodable, PostgresDecodable {}

extension PostgresInteger {
    /// Decimal digits; the server infers the type from the statement.
    public var postgresParameter: PostgresParameter { .text(String(self)) }

    /// Reads `smallint`, `integer`, `bigint` or `oid`, as long as the value fits.
    public init(postgresCell cell: PostgresCell) throws {
        try cell.require(
            [TypeOID.int2, TypeOID.int4, TypeOID.int8, TypeOID.oid], as: "\(Self.self)")
        let text = try cell.requiredText(as: "\(Self.self)")
        guard let value = Self(text) else {
            throw cell.mismatch("\(text) does not fit into \(Self.self)")
        }
        self = value
    }
}

extension Int: PostgresInteger {}
extension Int64: PostgresInteger {}
extension Int32: PostgresInteger {}
extension Int16: PostgresInteger {}
extension UInt32: PostgresInteger {}

extension Double: PostgresEncodable, PostgresDecodable {
    /// The shortest text that gives the same value back.
    public var postgresParameter: PostgresParameter {
        .text(isNaN ? "NaN" : isInfinite ? (self < 0 ? "-Infinity" : "Infinity") : String(self))
    }

    /// Reads `real` and `double precision`.
    public init(postgresCell cell: PostgresCell) throws {
        try cell.require([TypeOID.float4, TypeOID.float8], as: "Double")
        let text = try cell.requiredText(as: "Double")
        guard let value = Double(text) else { throw cell.mismatch("\(text) is no number") }
        self = value
    }
}

extension Bool: PostgresEncodable, PostgresDecodable {
    /// `t` or `f`.
    public var postgresParameter: PostgresParameter { .text(self ? "t" : "f", typeOID: TypeOID.bool) }

    /// Reads `boolean`.
    public init(postgresCell cell: PostgresCell) throws {
        try cell.require([TypeOID.bool], as: "Bool")
        self = try cell.requiredText(as: "Bool") == "t"
    }
}

extension String: PostgresEncodable, PostgresDecodable {
    /// The text; the server infers the type, so it serves for enumerations, numerics and so on.
    public var postgresParameter: PostgresParameter { .text(self) }

    /// Reads any type in its text form.
    public init(postgresCell cell: PostgresCell) throws { self = try cell.requiredText(as: "String") }
}

extension UInt8: PostgresArrayElement {
    /// `bytea`, sent as it is.
    public static func postgresParameter(_ bytes: [UInt8]) -> PostgresParameter {
        .binary(bytes, typeOID: TypeOID.bytea)
    }

    /// Reads `bytea`.
    public static func array(postgresCell cell: PostgresCell) throws -> [UInt8] {
        try cell.require([TypeOID.bytea], as: "[UInt8]")
        let decoded = unsafe cell.withBytes { bytes in
            unsafe Hexadecimal.decode(bytes) ?? ByteaEscape.decode(bytes)
        }
        guard let decoded else { throw cell.mismatch("NULL is no [UInt8]; ask for [UInt8]?") }
        guard let value = decoded else { throw cell.mismatch("the text is no bytea") }
        return value
    }
}

/// The form `\x0a1b…`, the server's default since 9.0.
enum Hexadecimal {
    static func decode(_ bytes: UnsafeRawBufferPointer) -> [UInt8]? {
        guard bytes.count >= 2, bytes.count.isMultiple(of: 2),
            unsafe bytes[0] == UInt8(ascii: "\\"), unsafe bytes[1] == UInt8(ascii: "x")
        else { return nil }
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count / 2 - 1)
        var index = 2
        while index < bytes.count {
            guard let high = unsafe digit(bytes[index]), let low = unsafe digit(bytes[index + 1]) else {
                return nil
            }
            result.append(high << 4 | low)
            index += 2
        }
        return result
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

/// The form of `bytea_output = escape`: printable bytes as they are, `\\` and `\ooo`.
enum ByteaEscape {
    static func decode(_ bytes: UnsafeRawBufferPointer) -> [UInt8]? {
        var result: [UInt8] = []
        var index = 0
        while index < bytes.count {
            let byte = unsafe bytes[index]
            index += 1
            guard byte == UInt8(ascii: "\\") else {
                result.append(byte)
                continue
            }
            guard index < bytes.count else { return nil }
            if unsafe bytes[index] == UInt8(ascii: "\\") {
                result.append(byte)
                index += 1
                continue
            }
            guard index + 3 <= bytes.count else { return nil }
            var value = 0
            for place in index..<index + 3 {
                let digit = unsafe bytes[place]
                guard digit >= UInt8(ascii: "0"), digit <= UInt8(ascii: "7") else { return nil }
                value = value * 8 + Int(digit - UInt8(ascii: "0"))
            }
            guard let octet = UInt8(exactly: value) else { return nil }
            result.append(octet)
            index += 3
        }
        return result
    }
}

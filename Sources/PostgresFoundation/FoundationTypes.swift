import FoundationEssentials
import Postgres

// UUIDs, points in time and JSON, in Foundation's types: apart, because Foundation would be half of a small program that
// has no use for it (docs/decisions/0028).

extension UUID: PostgresEncodable, PostgresDecodable {
    /// The 36 characters; the server infers the type, so that it serves for `uuid` and for text columns.
    public var postgresParameter: PostgresParameter { .text(uuidString.lowercased()) }

    /// Reads `uuid`, and text that is one.
    public init(postgresCell cell: PostgresCell) throws {
        try cell.require([TypeOID.uuid, TypeOID.text, TypeOID.varchar], as: "UUID")
        let text = try cell.requiredText(as: "UUID")
        guard let value = UUID(uuidString: text) else { throw cell.mismatch("\"\(text)\" is no UUID") }
        self = value
    }
}

extension Date: PostgresEncodable, PostgresDecodable {
    /// Microseconds in UTC, `2026-11-24 07:00:00.000001+00`.
    public var postgresParameter: PostgresParameter {
        // Beyond what a timestamptz holds (year 294276), the server refuses the text with its own message.
        let limited = min(max(timeIntervalSince1970, -9e12), 9e12)
        // Apart, because far from now a Double of microseconds would have lost what a Double of seconds still has.
        let whole = limited.rounded(.down)
        let fraction = Int64(((limited - whole) * 1_000_000).rounded())
        return .text(TimestampText.write(microseconds: Int64(whole) * 1_000_000 + fraction))
    }

    /// Reads `timestamptz`, and `timestamp` as UTC. `infinity` is no date and is refused.
    public init(postgresCell cell: PostgresCell) throws {
        try cell.require([TypeOID.timestamptz, TypeOID.timestamp], as: "Date")
        let text = try cell.requiredText(as: "Date")
        guard let microseconds = TimestampText.microseconds(text) else {
            throw cell.mismatch("\"\(text)\" is no point in time that a Date can hold")
        }
        let (whole, fraction) = microseconds.quotientAndRemainder(dividingBy: 1_000_000)
        self = Date(timeIntervalSince1970: Double(whole) + Double(fraction) / 1_000_000)
    }
}

/// A value that is kept as `json` or `jsonb`.
public struct PostgresJSON<Value: Codable & Sendable>: Sendable {
    /// The value.
    public var value: Value

    /// Wraps a value.
    public init(_ value: Value) { self.value = value }
}

extension PostgresJSON: PostgresDecodable {
    /// Reads `json`, `jsonb` and text that is JSON.
    public init(postgresCell cell: PostgresCell) throws {
        try cell.require([TypeOID.json, TypeOID.jsonb, TypeOID.text], as: "JSON")
        let text = try cell.requiredText(as: "PostgresJSON")
        do {
            value = try JSONDecoder().decode(Value.self, from: Data(text.utf8))
        } catch {
            throw cell.mismatch("the JSON is no \(Value.self): \(error)")
        }
    }
}

extension PostgresJSON {
    /// The JSON text as a parameter.
    ///
    /// A property of the protocol cannot throw, and encoding can, so a `PostgresJSON` goes into a statement by
    /// this call: `"INSERT INTO t VALUES (\(try PostgresJSON(event).encoded()))"`.
    ///
    /// - Throws: `PostgresError` when the value cannot be written as JSON.
    public func encoded() throws -> PostgresParameter {
        do {
            return .text(String(decoding: try JSONEncoder().encode(value), as: UTF8.self))
        } catch {
            throw PostgresError(.misuse, "\(Value.self) cannot be written as JSON: \(error)")
        }
    }
}

/// What an array of a type is in PostgreSQL: `[UInt8]` is `bytea`, `[String]` is `text[]`.
public protocol PostgresArrayElement: Sendable {
    /// The array as a parameter.
    static func postgresParameter(_ array: [Self]) -> PostgresParameter
    /// Reads an array.
    static func array(postgresCell cell: PostgresCell) throws -> [Self]
}

extension Array: PostgresEncodable where Element: PostgresArrayElement {
    /// As the element's type says.
    public var postgresParameter: PostgresParameter { Element.postgresParameter(self) }
}

extension Array: PostgresDecodable where Element: PostgresArrayElement {
    /// As the element's type says.
    public init(postgresCell cell: PostgresCell) throws { self = try Element.array(postgresCell: cell) }
}

extension String: PostgresArrayElement {
    /// The text form `{"a","b"}`.
    public static func postgresParameter(_ array: [String]) -> PostgresParameter {
        .text(ArrayText.write(array))
    }

    /// Reads a one-dimensional `text[]` or `varchar[]` without NULL elements.
    public static func array(postgresCell cell: PostgresCell) throws -> [String] {
        try cell.require([TypeOID.textArray, TypeOID.varcharArray], as: "[String]")
        let text = try cell.requiredText(as: "[String]")
        guard let elements = ArrayText.read(text) else {
            throw cell.mismatch("the array has NULL elements or several dimensions")
        }
        return elements
    }
}

/// The text form of arrays (PostgreSQL 15 documentation, 8.15.6).
enum ArrayText {
    static func write(_ elements: [String]) -> String {
        "{"
            + elements.map { element in
                var quoted = "\""
                for scalar in element.unicodeScalars {
                    if scalar == "\"" || scalar == "\\" { quoted += "\\" }
                    quoted.unicodeScalars.append(scalar)
                }
                return quoted + "\""
            }.joined(separator: ",") + "}"
    }

    static func read(_ text: String) -> [String]? {
        let scalars = Array(text.unicodeScalars)
        guard scalars.first == "{", scalars.last == "}" else { return nil }
        if scalars.count == 2 { return [] }
        var elements: [String] = []
        var index = 1
        let end = scalars.count - 1
        while index < end {
            var element = String.UnicodeScalarView()
            if scalars[index] == "\"" {
                index += 1
                while index < end, scalars[index] != "\"" {
                    if scalars[index] == "\\" { index += 1 }
                    guard index < end else { return nil }
                    element.append(scalars[index])
                    index += 1
                }
                guard index < end else { return nil }
                index += 1
            } else {
                while index < end, scalars[index] != "," {
                    guard scalars[index] != "{" else { return nil }
                    element.append(scalars[index])
                    index += 1
                }
                if String(element).uppercased() == "NULL" { return nil }
            }
            elements.append(String(element))
            if index < end {
                guard scalars[index] == "," else { return nil }
                index += 1
            }
        }
        return elements
    }
}

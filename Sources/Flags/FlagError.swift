/// A command line that breaks the rules. The descriptions are those of Go's `flag` package, byte for byte; scripts
/// and operators know them (`specs/nats-streaming.md` 5.1).
public enum FlagError: Error, Hashable, Sendable {
    /// `-h` or `-help` was given and the set does not define it.
    case helpRequested
    /// A word such as `---x` or `-=x`.
    case badSyntax(word: String)
    /// No flag has this name.
    case notDefined(name: String)
    /// The last word is a flag that wants a value.
    case needsArgument(name: String)
    /// The value is not of the flag's type.
    case invalidValue(name: String, text: String, reason: String, isBoolean: Bool)
    /// The value of a size flag is no size. The original finds this after everything else and exits 1 without usage.
    case notASize(name: String, text: String)

    /// The name of the flag concerned, without dashes; empty where there is none.
    public var flagName: String {
        switch self {
        case .helpRequested, .badSyntax: ""
        case .notDefined(let name), .needsArgument(let name): name
        case .invalidValue(let name, _, _, _), .notASize(let name, _): name
        }
    }
}

extension FlagError: CustomStringConvertible {
    /// The line for standard error.
    public var description: String {
        switch self {
        case .helpRequested: "flag: help requested"
        case .badSyntax(let word): "bad flag syntax: \(word)"
        case .notDefined(let name): "flag provided but not defined: -\(name)"
        case .needsArgument(let name): "flag needs an argument: -\(name)"
        case .invalidValue(let name, let text, let reason, let isBoolean):
            "invalid \(isBoolean ? "boolean " : "")value \(text.quotedAsGo) for \(isBoolean ? "" : "flag ")-\(name): \(reason)"
        case .notASize(let name, let text): "\(name) should be a size, got '\(text)'"
        }
    }
}

extension String {
    /// The text in double quotes, escaped as Go's `%q` does.
    var quotedAsGo: String {
        var result = "\""
        for scalar in unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\u{07}": result += "\\a"
            case "\u{08}": result += "\\b"
            case "\u{0C}": result += "\\f"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case "\u{0B}": result += "\\v"
            case " ": result += " "
            default:
                if scalar.isPrintedByGo {
                    result.unicodeScalars.append(scalar)
                } else if scalar.value < 0x80 {
                    result += "\\x" + scalar.hexadecimal(digits: 2)
                } else if scalar.value < 0x10000 {
                    result += "\\u" + scalar.hexadecimal(digits: 4)
                } else {
                    result += "\\U" + scalar.hexadecimal(digits: 8)
                }
            }
        }
        return result + "\""
    }
}

extension Unicode.Scalar {
    /// Go prints letters, marks, numbers, punctuation and symbols; of the blanks only the space.
    fileprivate var isPrintedByGo: Bool {
        switch properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator,
            .spaceSeparator:
            false
        default: true
        }
    }

    fileprivate func hexadecimal(digits: Int) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
    }
}

/// The flags of a command line and how to read them, by the rules of Go's `flag` package.
///
/// Operators of NATS Streaming and of golang-migrate have these rules in their scripts and container arguments:
/// one dash or two, `-name value` or `-name=value`, a boolean takes a value only with `=`, `--` ends the flags, and
/// parsing stops at the first word that is no flag. A `FlagSet` is a pure value: it reads no environment, prints
/// nothing and ends no process.
///
/// ```swift
/// var flags = FlagSet()
/// let port = flags.define("p", "port", default: 4222, "port for clients")
/// let debug = flags.define("SD", "stan_debug", default: false, "debug log")
/// let parsed = try flags.parse(["-p", "-1", "--stan_debug"])
/// parsed[port]        // -1
/// parsed[debug]       // true
/// parsed.arguments    // what follows the flags
/// ```
///
/// Source of the rules: `specs/nats-streaming.md` 5.1, `specs/migrate.md` 1.1.
public struct FlagSet: Sendable {
    /// Every flag defined so far, in the order of definition.
    public private(set) var definitions: [FlagDefinition] = []

    private var section = ""

    /// An empty set.
    public init() {
        definitions.reserveCapacity(20)
    }

    /// Starts a section of the usage text: flags defined from here on are listed under `title`.
    public mutating func section(_ title: String) {
        section = title
    }

    /// Defines a flag and returns the key under which its value is found in `ParsedFlags`.
    ///
    /// - Parameters:
    ///   - names: The name and its aliases, without dashes. No name may be defined twice.
    ///   - defaultValue: The value when the flag is not given.
    ///   - placeholder: What the usage text writes for the value; `nil` takes the word of the type.
    ///   - usage: One line for the usage text; an empty one hides the flag there.
    public mutating func define<Value: FlagValue>(
        _ names: String..., default defaultValue: Value, placeholder: String? = nil, _ usage: String = ""
    ) -> Flag<Value> {
        precondition(!names.isEmpty, "a flag has a name")
        let index = definitions.count
        for name in names {
            precondition(
                !isDefined(name), "the flag -\(name) is defined once: two meanings could not be told apart")
        }
        definitions.append(
            FlagDefinition(
                names: names, section: section, usage: usage,
                placeholder: placeholder ?? Value.placeholder,
                defaultText: defaultValue.flagText, isDefaultShown: !defaultValue.isZeroFlagValue,
                isString: Value.self == String.self, isBoolean: Value.isBoolean,
                defaultValue: defaultValue, read: Value.read))
        return Flag(index: index)
    }

    /// Reads a command line (without the name of the program).
    ///
    /// A flag given twice keeps its last value. A size that is none is reported only when all else was right, as the
    /// original does; of several the one whose name sorts first.
    ///
    /// - Throws: `FlagError` for the first word that breaks a rule.
    public func parse(_ arguments: [String]) throws(FlagError) -> ParsedFlags {
        var parsed = ParsedFlags(definitions)
        var badSizes: [FlagError] = []
        var position = 0
        while position < arguments.count {
            let word = arguments[position]
            guard word.utf8.count >= 2, word.utf8.first == UInt8(ascii: "-") else { break }
            position += 1
            if word == "--" { break }
            let (name, inlineValue) = try Self.split(word)
            guard let index = self.index(of: name) else {
                throw name == "help" || name == "h" ? .helpRequested : .notDefined(name: name)
            }
            let definition = definitions[index]
            let text: String
            if let inlineValue {
                text = inlineValue
            } else if definition.isBoolean {
                text = "true"
            } else if position < arguments.count {
                text = arguments[position]
                position += 1
            } else {
                throw .needsArgument(name: name)
            }
            switch definition.read(text) {
            case .value(let value):
                parsed.values[index] = value
                parsed.given.append(GivenFlag(index: index, name: name, text: text))
            case .refused(let reason):
                throw .invalidValue(
                    name: name, text: text, reason: reason, isBoolean: definition.isBoolean)
            case .notASize:
                badSizes.append(.notASize(name: name, text: text))
            }
        }
        if let first = badSizes.min(by: { $0.flagName < $1.flagName }) { throw first }
        parsed.arguments = Array(arguments[position...])
        return parsed
    }

    /// Whether a flag of this name (or alias) is defined.
    public func isDefined(_ name: String) -> Bool { index(of: name) != nil }

    /// Looked for in the list: a set has some dozens of names, and a dictionary of them takes longer to make than to do without.
    private func index(of name: String) -> Int? {
        definitions.firstIndex { $0.names.contains(name) }
    }

    /// Takes one word that begins with a dash apart into name and, after `=`, value.
    private static func split(_ word: String) throws(FlagError) -> (name: String, value: String?) {
        var rest = Substring(word).utf8.dropFirst()
        if rest.first == UInt8(ascii: "-") { rest = rest.dropFirst() }
        guard let first = rest.first, first != UInt8(ascii: "-"), first != UInt8(ascii: "=") else {
            throw .badSyntax(word: word)
        }
        // Bytes, not characters: `=` followed by a combining mark is still the sign of equality.
        guard let equals = rest.firstIndex(of: UInt8(ascii: "=")) else {
            return (String(Substring(rest)), nil)
        }
        return (
            String(Substring(rest[..<equals])), String(Substring(rest[rest.index(after: equals)...]))
        )
    }
}

/// What a `FlagSet` knows about one flag.
public struct FlagDefinition: Sendable {
    /// The name and its aliases, without dashes; the first one leads in the usage text.
    public let names: [String]
    /// The section of the usage text under which the flag is listed.
    public let section: String
    /// One line for the usage text; empty when the flag is not to be listed.
    public let usage: String
    /// What the usage text writes for the value, for instance `int`; empty for a boolean.
    public let placeholder: String
    /// The default as it would be typed.
    public let defaultText: String
    /// Whether the default is worth showing: Go leaves out zero, false and the empty text.
    public let isDefaultShown: Bool
    /// Whether the value is plain text, whose default Go quotes.
    public let isString: Bool
    /// Whether the flag takes a value only with `=`.
    public let isBoolean: Bool

    let defaultValue: any FlagValue
    let read: @Sendable (String) -> FlagReading
}

/// The key of one flag's value in `ParsedFlags`.
public struct Flag<Value: FlagValue>: Sendable {
    let index: Int
}

/// One flag as it stood on the command line.
public struct GivenFlag: Sendable, Hashable {
    let index: Int
    /// The name that was typed, perhaps an alias, without dashes.
    public let name: String
    /// The text of the value; `true` for a boolean without one.
    public let text: String
}

/// The result of reading a command line.
public struct ParsedFlags: Sendable {
    /// The words from the first one on that is no flag (or that follows `--`).
    public internal(set) var arguments: [String] = []
    /// The flags in the order in which they stood there, repetitions included.
    public internal(set) var given: [GivenFlag] = []

    /// By the index of the flag.
    var values: [any FlagValue]

    init(_ definitions: [FlagDefinition]) { values = definitions.map(\.defaultValue) }

    /// The last value given for `flag`, or its default.
    public subscript<Value>(_ flag: Flag<Value>) -> Value {
        guard let value = values[flag.index] as? Value else {
            preconditionFailure("a flag is a key for the set that defined it, and for no other")
        }
        return value
    }

    /// Whether `flag` was given under any of its names.
    public func isGiven<Value>(_ flag: Flag<Value>) -> Bool { given.contains { $0.index == flag.index } }

    /// The name under which `flag` was given last, without dashes.
    public func name<Value>(of flag: Flag<Value>) -> String? {
        given.last { $0.index == flag.index }?.name
    }
}

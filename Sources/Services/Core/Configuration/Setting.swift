import Flags

/// A setting of a service: an environment variable and a flag of the same meaning.
///
/// ```swift
/// static let mailKey = Setting("web-sendgrid-api-key", default: "none", isSecret: true, "key of the mail service")
/// // API_WEB_SENDGRID_API_KEY=… or --web-sendgrid-api-key …; the flag wins
/// settings[mailKey]
/// ```
public struct Setting<Value: FlagValue>: Sendable {
    /// The flag's name, `web-port`; the variable is `API_WEB_PORT`.
    public let name: String
    /// The value when neither is given.
    public let defaultValue: Value
    /// Whether the value is never shown.
    public let isSecret: Bool
    /// Whether it must be given.
    public let isMandatory: Bool
    /// One line for `--help`.
    public let usage: String
    /// How a value is shown that may hold a secret beside what is none, for instance a URL with a password; nil as it is.
    public let shown: (@Sendable (Value) -> String)?
    /// Says what is wrong with a value; nil when nothing is.
    public let problem: @Sendable (Value) -> String?

    /// A setting.
    public init(
        _ name: String, default defaultValue: Value, isSecret: Bool = false, isMandatory: Bool = false,
        _ usage: String, shown: (@Sendable (Value) -> String)? = nil,
        problem: @escaping @Sendable (Value) -> String? = { _ in nil }
    ) {
        self.name = name
        self.defaultValue = defaultValue
        self.isSecret = isSecret
        self.isMandatory = isMandatory
        self.usage = usage
        self.shown = shown
        self.problem = problem
    }

    /// The environment variable: `API_WEB_PORT`.
    public var variable: String { "API_" + name.uppercased().replacing("-", with: "_") }
}

/// A setting of any type, for lists of them.
public protocol SettingDefinition: Sendable {
    /// The flag's name.
    var name: String { get }
    /// Adds the flag to a set and tells how to find and check the value.
    func define(in flags: inout FlagSet) -> SettingReader
}

/// Finds the value of one setting: by flag, else by variable, else the default.
public struct SettingReader: Sendable {
    let variable: String
    let isSecret: Bool
    let isMandatory: Bool
    /// The value that the command line has; nil when it has none.
    let given: @Sendable (ParsedFlags) -> (any FlagValue)?
    let parse: @Sendable (String) -> FlagReading
    let defaultValue: any FlagValue
    let problem: @Sendable (any FlagValue) -> String?
    let shown: @Sendable (any FlagValue) -> String
}

extension Setting: SettingDefinition {
    /// As the protocol says.
    public func define(in flags: inout FlagSet) -> SettingReader {
        let flag = flags.define(name, default: defaultValue, "\(usage) [\(variable)]")
        let (problem, shown) = (problem, shown)
        return SettingReader(
            variable: variable, isSecret: isSecret, isMandatory: isMandatory,
            given: { $0.isGiven(flag) ? $0[flag] : nil }, parse: { Value.read($0) },
            defaultValue: defaultValue,
            problem: { value in (value as? Value).flatMap(problem) },
            shown: { value in (value as? Value).flatMap { shown?($0) } ?? value.flagText })
    }
}

import Flags

/// The effective settings of a process.
public struct Settings: Sendable {
    /// What is wrong with the settings: one line per problem, for standard error; the exit code is 78 (EX_CONFIG).
    public struct Problems: Error, Sendable, Hashable {
        /// A line each.
        public let lines: [String]
    }

    private var values: [String: any FlagValue] = [:]
    private var secrets: Set<String> = []
    private var shown: [String: String] = [:]
    private var order: [String] = []
    /// The words of the command line that are no flags.
    public private(set) var arguments: [String] = []
    /// Whether `--help` was asked for; nothing else is read then.
    public private(set) var isHelpRequested = false
    /// The text of `--help`.
    public private(set) var usage = ""

    /// Reads the settings.
    ///
    /// - Parameters:
    ///   - definitions: All settings of the service.
    ///   - environment: The process's variables; those that begin with `API_` and belong to no setting are passed over,
    ///     as in the original (one environment serves several services).
    ///   - arguments: The command line without the program's name.
    /// - Throws: All problems at once.
    public init(
        _ definitions: [any SettingDefinition], environment: [String: String], arguments: [String]
    ) throws(Problems) {
        var flags = FlagSet()
        let readers = definitions.map { (name: $0.name, reader: $0.define(in: &flags)) }
        usage = flags.usage
        let parsed: ParsedFlags
        do throws(FlagError) {
            parsed = try flags.parse(arguments)
        } catch {
            guard case .helpRequested = error else { throw Problems(lines: ["\(error)"]) }
            isHelpRequested = true
            return
        }
        self.arguments = parsed.arguments
        var problems: [String] = []
        for (name, reader) in readers {
            let place: String
            let value: any FlagValue
            if let given = reader.given(parsed) {
                (place, value) = ("--" + name, given)
            } else if let text = environment[reader.variable] {
                place = reader.variable
                guard case .value(let read) = reader.parse(text) else {
                    let shown = reader.isSecret ? "the value" : "\"\(text)\""
                    problems.append("\(place): \(shown) is no \(Self.kind(of: reader.defaultValue))")
                    continue
                }
                value = read
            } else {
                (place, value) = (reader.variable, reader.defaultValue)
                if reader.isMandatory {
                    problems.append("\(place) is missing: set it, or give --\(name)")
                    continue
                }
            }
            if let problem = reader.problem(value) { problems.append("\(place): \(problem)") }
            values[name] = value
            shown[name] = reader.shown(value)
            order.append(name)
            if reader.isSecret { secrets.insert(name) }
        }
        if !problems.isEmpty { throw Problems(lines: problems) }
    }

    /// The value of a setting.
    public subscript<Value>(_ setting: Setting<Value>) -> Value {
        guard let value = values[setting.name] as? Value else {
            preconditionFailure("the setting \(setting.name) is not among those that the service lists")
        }
        return value
    }

    /// Every setting with its value, secrets masked, in the order of definition.
    public var masked: [(name: String, value: String)] {
        order.map { name in
            let text = shown[name] ?? ""
            return (name, secrets.contains(name) && !text.isEmpty && text != "none" ? "[REDACTED]" : text)
        }
    }

    private static func kind(of value: any FlagValue) -> String {
        switch value {
        case is Bool: "boolean (true or false)"
        case is Duration: "duration (5s, 1m30s, 250ms)"
        case is Int: "whole number"
        default: "such value"
        }
    }
}

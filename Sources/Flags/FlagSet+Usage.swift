extension FlagSet {
    /// The flags by section, one line each with all names, type, usage and default:
    ///
    /// ```
    /// Streaming server options:
    ///     -cid, --cluster_id <string>     cluster id (default test-cluster)
    /// ```
    ///
    /// The first name has one dash when it is short (up to three letters), as the original writes them.
    public var usage: String {
        let listed = definitions.filter { !$0.usage.isEmpty }
        let column = 42
        var lines: [String] = []
        var section: String?
        for definition in listed {
            if definition.section != section {
                section = definition.section
                if !lines.isEmpty { lines.append("") }
                if !definition.section.isEmpty { lines.append("\(definition.section):") }
            }
            var line =
                "    "
                + definition.names.map { ($0.utf8.count <= 3 ? "-" : "--") + $0 }.joined(separator: ", ")
            if !definition.placeholder.isEmpty { line += " <\(definition.placeholder)>" }
            if line.utf8.count < column {
                line += String(repeating: " ", count: column - line.utf8.count)
            } else {
                lines.append(line)
                line = String(repeating: " ", count: column)
            }
            line += definition.usage
            if definition.isDefaultShown { line += " (default: \(definition.defaultText))" }
            lines.append(line)
        }
        return lines.map { $0 + "\n" }.joined()
    }

    /// The flags as Go's `PrintDefaults` lists them: sorted by name, each alias on its own, two lines each.
    public var goDefaults: String {
        var entries: [(name: String, text: String)] = []
        for definition in definitions {
            for name in definition.names {
                var text = "  -\(name)"
                if !definition.placeholder.isEmpty { text += " \(definition.placeholder)" }
                // Go puts the usage of a one-letter boolean on the same line.
                text += text.utf8.count <= 4 ? "\t" : "\n    \t"
                text += definition.usage
                if definition.isDefaultShown {
                    text +=
                        " (default \(definition.isString ? definition.defaultText.quotedAsGo : definition.defaultText))"
                }
                entries.append((name, text + "\n"))
            }
        }
        return entries.sorted { $0.name < $1.name }.map(\.text).joined()
    }
}

/// Figures for Prometheus in its text format, version 0.0.4
/// (https://prometheus.io/docs/instrumenting/exposition_formats).
///
///     var metrics = MetricsText()
///     metrics.gauge("broker_connections", "Clients connected now.", 3)
///     metrics.gauge("broker_channel_messages", "Messages stored.", 7, labels: [("channel", "orders")])
///
/// Figures of one name must follow one another; the first one's help counts.
struct MetricsText: Sendable {
    private(set) var text = ""
    private var lastName = ""

    /// A value that only rises while the process runs.
    mutating func counter(
        _ name: String, _ help: String, _ value: some BinaryInteger, labels: [(String, String)] = []
    ) {
        add(name, help, type: "counter", String(value), labels)
    }

    /// A value that rises and falls.
    mutating func gauge(
        _ name: String, _ help: String, _ value: some BinaryInteger, labels: [(String, String)] = []
    ) {
        add(name, help, type: "gauge", String(value), labels)
    }

    /// A value with a fraction that rises and falls.
    mutating func gauge(_ name: String, _ help: String, _ value: Double, labels: [(String, String)] = []) {
        add(name, help, type: "gauge", String(value), labels)
    }

    /// A distribution: how many values were at or below each bound (cumulated by this function), their sum
    /// and their number. Bounds and sum in the metric's unit, seconds by convention.
    mutating func histogram(
        _ name: String, _ help: String, buckets: [(bound: Double, count: UInt64)], sum: Double, count: UInt64
    ) {
        begin(name, help, type: "histogram")
        var total: UInt64 = 0
        for bucket in buckets {
            total += bucket.count
            line(name + "_bucket", [("le", String(bucket.bound))], String(total))
        }
        line(name + "_bucket", [("le", "+Inf")], String(count))
        line(name + "_sum", [], String(sum))
        line(name + "_count", [], String(count))
    }

    private mutating func add(
        _ name: String, _ help: String, type: String, _ value: String, _ labels: [(String, String)]
    ) {
        begin(name, help, type: type)
        line(name, labels, value)
    }

    private mutating func begin(_ name: String, _ help: String, type: String) {
        guard name != lastName else { return }
        lastName = name
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
    }

    private mutating func line(_ name: String, _ labels: [(String, String)], _ value: String) {
        text += name
        if !labels.isEmpty {
            text += "{" + labels.map { "\($0)=\"\(Self.escaped($1))\"" }.joined(separator: ",") + "}"
        }
        text += " \(value)\n"
    }

    private static func escaped(_ value: String) -> String {
        var escaped = ""
        for character in value.unicodeScalars {
            switch character {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }
}

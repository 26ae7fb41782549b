import Synchronization

/// The numbers of a service, written as Prometheus text by `/metrics` of the debug listener.
///
/// One lock over a dictionary: a request takes it once, which is nothing beside its SQL.
public final class Metrics: Sendable {
    /// What a number is.
    public enum Kind: String, Sendable {
        /// Only rises.
        case counter
        /// Goes up and down.
        case gauge
        /// Counts observations by upper bounds.
        case histogram
    }

    /// A number of a service: its name, its help line, and what it is.
    public struct Metric: Hashable, Sendable {
        /// The name, with its unit at the end: `http_request_duration_seconds`.
        public let name: String
        /// One line for `# HELP`.
        public let help: String
        /// What it is.
        public let kind: Kind
        /// The upper bounds of a histogram, rising.
        public let bounds: [Double]

        /// A metric.
        public init(_ name: String, _ kind: Kind, _ help: String, bounds: [Double] = []) {
            self.name = name
            self.help = help
            self.kind = kind
            self.bounds = bounds
        }

        /// A name stands for one metric: the rest needs no comparison, which happens at every number.
        public static func == (left: Metric, right: Metric) -> Bool { left.name == right.name }

        /// By the name.
        public func hash(into hasher: inout Hasher) { hasher.combine(name) }
    }

    private struct Histogram: Sendable {
        var counts: [Int]
        var count = 0
        var sum = 0.0

        init(of metric: Metric) { counts = Array(repeating: 0, count: metric.bounds.count) }

        mutating func observe(_ value: Double, _ bounds: [Double]) {
            if let index = bounds.firstIndex(where: { value <= $0 }) { counts[index] += 1 }
            count += 1
            sum += value
        }

        mutating func add(_ other: Histogram) {
            for index in counts.indices { counts[index] += other.counts[index] }
            count += other.count
            sum += other.sum
        }
    }

    /// Labels as they were given. Requests outnumber readings: they become text when somebody reads.
    private struct Labels: Hashable, Sendable {
        /// Name, value, name, value …
        private let words: [String]

        init(_ pairs: KeyValuePairs<String, String>) {
            var words: [String] = []
            words.reserveCapacity(2 * pairs.count)
            for (name, value) in pairs {
                words.append(name)
                words.append(value)
            }
            self.words = words
        }

        /// `method="GET",status="200"`
        var text: String {
            stride(from: 0, to: words.count, by: 2).map { index in
                "\(words[index])=\"\(Self.escaped(words[index + 1]))\""
            }.joined(separator: ",")
        }

        private static func escaped(_ value: String) -> String {
            var escaped = ""
            for scalar in value.unicodeScalars {
                switch scalar {
                case "\\": escaped += "\\\\"
                case "\"": escaped += "\\\""
                case "\n": escaped += "\\n"
                default: escaped.unicodeScalars.append(scalar)
                }
            }
            return escaped
        }
    }

    private struct Series: Sendable {
        var values: [Labels: Double] = [:]
        var histograms: [Labels: Histogram] = [:]

        mutating func add(_ histogram: Histogram, _ labels: Labels, _ metric: Metric) {
            histograms[labels, default: Histogram(of: metric)].add(histogram)
        }
    }

    private struct RequestKind: Hashable, Sendable {
        let method: String
        let route: String
        let status: Int
    }

    private struct RequestNumbers: Sendable {
        var durations = Histogram(of: .requestDuration)
        var statements = Histogram(of: .requestStatements)

        mutating func observe(_ seconds: Double, _ statements: Int) {
            durations.observe(seconds, Metric.requestDuration.bounds)
            self.statements.observe(Double(statements), Metric.requestStatements.bounds)
        }
    }

    private struct State: Sendable {
        var series: [Metric: Series] = [:]
        /// What each request adds to, found by one look; it becomes series when somebody reads.
        var requests: [RequestKind: RequestNumbers] = [:]

        /// All series, those of the requests too.
        var allSeries: [Metric: Series] {
            var all = series
            for (kind, numbers) in requests {
                let labels = Labels([
                    "method": kind.method, "route": kind.route, "status": String(kind.status),
                ])
                let fewer = Labels(["method": kind.method, "route": kind.route])
                all[.requests, default: Series()].values[labels, default: 0] += Double(
                    numbers.durations.count)
                all[.requestDuration, default: Series()].add(numbers.durations, labels, .requestDuration)
                all[.requestStatements, default: Series()].add(numbers.statements, fewer, .requestStatements)
            }
            return all
        }
    }

    private let state = Mutex(State())

    /// No numbers yet.
    public init() {}

    /// Adds to a counter.
    ///
    /// - Parameter labels: Pairs of name and value, always in the same order for one metric.
    public func add(_ metric: Metric, _ amount: Double = 1, _ labels: KeyValuePairs<String, String> = [:]) {
        let key = Labels(labels)
        state.withLock { $0.series[metric, default: Series()].values[key, default: 0] += amount }
    }

    /// Sets a gauge.
    public func set(_ metric: Metric, _ value: Double, _ labels: KeyValuePairs<String, String> = [:]) {
        let key = Labels(labels)
        state.withLock { $0.series[metric, default: Series()].values[key] = value }
    }

    /// Counts an observation of a histogram.
    public func observe(_ metric: Metric, _ value: Double, _ labels: KeyValuePairs<String, String> = [:]) {
        let key = Labels(labels)
        state.withLock {
            $0.series[metric, default: Series()].histograms[key, default: Histogram(of: metric)]
                .observe(value, metric.bounds)
        }
    }

    /// Counts a request that was answered: all of its numbers at once.
    func recordRequest(method: String, route: String, status: Int, took elapsed: Duration, statements: Int) {
        let kind = RequestKind(method: method, route: route, status: status)
        let seconds = elapsed.seconds
        state.withLock {
            $0.requests[kind, default: RequestNumbers()].observe(seconds, statements)
        }
    }

    /// The value of a counter or gauge; 0 when it was never touched.
    public func value(_ metric: Metric, _ labels: KeyValuePairs<String, String> = [:]) -> Double {
        let key = Labels(labels)
        return state.withLock { $0.allSeries[metric]?.values[key] ?? 0 }
    }

    /// How many observations a histogram has, and their sum.
    public func observations(
        _ metric: Metric, _ labels: KeyValuePairs<String, String> = [:]
    ) -> (count: Int, sum: Double) {
        let key = Labels(labels)
        let histogram = state.withLock { $0.allSeries[metric]?.histograms[key] }
        return (histogram?.count ?? 0, histogram?.sum ?? 0)
    }

    /// All of it in Prometheus's text format (version 0.0.4).
    public var prometheusText: String {
        let all = state.withLock { $0.allSeries }
        var text = ""
        for (metric, series) in all.sorted(by: { $0.key.name < $1.key.name }) {
            text += "# HELP \(metric.name) \(metric.help)\n# TYPE \(metric.name) \(metric.kind.rawValue)\n"
            for (labels, value) in Self.byText(series.values) {
                text += "\(metric.name)\(labels.isEmpty ? "" : "{\(labels)}") \(Self.text(value))\n"
            }
            for (labels, histogram) in Self.byText(series.histograms) {
                let prefix = labels.isEmpty ? "" : labels + ","
                var total = 0
                for (bound, count) in zip(metric.bounds, histogram.counts) {
                    total += count
                    text += "\(metric.name)_bucket{\(prefix)le=\"\(Self.text(bound))\"} \(total)\n"
                }
                let suffix = labels.isEmpty ? "" : "{\(labels)}"
                text += "\(metric.name)_bucket{\(prefix)le=\"+Inf\"} \(histogram.count)\n"
                text += "\(metric.name)_sum\(suffix) \(Self.text(histogram.sum))\n"
                text += "\(metric.name)_count\(suffix) \(histogram.count)\n"
            }
        }
        return text
    }

    private static func text(_ value: Double) -> String {
        value == value.rounded() && value.magnitude < 1e15 ? String(Int(value)) : String(value)
    }

    private static func byText<Value>(_ series: [Labels: Value]) -> [(key: String, value: Value)] {
        series.map { (key: $0.key.text, value: $0.value) }.sorted { $0.key < $1.key }
    }
}

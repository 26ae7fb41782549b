import BrokerClient

/// What a benchmark found.
struct BenchReport {
    /// One line that says what was done.
    var title: String
    /// Settings, for the JSON.
    var settings: [String: JSON]
    /// What is measured, in the order of printing.
    var rates: [Rate] = []
    /// Latencies by name.
    var latencies: [(name: String, histogram: LatencyHistogram)] = []
    /// Messages that failed.
    var errors = 0

    /// A count of messages and the time that they took.
    struct Rate {
        /// For instance `published`.
        var name: String
        /// Messages.
        var messages: Int
        /// Payload bytes.
        var bytes: Int
        /// Seconds.
        var seconds: Double

        /// Messages a second.
        var perSecond: Double { seconds > 0 ? Double(messages) / seconds : 0 }
        /// Payload bytes a second.
        var bytesPerSecond: Double { seconds > 0 ? Double(bytes) / seconds : 0 }
    }

    /// For people.
    var text: String {
        var text = Terminal.bold(title) + "\n\n"
        for rate in rates {
            text +=
                "  \(rate.name): \(Figures.grouped(Int(rate.perSecond))) msgs/sec ~ \(Figures.bytes(rate.bytesPerSecond))/sec"
                + " (\(Figures.grouped(rate.messages)) in \(Figures.decimals(rate.seconds, 3)) s)\n"
        }
        for (name, histogram) in latencies where histogram.count > 0 {
            let figures = [
                ("min", 0.0), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0),
            ]
            .map { label, quantile in
                let value =
                    label == "min"
                    ? histogram.minimum : label == "max" ? histogram.maximum : histogram.percentile(quantile)
                return "\(label) \(Figures.duration(nanoseconds: value))"
            }
            text +=
                "  \(name): \(figures.joined(separator: " | ")) (\(Figures.grouped(Int(histogram.count))) samples)\n"
        }
        if errors > 0 { text += "  errors: \(Figures.grouped(errors))\n" }
        return text
    }

    /// For programs: one line.
    var json: JSON {
        var members = settings
        for rate in rates {
            members[rate.name] = .object([
                "messages": .integer(Int64(rate.messages)), "bytes": .integer(Int64(rate.bytes)),
                "seconds": .number(rate.seconds), "messages_per_second": .number(rate.perSecond),
                "bytes_per_second": .number(rate.bytesPerSecond),
            ])
        }
        for (name, histogram) in latencies where histogram.count > 0 {
            func nanoseconds(_ value: UInt64) -> JSON { .integer(Int64(clamping: value)) }
            members[name.split(separator: " ").joined(separator: "_") + "_ns"] = .object([
                "samples": nanoseconds(histogram.count), "min": nanoseconds(histogram.minimum),
                "p50": nanoseconds(histogram.percentile(0.5)), "p90": nanoseconds(histogram.percentile(0.9)),
                "p99": nanoseconds(histogram.percentile(0.99)),
                "p999": nanoseconds(histogram.percentile(0.999)),
                "max": nanoseconds(histogram.maximum),
            ])
        }
        members["errors"] = .integer(Int64(errors))
        return .object(members)
    }
}

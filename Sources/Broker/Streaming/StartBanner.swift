import Logging

/// The lines of a start, as the original prints them (nats-streaming.md §5.6): scripts wait for the last.
struct StartBanner {
    let options: BrokerOptions
    let version: String
    let logger: Logger

    /// Before anything is done.
    func starting() {
        say("Starting broker[\(options.clusterID)] version \(version)")
        say("Recovering the state...")
    }

    /// When clients are accepted.
    func ready() {
        let subjects = StreamingSubjects(clusterID: options.clusterID, discoverPrefix: options.discoverPrefix)
        logger.debug("STREAM: Discover subject:           \(text(subjects.discover))")
        logger.debug("STREAM: Publish subject:            \(text(subjects.publishPrefix)).>")
        logger.debug("STREAM: Subscribe subject:          \(text(subjects.subscribe))")
        logger.debug("STREAM: Subscription Close subject: \(text(subjects.subscriptionClose))")
        logger.debug("STREAM: Unsubscribe subject:        \(text(subjects.unsubscribe))")
        logger.debug("STREAM: Close subject:              \(text(subjects.close))")
        switch options.store {
        case .memory:
            say("Message store is MEMORY")
            logger.warning("STREAM: The store is memory: acknowledged messages end with this process")
        case .file:
            say("Message store is FILE")
            say("Store location: \(options.directory)")
            warnOfSync()
        }
        let defaults = BrokerOptions()
        say("---------- Store Limits ----------")
        say("Channels:        " + count(options.maxChannels, defaults.maxChannels))
        say("--------- Channels Limits --------")
        say(
            "  Subscriptions: "
                + count(options.maxSubscriptionsPerChannel, defaults.maxSubscriptionsPerChannel))
        say("  Messages     : " + count(options.maxMessages, defaults.maxMessages))
        say(
            "  Bytes        : "
                + column(
                    options.maxBytes == 0 ? "unlimited" : ByteText.string(options.maxBytes),
                    isDefault: options.maxBytes == defaults.maxBytes))
        say("  Age          : " + duration(options.maxAgeNanoseconds))
        say("  Inactivity   : " + duration(options.maxInactivityNanoseconds))
        say("----------------------------------")
        say("Streaming Server is ready")
    }

    private func warnOfSync() {
        switch options.sync {
        case .always: break
        case .interval(let nanoseconds):
            logger.warning(
                "STREAM: The journal is synced every \(DurationText.string(nanoseconds)) only: a crash of the machine loses what was acknowledged since (--sync always is the safe mode)"
            )
        case .never:
            logger.warning(
                "STREAM: The journal is never synced: a crash of the machine loses acknowledged messages (--sync always is the safe mode)"
            )
        }
    }

    private func say(_ line: String) { logger.info("STREAM: \(line)") }

    private func count(_ value: Int, _ standard: Int) -> String {
        column(value == 0 ? "unlimited" : "\(value)", isDefault: value == standard)
    }

    private func duration(_ nanoseconds: UInt64) -> String {
        column(nanoseconds == 0 ? "unlimited" : DurationText.string(nanoseconds), isDefault: nanoseconds == 0)
    }

    /// 13 columns, right-aligned; ` *` marks a default.
    private func column(_ value: String, isDefault: Bool) -> String {
        String(repeating: " ", count: max(0, 13 - value.count)) + value + (isDefault ? " *" : "")
    }
}

/// Durations as Go prints them: `1h0m0s`, `5s`, `1.5s`, `300ms`.
enum DurationText {
    static func string(_ nanoseconds: UInt64) -> String {
        if nanoseconds == 0 { return "0s" }
        if nanoseconds < 1_000 { return "\(nanoseconds)ns" }
        if nanoseconds < 1_000_000 { return fraction(nanoseconds, of: 1_000) + "µs" }
        if nanoseconds < 1_000_000_000 { return fraction(nanoseconds, of: 1_000_000) + "ms" }
        let minutes = nanoseconds / 60_000_000_000
        let seconds = fraction(nanoseconds % 60_000_000_000, of: 1_000_000_000) + "s"
        if minutes == 0 { return seconds }
        if minutes < 60 { return "\(minutes)m\(seconds)" }
        return "\(minutes / 60)h\(minutes % 60)m\(seconds)"
    }

    /// `value / unit` with the digits behind the point that are not zero.
    private static func fraction(_ value: UInt64, of unit: UInt64) -> String {
        var digits = String(unit + value % unit).dropFirst()
        while digits.last == "0" { digits.removeLast() }
        return digits.isEmpty ? "\(value / unit)" : "\(value / unit).\(digits)"
    }
}

import BrokerLog
import BrokerProtocol

/// Why a channel could not be had, as the client is told.
struct ChannelRefused: Error {
    var text: String
}

// Channels and their limits: nats-streaming.md §4.
extension StreamingEngine {
    /// How often age limits are looked at, in nanoseconds (§4.1: about every second).
    private var expiryInterval: UInt64 { 1_000_000_000 }

    /// The limits that the log keeps for each channel.
    var channelLimits: ChannelLimits {
        ChannelLimits(
            maxMessages: options.maxMessages, maxBytes: options.maxBytes,
            maxAge: options.maxAgeNanoseconds)
    }

    /// Looks a channel up, or creates it if the limits allow. The name must be valid.
    func channel(named name: [UInt8]) throws(ChannelRefused) -> MessageChannel {
        if let id = channelsByName[name], let channel = channels[id] { return channel }
        let folded = Self.folded(name)
        if let existing = channelsByFoldedName[folded].flatMap({ channels[$0] }) {
            throw ChannelRefused(text: StreamingErrorText.caseConflict(name, with: existing.name))
        }
        if options.maxChannels > 0 && channels.count >= options.maxChannels {
            throw ChannelRefused(text: StreamingErrorText.tooManyChannels)
        }
        let id: ChannelID
        do throws(AppendRefused) {
            id = try log.createChannel(named: name, limits: channelLimits)
        } catch {
            throw ChannelRefused(text: error.description)
        }
        hasAppended = true
        let channel = add(MessageChannel(id: id, name: name))
        logger.info("STREAM: Channel \"\(text(name))\" has been created")
        return channel
    }

    @discardableResult
    func add(_ channel: MessageChannel) -> MessageChannel {
        channels[channel.id.rawValue] = channel
        channelsByName[channel.name] = channel.id.rawValue
        channelsByFoldedName[Self.folded(channel.name)] = channel.id.rawValue
        channel.lastActivity = now()
        armInactivity(of: channel)
        return channel
    }

    static func folded(_ name: [UInt8]) -> [UInt8] {
        name.map { $0 >= 0x41 && $0 <= 0x5A ? $0 | 0x20 : $0 }
    }

    // MARK: Inactivity

    /// Starts the inactivity timer of a channel that nobody is subscribed to.
    func armInactivity(of channel: MessageChannel) {
        let limit = options.maxInactivityNanoseconds
        guard limit > 0, !channel.isInactivityTimerArmed, !channel.hasActiveSubscription else { return }
        channel.isInactivityTimerArmed = true
        schedule(.inactivity(channel: channel.id.rawValue), at: channel.lastActivity &+ limit)
    }

    func inactivityEnded(of id: UInt32, now: UInt64) {
        guard let channel = channels[id] else { return }
        channel.isInactivityTimerArmed = false
        guard !channel.hasActiveSubscription else { return }
        if hasWorkInFlight(channel) { channel.lastActivity = now }
        if channel.lastActivity &+ options.maxInactivityNanoseconds > now {
            return armInactivity(of: channel)
        }
        do throws(AppendRefused) {
            try delete(channel)
        } catch {
            // Tried again after another period (L14).
            channel.lastActivity = now
            armInactivity(of: channel)
            logger.error(
                "STREAM: Channel \"\(text(channel.name))\" could not be deleted: \(error.description)")
        }
    }

    /// A subscribe or a publish to the channel waits for the disk.
    private func hasWorkInFlight(_ channel: MessageChannel) -> Bool {
        if channel.consumers.contains(where: { $0.members.contains { subscriptions[$0.id] != nil } }) {
            return true
        }
        var isPublishedTo = false
        unsafe acknowledgements.forEach(upTo: .max) { entry in
            if unsafe entry.channel == channel.id.rawValue { isPublishedTo = true }
        }
        return isPublishedTo
    }

    // MARK: Message limits

    func expireMessages(now: UInt64) {
        let wall = clock.wall()
        noteClock(wall: wall, now: now)
        log.expire(now: clockSteps.now(wall: wall, monotonic: now, age: options.maxAgeNanoseconds))
        armExpiry(now: now)
    }

    /// Says when the wall clock was set, and remembers it for as long as ages depend on it.
    private func noteClock(wall: Int64, now: UInt64) {
        guard let step = clockSteps.observe(wall: wall, monotonic: now) else { return }
        let seconds = step.magnitude / 1_000_000_000
        if step > 0, let by = clockSteps.steps.last?.by {
            journal(.clockStepped(by: by, to: wall))
            logger.warning(
                "STREAM: The wall clock went forward by \(seconds) s; messages from before are kept as long as if it had not"
            )
        } else {
            logger.warning(
                "STREAM: The wall clock went back by \(seconds) s; until it has caught up messages get the time of those before them"
            )
        }
    }

    func armExpiry(now: UInt64) {
        // Without an age limit too: the log tries again then what waits for space on the disk.
        schedule(.expire, at: now &+ expiryInterval)
    }

    /// Says once a run that a channel reached its limits and drops its oldest messages.
    func warnOfLimits(_ channel: MessageChannel) {
        guard !channel.hasWarnedOfLimits, options.maxMessages > 0 || options.maxBytes > 0 else { return }
        guard let info = log.info(of: channel.id) else { return }
        let isFull =
            (options.maxMessages > 0 && info.messages >= options.maxMessages)
            || (options.maxBytes > 0 && info.bytes >= options.maxBytes)
        guard isFull, info.firstSequence > 1 else { return }
        channel.hasWarnedOfLimits = true
        let messages = options.maxMessages > 0 ? "\(options.maxMessages)" : "unlimited"
        let bytes = options.maxBytes > 0 ? ByteText.string(options.maxBytes) : "unlimited"
        logger.warning(
            "STREAM: Reached limits for store \"\(text(channel.name))\" (msgs=\(info.messages)/\(messages) bytes=\(ByteText.string(info.bytes))/\(bytes)), dropping old messages to make room for new ones"
        )
    }
}

/// Byte counts as the original prints them (nats-streaming.md §5.6): `12 B`, `1.00 KB`, `976.56 MB`.
enum ByteText {
    static func string(_ bytes: Int) -> String {
        guard bytes >= 1_024 else { return "\(bytes) B" }
        var value = Double(bytes)
        var unit = 0
        let units = ["B", "KB", "MB", "GB", "TB", "PB", "EB"]
        while value >= 1_024, unit < units.count - 1 {
            value /= 1_024
            unit += 1
        }
        let hundredths = Int((value * 100).rounded())
        let fraction = hundredths % 100
        return "\(hundredths / 100).\(fraction < 10 ? "0" : "")\(fraction) \(units[unit])"
    }
}

/// The body of the records that create a channel or set its limits. Little endian:
///
///      0  u64  most messages, 0 = unlimited
///      8  u64  most bytes
///     16  u64  greatest age in nanoseconds
///     24       name, to the end of the record (empty in `setLimits`)
struct ChannelRecord: Equatable {
    var limits: ChannelLimits
    var name: [UInt8]

    /// Longest name, far above what a NATS control line carries.
    static let maximumName = 65_535
    private static let fixed = 24

    func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.fixed + name.count)
        bytes.appendInteger(UInt64(bitPattern: Int64(limits.maxMessages)))
        bytes.appendInteger(UInt64(bitPattern: Int64(limits.maxBytes)))
        bytes.appendInteger(limits.maxAge)
        bytes.append(contentsOf: name)
        return bytes
    }

    init(limits: ChannelLimits, name: [UInt8]) {
        self.limits = limits
        self.name = name
    }

    /// Nil when the body is too short or a limit is negative.
    init?(_ body: [UInt8]) {
        var reader = ByteReader(body)
        guard let messages = reader.integer(UInt64.self), let bytes = reader.integer(UInt64.self),
            let age = reader.integer(UInt64.self), messages <= UInt64(Int.max), bytes <= UInt64(Int.max),
            let name = reader.bytes(reader.remaining), name.count <= Self.maximumName
        else { return nil }
        limits = ChannelLimits(maxMessages: Int(messages), maxBytes: Int(bytes), maxAge: age)
        self.name = name
    }
}

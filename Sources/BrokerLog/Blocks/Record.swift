/// One record, the same bytes in memory, in a journal frame and in a block. Little endian:
///
///      0  u32  length of the whole record, header included
///      4  u8   kind (`Record.Kind`)
///      5  u8   0
///      6  u16  length of the reply subject (messages; else 0)
///      8  u64  position
///     16  u32  channel (messages and channel records; else 0)
///     20  u32  length of the headers (messages; else 0)
///     24  u64  sequence (messages; else 0)
///     32  i64  time, nanoseconds since 1970 (messages; else 0)
///     40       reply, headers, payload (messages), or the body of the kind
///
/// A record is trusted only inside a frame or block whose checksum was verified, and even then its
/// lengths are checked against what encloses it (`Record.isWhole`).
enum Record {
    /// What a record says.
    enum Kind: UInt8 {
        /// A message of a channel.
        case message = 1
        /// Bytes of the engine, opaque to the log.
        case state = 2
        /// A channel was created: body is limits (`ChannelRecord`) and name.
        case createChannel = 3
        /// A channel was deleted: no body.
        case deleteChannel = 4
        /// A channel's limits changed: body is limits. Carries the first sequence kept, so that
        /// limits that were raised bring nothing back.
        case setLimits = 5
        /// Messages before `sequence` are gone (age).
        case trim = 6
    }

    /// Bytes before the variable part.
    static let headerSize = 40
    /// Largest record: bounds what a hostile length can make anyone allocate.
    static let maximumSize = 80 << 20
    /// No sequence, position or generation reaches it: at a million a second that takes two thousand years. A file that
    /// says otherwise is hostile; below it sums and differences stay in range.
    static let numberLimit: UInt64 = 1 << 56
    /// Largest offset in a file, and largest file, that are believed.
    static let offsetLimit: UInt64 = 1 << 48
    /// Longest reply subject, by its 16-bit length.
    static let maximumReply = 65_535

    static func length(_ record: UnsafeRawPointer) -> Int {
        unsafe Int(UInt32(littleEndian: record.loadUnaligned(as: UInt32.self)))
    }
    static func kind(_ record: UnsafeRawPointer) -> UInt8 {
        unsafe record.load(fromByteOffset: 4, as: UInt8.self)
    }
    static func replyLength(_ record: UnsafeRawPointer) -> Int {
        unsafe Int(UInt16(littleEndian: record.loadUnaligned(fromByteOffset: 6, as: UInt16.self)))
    }
    static func position(_ record: UnsafeRawPointer) -> UInt64 {
        unsafe UInt64(littleEndian: record.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    }
    static func channel(_ record: UnsafeRawPointer) -> UInt32 {
        unsafe UInt32(littleEndian: record.loadUnaligned(fromByteOffset: 16, as: UInt32.self))
    }
    static func headersLength(_ record: UnsafeRawPointer) -> Int {
        unsafe Int(UInt32(littleEndian: record.loadUnaligned(fromByteOffset: 20, as: UInt32.self)))
    }
    static func sequence(_ record: UnsafeRawPointer) -> UInt64 {
        unsafe UInt64(littleEndian: record.loadUnaligned(fromByteOffset: 24, as: UInt64.self))
    }
    static func timestamp(_ record: UnsafeRawPointer) -> Int64 {
        unsafe Int64(littleEndian: record.loadUnaligned(fromByteOffset: 32, as: Int64.self))
    }

    /// Writes the 40 bytes of a header at `record`, which has room for them.
    @inline(__always)
    static func writeHeader(
        at record: UnsafeMutableRawPointer, length: Int, kind: Kind, replyLength: Int = 0, position: UInt64,
        channel: UInt32 = 0, headersLength: Int = 0, sequence: UInt64 = 0, timestamp: Int64 = 0
    ) {
        let first =
            UInt64(UInt32(truncatingIfNeeded: length)) | UInt64(kind.rawValue) << 32
            | UInt64(UInt16(truncatingIfNeeded: replyLength)) << 48
        let third = UInt64(channel) | UInt64(UInt32(truncatingIfNeeded: headersLength)) << 32
        unsafe record.storeBytes(of: first.littleEndian, as: UInt64.self)
        unsafe record.storeBytes(of: position.littleEndian, toByteOffset: 8, as: UInt64.self)
        unsafe record.storeBytes(of: third.littleEndian, toByteOffset: 16, as: UInt64.self)
        unsafe record.storeBytes(of: sequence.littleEndian, toByteOffset: 24, as: UInt64.self)
        unsafe record.storeBytes(of: timestamp.littleEndian, toByteOffset: 32, as: Int64.self)
    }

    /// Whether the record at `record` lies whole within the `available` bytes from there, with inner
    /// lengths that fit. Nothing of a record may be read before this said yes.
    static func isWhole(_ record: UnsafeRawPointer, available: Int) -> Bool {
        guard available >= headerSize else { return false }
        let length = unsafe length(record)
        guard length >= headerSize, length <= available, length <= maximumSize else { return false }
        return unsafe headerSize + replyLength(record) + headersLength(record) <= length
    }

    /// Bytes that a message counts for a limit: the length of its MsgProto (nats-streaming.md
    /// section 1: sequence 1, subject 2, reply 3, data 4, timestamp 5; fields that are empty or zero
    /// are absent), and `overhead` per message. Headers, which MsgProto has not, count their length.
    @inline(__always)
    static func accountedSize(
        subjectLength: Int, sequence: UInt64, timestamp: Int64, reply: Int, headers: Int, payload: Int,
        overhead: Int
    ) -> Int {
        var size = overhead &+ headers
        size &+= 1 &+ varintSize(sequence)
        size &+= 1 &+ varintSize(UInt64(truncatingIfNeeded: subjectLength)) &+ subjectLength
        if reply > 0 { size &+= 1 &+ varintSize(UInt64(truncatingIfNeeded: reply)) &+ reply }
        if payload > 0 { size &+= 1 &+ varintSize(UInt64(truncatingIfNeeded: payload)) &+ payload }
        if timestamp != 0 { size &+= 1 &+ varintSize(UInt64(bitPattern: timestamp)) }
        return size
    }

    /// The same for a message record.
    static func accountedSize(_ record: UnsafeRawPointer, subjectLength: Int, overhead: Int) -> Int {
        let reply = unsafe replyLength(record)
        let headers = unsafe headersLength(record)
        return unsafe accountedSize(
            subjectLength: subjectLength, sequence: sequence(record), timestamp: timestamp(record),
            reply: reply,
            headers: headers, payload: length(record) - headerSize - reply - headers, overhead: overhead)
    }

    /// Bytes of a protobuf varint: one per started group of 7 bits.
    @inline(__always)
    private static func varintSize(_ value: UInt64) -> Int { (70 &- (value | 1).leadingZeroBitCount) / 7 }
}

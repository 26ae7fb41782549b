import BrokerProtocol

/// One operation of the server, read in place (nats-core.md 1.3). The views are valid as long as the input.
@unsafe package enum ServerOperation {
    /// `MSG` or `HMSG`.
    case message(ServerMessage)
    /// `INFO` and its JSON.
    case info(UnsafeRawBufferPointer)
    /// `-ERR` and its text, without the quotes.
    case error(UnsafeRawBufferPointer)
    /// `PING`.
    case ping
    /// `PONG`.
    case pong
    /// `+OK`.
    case ok
}

/// A message as it stands in the input (nats-core.md 1.3).
@unsafe package struct ServerMessage {
    /// The subject that it was published to.
    package var subject = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// The subscription: this client numbers them.
    package var subscriptionID: UInt64 = 0
    /// Where an answer goes; empty for none.
    package var reply = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// The header block, version line and final blank line included; empty for none.
    package var headers = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// The payload.
    package var payload = unsafe UnsafeRawBufferPointer(start: nil, count: 0)

    /// Whether this is the server's notice that nobody listens (nats-core.md 1.8).
    package var saysNoResponders: Bool {
        unsafe payload.isEmpty && headers.count >= 16 && headers.starts(with: "NATS/1.0 503".utf8)
    }
}

/// What the server sent is not the protocol. The connection is of no use any more.
package struct ProtocolViolation: Error, Hashable, Sendable {
    /// What was wrong.
    package let reason: String
}

/// Reads the operations of a server off the front of a byte stream.
///
/// It keeps no state: an operation that is not there as a whole is read again when more has come. Invariant: every
/// index is checked against the input before it is used, and no length of the input is trusted beyond it.
package enum ServerOperationReader {
    /// Bytes of a control line at most. An INFO with many `connect_urls` is the longest one.
    package static let maxControlLine = 256 << 10
    /// Bytes of one message at most, headers included: more than any server allows.
    package static let maxMessage = 256 << 20

    /// Reads the operation that begins at `start`.
    ///
    /// - Returns: The operation and the index behind it; nil when it is not complete yet.
    @unsafe package static func read(
        _ input: UnsafeRawBufferPointer, from start: Int
    ) throws(ProtocolViolation) -> (operation: ServerOperation, end: Int)? {
        guard let lineFeed = unsafe lineEnd(input, from: start) else {
            guard input.count - start <= maxControlLine else {
                throw ProtocolViolation(reason: "a control line of more than \(maxControlLine) bytes")
            }
            return nil
        }
        let lineEnd =
            unsafe lineFeed > start && input[lineFeed - 1] == UInt8(ascii: "\r") ? lineFeed - 1 : lineFeed
        let line = unsafe UnsafeRawBufferPointer(rebasing: input[start..<lineEnd])
        guard line.count >= 3 else { throw ProtocolViolation(reason: "an operation of \(line.count) bytes") }
        switch unsafe line[0] | 0x20 {
        case UInt8(ascii: "m") where unsafe isOperation(line, "msg "):
            return try unsafe message(
                input, line: line, arguments: 4, headers: false, bodyStart: lineFeed + 1)
        case UInt8(ascii: "h") where unsafe isOperation(line, "hmsg "):
            return try unsafe message(input, line: line, arguments: 5, headers: true, bodyStart: lineFeed + 1)
        case UInt8(ascii: "p") where unsafe isOperation(line, "ping"): return unsafe (.ping, lineFeed + 1)
        case UInt8(ascii: "p") where unsafe isOperation(line, "pong"): return unsafe (.pong, lineFeed + 1)
        case UInt8(ascii: "+") where unsafe isOperation(line, "+ok"): return unsafe (.ok, lineFeed + 1)
        case UInt8(ascii: "i") where unsafe isOperation(line, "info"):
            return unsafe (.info(trimmed(line, from: 4)), lineFeed + 1)
        case UInt8(ascii: "-") where unsafe isOperation(line, "-err"):
            return unsafe (.error(unquoted(trimmed(line, from: 4))), lineFeed + 1)
        default:
            let shown = unsafe String(decoding: line.prefix(40), as: UTF8.self)
            throw ProtocolViolation(reason: "unknown operation \(shown.debugDescription)")
        }
    }

    /// Reads `MSG subject sid [reply] size` or `HMSG subject sid [reply] header-size total-size` and what follows.
    private static func message(
        _ input: UnsafeRawBufferPointer, line: UnsafeRawBufferPointer, arguments firstArgument: Int,
        headers: Bool,
        bodyStart: Int
    ) throws(ProtocolViolation) -> (operation: ServerOperation, end: Int)? {
        // Up to five arguments, as pairs of indices into the line; a sixth is noticed and refused.
        var starts: (Int, Int, Int, Int, Int) = (0, 0, 0, 0, 0)
        var ends: (Int, Int, Int, Int, Int) = (0, 0, 0, 0, 0)
        var count = 0
        var index = firstArgument
        while index < line.count {
            if unsafe isBlank(line[index]) {
                index += 1
                continue
            }
            let start = index
            while unsafe index < line.count && !isBlank(line[index]) { index += 1 }
            switch count {
            case 0: (starts.0, ends.0) = (start, index)
            case 1: (starts.1, ends.1) = (start, index)
            case 2: (starts.2, ends.2) = (start, index)
            case 3: (starts.3, ends.3) = (start, index)
            case 4: (starts.4, ends.4) = (start, index)
            default: throw ProtocolViolation(reason: "a message with too many arguments")
            }
            count += 1
        }
        let sizes = headers ? 2 : 1
        guard count == 2 + sizes || count == 3 + sizes else {
            throw ProtocolViolation(reason: "a message with \(count) arguments")
        }
        let hasReply = count == 3 + sizes
        let (firstSize, secondSize) =
            hasReply
            ? ((starts.3, ends.3), (starts.4, ends.4)) : ((starts.2, ends.2), (starts.3, ends.3))
        guard let first = unsafe number(line, firstSize), first <= UInt64(maxMessage),
            let sid = unsafe number(line, (starts.1, ends.1))
        else {
            throw ProtocolViolation(reason: "a message whose subscription or size is no number, or too large")
        }
        var headerSize = 0
        var total = Int(first)
        if headers {
            guard let second = unsafe number(line, secondSize), second <= UInt64(maxMessage), first <= second
            else {
                throw ProtocolViolation(reason: "a message with headers larger than itself, or too large")
            }
            headerSize = total
            total = Int(second)
        }
        guard input.count - bodyStart >= total + 2 else { return nil }
        let bodyEnd = bodyStart + total
        guard unsafe input[bodyEnd] == UInt8(ascii: "\r"), unsafe input[bodyEnd + 1] == UInt8(ascii: "\n")
        else {
            throw ProtocolViolation(reason: "a message that does not end where its size says")
        }
        var message = unsafe ServerMessage()
        unsafe message.subject = UnsafeRawBufferPointer(rebasing: line[starts.0..<ends.0])
        unsafe message.subscriptionID = sid
        if hasReply { unsafe message.reply = UnsafeRawBufferPointer(rebasing: line[starts.2..<ends.2]) }
        unsafe message.headers = UnsafeRawBufferPointer(rebasing: input[bodyStart..<bodyStart + headerSize])
        unsafe message.payload = UnsafeRawBufferPointer(rebasing: input[bodyStart + headerSize..<bodyEnd])
        return unsafe (.message(message), bodyEnd + 2)
    }

    private static func lineEnd(_ input: UnsafeRawBufferPointer, from start: Int) -> Int? {
        var index = start
        while index < input.count {
            if unsafe input[index] == UInt8(ascii: "\n") { return index }
            index += 1
        }
        return nil
    }

    /// Whether the line begins with `name`, given in lower case.
    private static func isOperation(_ line: UnsafeRawBufferPointer, _ name: StaticString) -> Bool {
        let count = name.utf8CodeUnitCount
        guard line.count >= count else { return false }
        for index in 0..<count {
            let byte = unsafe line[index]
            let lowered = byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
            // A tab separates as well as a blank.
            let normal = lowered == UInt8(ascii: "\t") ? UInt8(ascii: " ") : lowered
            if unsafe normal != name.utf8Start[index] { return false }
        }
        return true
    }

    private static func number(_ line: UnsafeRawBufferPointer, _ range: (Int, Int)) -> UInt64? {
        guard range.1 > range.0, range.1 - range.0 <= 18 else { return nil }
        var value: UInt64 = 0
        for index in range.0..<range.1 {
            let digit = unsafe line[index] &- UInt8(ascii: "0")
            guard digit <= 9 else { return nil }
            value = value &* 10 &+ UInt64(digit)
        }
        return value
    }

    private static func trimmed(_ line: UnsafeRawBufferPointer, from start: Int) -> UnsafeRawBufferPointer {
        var first = start
        var last = line.count
        while unsafe first < last && isBlank(line[first]) { first += 1 }
        while unsafe last > first && isBlank(line[last - 1]) { last -= 1 }
        return unsafe UnsafeRawBufferPointer(rebasing: line[first..<last])
    }

    private static func unquoted(_ text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        guard text.count >= 2, unsafe text[0] == UInt8(ascii: "'"),
            unsafe text[text.count - 1] == UInt8(ascii: "'")
        else { return unsafe text }
        return unsafe UnsafeRawBufferPointer(rebasing: text[1..<text.count - 1])
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
}

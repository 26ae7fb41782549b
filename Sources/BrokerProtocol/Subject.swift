/// Rules for subjects, channel names and client ids. Everything is bytes: no Unicode, no case folding.
public enum Subject {
    @usableFromInline static let dot = UInt8(ascii: ".")
    @usableFromInline static let star = UInt8(ascii: "*")
    @usableFromInline static let greater = UInt8(ascii: ">")

    /// True for a subject that one can publish to under pedantic rules: tokens joined by `.`, none empty,
    /// none just `*` or `>` (nats-core.md 1.5). Both are plain characters inside a longer token.
    public static func isValidLiteral(_ subject: UnsafeRawBufferPointer) -> Bool {
        unsafe kind(of: subject) == .literal
    }

    /// True for a subject that one can subscribe to: as a literal, and `*` may stand for a token, `>` for
    /// the last one (nats-core.md 1.5).
    public static func isValidSubscription(_ subject: UnsafeRawBufferPointer) -> Bool {
        unsafe kind(of: subject) != .invalid
    }

    /// What a subject is when one subscribes to it.
    public enum Kind: Sendable {
        /// No token is a wildcard.
        case literal
        /// At least one token is `*` or `>`, in a legal place.
        case wildcard
        /// An empty token, a blank, or `>` before the last token.
        case invalid
    }

    /// What `subject` is when one subscribes to it (nats-core.md 1.5).
    public static func kind(of subject: UnsafeRawBufferPointer) -> Kind {
        var kind = Kind.literal
        var tokenStart = 0
        var index = 0
        while true {
            let atEnd = index == subject.count
            if unsafe atEnd || subject[index] == dot {
                let length = index - tokenStart
                if length == 0 { return .invalid }
                if length == 1 {
                    let only = unsafe subject[tokenStart]
                    if only == greater, !atEnd { return .invalid }
                    if only == greater || only == star { kind = .wildcard }
                }
                if atEnd { return kind }
                tokenStart = index + 1
            } else if isBlank(unsafe subject[index]) {
                return .invalid
            }
            index += 1
        }
    }

    /// True when a token of `subject` is empty, also for an empty subject: such a subject matches nothing
    /// (nats-core.md 1.5).
    @inlinable
    public static func hasEmptyToken(_ subject: UnsafeRawBufferPointer) -> Bool {
        var previous = dot
        for index in 0..<subject.count {
            let byte = unsafe subject[index]
            if byte == dot, previous == dot { return true }
            previous = byte
        }
        return previous == dot
    }

    /// True when `subject`, taken literally, matches the valid subscription subject `pattern`
    /// (nats-core.md 1.5). A subject with an empty token matches nothing.
    public static func matches(_ subject: UnsafeRawBufferPointer, pattern: UnsafeRawBufferPointer) -> Bool {
        if unsafe hasEmptyToken(subject) { return false }
        var s = 0
        var p = 0
        while p < pattern.count, s < subject.count {
            let patternEnd = unsafe tokenEnd(pattern, from: p)
            let subjectEnd = unsafe tokenEnd(subject, from: s)
            let length = patternEnd - p
            if length == 1, unsafe pattern[p] == greater, patternEnd == pattern.count { return true }
            let isStar = unsafe length == 1 && pattern[p] == star
            if !isStar {
                guard length == subjectEnd - s else { return false }
                for offset in 0..<length
                where unsafe pattern[p + offset] != subject[s + offset] {
                    return false
                }
            }
            p = patternEnd + 1
            s = subjectEnd + 1
        }
        return p >= pattern.count && s >= subject.count
    }

    /// Index of the `.` that ends the token beginning at `start`, or the subject's length.
    private static func tokenEnd(_ subject: UnsafeRawBufferPointer, from start: Int) -> Int {
        var index = start
        while index < subject.count, unsafe subject[index] != dot { index += 1 }
        return index
    }

    /// True for SPACE, TAB, CR, LF and FF, which no subject may have.
    static func isBlank(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D || byte == 0x0C
    }

    /// True for a channel of NATS Streaming: not empty, no `/`, no `*` or `>` anywhere, no empty token;
    /// anything else is allowed, also blanks (nats-streaming.md 1.3).
    public static func isValidChannel(_ name: UnsafeRawBufferPointer) -> Bool {
        for index in 0..<name.count {
            let byte = unsafe name[index]
            if byte == UInt8(ascii: "/") || byte == star || byte == greater { return false }
        }
        return unsafe !hasEmptyToken(name)
    }

    /// True for a client id of NATS Streaming: ASCII letters, digits, `_` and `-`, at least one
    /// (nats-streaming.md 1.3).
    public static func isValidClientID(_ id: UnsafeRawBufferPointer) -> Bool {
        for index in 0..<id.count {
            switch unsafe id[index] {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
                continue
            default: return false
            }
        }
        return id.count > 0
    }
}

/// The same rules for bytes that are owned.
extension Subject {
    /// See `kind(of:)` over memory.
    public static func kind(of subject: [UInt8]) -> Kind {
        unsafe subject.withUnsafeBytes { unsafe kind(of: $0) }
    }

    /// See `matches(_:pattern:)` over memory.
    public static func matches(_ subject: [UInt8], pattern: [UInt8]) -> Bool {
        unsafe subject.withUnsafeBytes { subject in
            unsafe pattern.withUnsafeBytes { pattern in unsafe matches(subject, pattern: pattern) }
        }
    }

    /// See `isValidChannel(_:)` over memory.
    public static func isValidChannel(_ name: [UInt8]) -> Bool {
        unsafe name.withUnsafeBytes { unsafe isValidChannel($0) }
    }

    /// See `isValidClientID(_:)` over memory.
    public static func isValidClientID(_ id: [UInt8]) -> Bool {
        unsafe id.withUnsafeBytes { unsafe isValidClientID($0) }
    }
}

/// Finds the operations in a client's byte stream (nats-core.md 1.1, 1.2).
///
/// Whole operations are parsed in place. What is left of an incomplete one is carried over to the next
/// input in memory of the parser's own, so that any split of the stream gives the same operations.
/// The carry is bounded: by the control line's limit until the line is complete, then by the size that the
/// line announced; blanks before the arguments and the rest of a `PING` line are never kept.
///
/// Invariants: pointers never pass the end of the input or of the carry; a payload's end is computed only
/// after its size (at most nine digits, so no overflow) was held against the limit.
@safe public struct OperationParser: ~Copyable {
    /// What a call of `next` found.
    public enum Outcome: Equatable, Sendable {
        /// A whole operation.
        case operation
        /// The input is used up.
        case needMore
        /// The connection cannot go on.
        case failure(ParseFailure)
    }

    private enum State {
        /// Between operations, or inside a line whose bytes are in the carry.
        case line
        /// After the keyword of a line whose rest does not matter.
        case skippingLine(Operation.Kind)
        /// The line is in the carry; the operation has this many bytes in all.
        case payload(total: Int)
        /// The operation in the carry was handed out.
        case handedOut
    }

    private let limits: OperationLimits
    private var state = State.line
    private var carry = ByteStore()

    /// A parser at the beginning of a stream.
    public init(limits: OperationLimits) {
        self.limits = limits
    }

    /// True when the next byte begins an operation.
    public var isBetweenOperations: Bool {
        switch state {
        case .line: carry.count == 0
        case .handedOut: true
        default: false
        }
    }

    /// Bytes of an incomplete operation that the parser holds.
    public var carriedBytes: Int { carry.count }

    /// Parses the next operation into `operation` and moves `input` past it.
    /// After a failure the parser must not be used again.
    public mutating func next(_ input: inout InputCursor, into operation: inout Operation) -> Outcome {
        if case .line = state, carry.count == 0 {
            guard unsafe input.position != input.end else { return .needMore }
            let line = unsafe LineParser(limits: limits, start: input.position, end: input.end)
            let step = line.parse(into: &operation)
            switch step {
            case .complete(let length):
                unsafe input.position += length
                return .operation
            case .failure(let failure):
                return .failure(failure)
            default:
                return begin(step, &input, &operation)
            }
        }
        return resume(&input, &operation)
    }

    /// Stores the beginning of an operation that does not end in this input.
    private mutating func begin(
        _ step: LineParser.Step, _ input: inout InputCursor, _ operation: inout Operation
    ) -> Outcome {
        switch step {
        case .needsLine(let keptPrefix):
            // Blanks after the keyword are not kept, however many there are.
            unsafe carry.append(
                UnsafeRawBufferPointer(start: input.position, count: min(keptPrefix, input.count)))
            unsafe input.position += input.count
            return .needMore
        case .needsPayload(let total):
            state = .payload(total: total)
            unsafe carry.append(input.rest)
            input.skipAll()
            return .needMore
        case .skipsLine(let kind, let length):
            unsafe input.position += length
            state = .skippingLine(kind)
            return resume(&input, &operation)
        case .complete, .failure:
            preconditionFailure("the caller handles what needs no carry")
        }
    }

    private mutating func resume(_ input: inout InputCursor, _ operation: inout Operation) -> Outcome {
        switch state {
        case .handedOut:
            carry.removeAll()
            state = .line
            return next(&input, into: &operation)

        case .skippingLine(let kind):
            guard let lineEnd = unsafe firstLineFeed(input.position, input.end) else {
                input.skipAll()
                return .needMore
            }
            unsafe input.position = lineEnd + 1
            state = .line
            operation.kind = kind
            return .operation

        case .line:
            return resumeLine(&input, &operation)

        case .payload(let total):
            let missing = total - carry.count
            let taken = min(missing, input.count)
            unsafe carry.append(UnsafeRawBufferPointer(start: input.position, count: taken))
            unsafe input.position += taken
            if taken < missing {
                // Everything but the LF is there: a wrong CR shows now.
                if missing - taken == 1, unsafe carry.bytes[total - 2] != 0x0D {
                    return .failure(.unknownOperation)
                }
                return .needMore
            }
            return parseCarry(&input, &operation)
        }
    }

    /// Adds input to a line in the carry until the line ends, then parses it.
    private mutating func resumeLine(
        _ input: inout InputCursor, _ operation: inout Operation
    ) -> Outcome {
        while unsafe input.position != input.end {
            // A few bytes at a time until the keyword is known, then up to the line's end.
            let lineEnd = unsafe firstLineFeed(input.position, input.end)
            let available = unsafe (lineEnd.map { unsafe $0 + 1 } ?? input.end) - input.position
            let taken = carry.count < 8 ? 1 : min(available, limits.controlLine + 2)
            unsafe carry.append(UnsafeRawBufferPointer(start: input.position, count: taken))
            unsafe input.position += taken
            switch parseCarry(&input, &operation) {
            case .operation: return .operation
            case .failure(let failure): return .failure(failure)
            case .needMore: continue
            }
        }
        return .needMore
    }

    /// Parses what the carry holds; `.needMore` leaves the state set for what is missing.
    private mutating func parseCarry(
        _ input: inout InputCursor, _ operation: inout Operation
    ) -> Outcome {
        let line = unsafe LineParser(limits: limits, start: carry.start, end: carry.start + carry.count)
        switch line.parse(into: &operation) {
        case .complete:
            state = .handedOut
            return .operation
        case .failure(let failure):
            return .failure(failure)
        case .needsLine(let keptPrefix):
            carry.truncate(to: min(keptPrefix, carry.count))
            return .needMore
        case .needsPayload(let total):
            state = .payload(total: total)
            carry.reserve(total)
            return resume(&input, &operation)
        case .skipsLine(let kind, _):
            carry.removeAll()
            state = .skippingLine(kind)
            return resume(&input, &operation)
        }
    }
}

/// The first LF in the range, or nil.
@inline(__always)
func firstLineFeed(_ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>) -> UnsafePointer<UInt8>? {
    var position = unsafe start
    while unsafe end - position >= 8 {
        let word = unsafe UnsafeRawPointer(position).loadUnaligned(as: UInt64.self).littleEndian
        // Zero bytes of `word ^ LF…` are line feeds; the lowest one found is exact.
        let difference = word ^ 0x0A0A_0A0A_0A0A_0A0A
        let found = (difference &- 0x0101_0101_0101_0101) & ~difference & 0x8080_8080_8080_8080
        if found != 0 { return unsafe position + (found.trailingZeroBitCount >> 3) }
        unsafe position += 8
    }
    while unsafe position != end {
        if unsafe position.pointee == 0x0A { return unsafe position }
        unsafe position += 1
    }
    return nil
}

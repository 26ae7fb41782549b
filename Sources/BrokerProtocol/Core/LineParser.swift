/// Parses one operation that begins at `start`, as far as it is there (nats-core.md 1.1, 1.2, 1.4, 1.7).
///
/// Reads only `start..<end`, which is not empty.
@safe struct LineParser {
    enum Step: Equatable {
        /// The operation is whole and has this many bytes.
        case complete(length: Int)
        /// The line does not end here; only this many bytes from the front need to be kept.
        case needsLine(keptPrefix: Int)
        /// The line is whole, the payload is not: the operation has this many bytes in all.
        case needsPayload(total: Int)
        /// The operation is complete at the next LF and has no arguments; the keyword took `length` bytes.
        case skipsLine(Operation.Kind, length: Int)
        case failure(ParseFailure)
    }

    private enum Separator { case blank, endOfLine, outOfInput }

    let limits: OperationLimits
    let start: UnsafePointer<UInt8>
    let end: UnsafePointer<UInt8>

    @inline(__always)
    func parse(into operation: inout Operation) -> Step {
        if unsafe end - start > 4 {
            let word = unsafe UnsafeRawPointer(start).loadUnaligned(as: UInt32.self).littleEndian
            // "PUB " with the case folded; the blank is not changed by it.
            if word | 0x0020_2020 == 0x2062_7570 {
                return unsafe parsePublish(start + 4, headers: false, into: &operation)
            }
        }
        return parseKeyword(into: &operation)
    }

    // MARK: Keywords

    private func parseKeyword(into operation: inout Operation) -> Step {
        let available = unsafe end - start
        let first = unsafe start.pointee
        switch first {
        case UInt8(ascii: "P"), UInt8(ascii: "p"):
            guard available > 1 else { return .needsLine(keptPrefix: 1) }
            switch unsafe start[1] | 0x20 {
            case UInt8(ascii: "u"): return parseOperation("pub", .publish, into: &operation)
            case UInt8(ascii: "i"): return parseBareWord("ping", .ping)
            case UInt8(ascii: "o"): return parseBareWord("pong", .pong)
            default: return .failure(.unknownOperation)
            }
        case UInt8(ascii: "H"), UInt8(ascii: "h"):
            return parseOperation("hpub", .publish, into: &operation)
        case UInt8(ascii: "S"), UInt8(ascii: "s"):
            return parseOperation("sub", .subscribe, into: &operation)
        case UInt8(ascii: "U"), UInt8(ascii: "u"):
            return parseOperation("unsub", .unsubscribe, into: &operation)
        case UInt8(ascii: "C"), UInt8(ascii: "c"):
            return parseOperation("connect", .connect, into: &operation)
        case UInt8(ascii: "I"), UInt8(ascii: "i"):
            return parseOperation("info", .info, into: &operation)
        case UInt8(ascii: "+"): return parseBareWord("+ok", .ok)
        case UInt8(ascii: "-"): return parseOperation("-err", .error, into: &operation)
        default: return .failure(.unknownOperation)
        }
    }

    /// How many bytes of `keyword` (lower case) are there; nil when another byte is. The first byte was
    /// matched by the caller, so folding cannot take a control character for a sign.
    private func matched(_ keyword: StaticString) -> Int? {
        let available = unsafe min(end - start, keyword.utf8CodeUnitCount)
        var index = 1
        while index < available {
            guard unsafe start[index] | 0x20 == keyword.utf8Start[index] else { return nil }
            index += 1
        }
        return available
    }

    private func parseBareWord(_ keyword: StaticString, _ kind: Operation.Kind) -> Step {
        guard let count = matched(keyword) else { return .failure(.unknownOperation) }
        guard count == keyword.utf8CodeUnitCount else { return .needsLine(keptPrefix: count) }
        return .skipsLine(kind, length: count)
    }

    private func parseOperation(
        _ keyword: StaticString, _ kind: Operation.Kind, into operation: inout Operation
    ) -> Step {
        guard let count = matched(keyword) else { return .failure(.unknownOperation) }
        guard count == keyword.utf8CodeUnitCount, unsafe end - start > count else {
            return .needsLine(keptPrefix: count)
        }
        var position = unsafe start + count
        // CONNECT and INFO take their JSON without a blank as well.
        if kind != .connect, kind != .info {
            guard unsafe isInnerBlank(position.pointee) else { return .failure(.unknownOperation) }
            unsafe position += 1
        }
        switch kind {
        case .publish: return unsafe parsePublish(position, headers: count == 4, into: &operation)
        case .subscribe: return unsafe parseSubscribe(position, into: &operation)
        case .unsubscribe: return unsafe parseUnsubscribe(position, into: &operation)
        default: return unsafe parseRest(position, kind, into: &operation)
        }
    }

    // MARK: Arguments

    @inline(__always)
    private func isInnerBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    /// Moves past blanks to the first argument byte.
    @inline(__always)
    private func skipBlanks(_ position: inout UnsafePointer<UInt8>) {
        while unsafe position != end && isInnerBlank(position.pointee) { unsafe position += 1 }
    }

    /// A line without its end: what to keep, or that it is too long already.
    private func unfinished(_ firstArgument: UnsafePointer<UInt8>) -> Step {
        var length = unsafe end - firstArgument
        if length == 0 {
            // Nothing but blanks yet; one of them stands for all.
            let keyword = unsafe firstArgument - start
            var kept = keyword
            while kept > 1, unsafe isInnerBlank(start[kept - 1]), unsafe isInnerBlank(start[kept - 2]) {
                kept -= 1
            }
            return .needsLine(keptPrefix: kept)
        }
        if unsafe end[-1] == 0x0D { length -= 1 }
        if length > limits.controlLine { return .failure(.controlLineTooLong) }
        return unsafe .needsLine(keptPrefix: end - start)
    }

    /// Takes one token, the blanks behind it, and the line's end if it comes next.
    /// Then `position` is at the next token, or past the LF.
    @inline(__always)
    private func token(
        _ position: inout UnsafePointer<UInt8>, _ bytes: inout UnsafeRawBufferPointer
    ) -> Separator {
        let tokenStart = unsafe position
        var cursor = unsafe position
        scan: while true {
            while unsafe end - cursor >= 8 {
                let word = unsafe UnsafeRawPointer(cursor).loadUnaligned(as: UInt64.self).littleEndian
                // Bytes below 0x21 set their top bit; the lowest one found is exact.
                let found =
                    (word &- 0x2121_2121_2121_2121) & ~word & 0x8080_8080_8080_8080
                if found == 0 {
                    unsafe cursor += 8
                    continue
                }
                unsafe cursor += found.trailingZeroBitCount >> 3
                if unsafe isSeparator(cursor.pointee) { break scan }
                unsafe cursor += 1
            }
            while unsafe cursor != end {
                if unsafe isSeparator(cursor.pointee) { break scan }
                unsafe cursor += 1
            }
            return .outOfInput
        }
        unsafe bytes = UnsafeRawBufferPointer(start: tokenStart, count: cursor - tokenStart)
        while unsafe cursor != end {
            let byte = unsafe cursor.pointee
            unsafe cursor += 1
            if byte == 0x0A {
                unsafe position = cursor
                return .endOfLine
            }
            if !isSeparator(byte) {
                unsafe position = cursor - 1
                return .blank
            }
        }
        return .outOfInput
    }

    @inline(__always)
    private func isSeparator(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x0D || byte == 0x0A || byte == 0x09
    }

    /// True when the arguments of the line that ended before `next` are too long.
    @inline(__always)
    private func isTooLong(_ firstArgument: UnsafePointer<UInt8>, _ next: UnsafePointer<UInt8>) -> Bool {
        var length = unsafe next - firstArgument - 1
        if unsafe length > 0 && next[-2] == 0x0D { length -= 1 }
        return length > limits.controlLine
    }

    /// A size: one to nine digits.
    @inline(__always)
    private func size(_ text: UnsafeRawBufferPointer) -> Int? {
        guard text.count > 0, text.count <= 9 else { return nil }
        var value = 0
        var index = 0
        while index < text.count {
            let digit = unsafe text[index] &- 0x30
            guard digit <= 9 else { return nil }
            value = value &* 10 &+ Int(digit)
            index &+= 1
        }
        return value
    }

    // MARK: Operations

    @inline(__always)
    private func parsePublish(
        _ arguments: UnsafePointer<UInt8>, headers: Bool, into operation: inout Operation
    ) -> Step {
        var position = unsafe arguments
        unsafe skipBlanks(&position)
        let firstArgument = unsafe position
        var second = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        var third = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        var fourth = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        var count = 1
        var separator = unsafe token(&position, &operation.subject)
        if separator == .blank {
            separator = unsafe token(&position, &second)
            count = 2
        }
        if separator == .blank {
            separator = unsafe token(&position, &third)
            count = 3
        }
        if separator == .blank, headers {
            separator = unsafe token(&position, &fourth)
            count = 4
        }
        switch separator {
        case .outOfInput: return unsafe unfinished(firstArgument)
        case .blank: return .failure(.badArguments(operation: .publish))
        case .endOfLine: break
        }
        if unsafe isTooLong(firstArgument, position) { return .failure(.controlLineTooLong) }

        // The last one or two arguments are sizes, what is between them and the subject is the reply.
        let sizeCount = headers ? 2 : 1
        let hasReply = count == sizeCount + 2
        guard hasReply || count == sizeCount + 1 else {
            return .failure(.badArguments(operation: .publish))
        }
        unsafe operation.reply = hasReply ? second : UnsafeRawBufferPointer(start: nil, count: 0)
        let lastSize: UnsafeRawBufferPointer
        let firstSize: UnsafeRawBufferPointer
        if headers {
            unsafe firstSize = hasReply ? third : second
            unsafe lastSize = hasReply ? fourth : third
        } else {
            unsafe firstSize = hasReply ? third : second
            unsafe lastSize = firstSize
        }
        guard let total = unsafe size(lastSize) else {
            return .failure(.badArguments(operation: .publish))
        }
        if headers {
            guard let headerSize = unsafe size(firstSize), headerSize <= total else {
                return .failure(.badArguments(operation: .publish))
            }
            operation.headerSize = headerSize
        } else {
            operation.headerSize = -1
        }
        if total > limits.payload { return .failure(.payloadTooLarge(size: total)) }

        operation.kind = .publish
        let lineLength = unsafe position - start
        let available = unsafe end - position
        if available < total + 2 {
            if unsafe available == total + 1 && position[total] != 0x0D {
                return .failure(.unknownOperation)
            }
            return .needsPayload(total: lineLength + total + 2)
        }
        guard unsafe position[total] == 0x0D && position[total + 1] == 0x0A else {
            return .failure(.unknownOperation)
        }
        unsafe operation.payload = UnsafeRawBufferPointer(start: position, count: total)
        guard let sizesStart = firstSize.baseAddress, let lastStart = lastSize.baseAddress else {
            preconditionFailure("a size that was read has an address")
        }
        unsafe operation.sizes = UnsafeRawBufferPointer(
            start: sizesStart, count: lastStart + lastSize.count - sizesStart)
        // One blank between the arguments and CR LF behind them: what follows the subject can be sent on.
        var isPlain =
            unsafe lastStart + lastSize.count + 2 == UnsafeRawPointer(position) && position[-2] == 0x0D
        if headers { isPlain = unsafe isPlain && areOneBlankApart(firstSize, lastStart) }
        if hasReply { isPlain = unsafe isPlain && areOneBlankApart(second, sizesStart) }
        if isPlain, let tailStart = unsafe hasReply ? second.baseAddress : sizesStart {
            unsafe operation.tail = UnsafeRawBufferPointer(
                start: tailStart, count: UnsafeRawPointer(position) + total - tailStart)
        } else {
            unsafe operation.tail = UnsafeRawBufferPointer(start: nil, count: 0)
        }
        return .complete(length: lineLength + total + 2)
    }

    /// True when exactly one SPACE lies between `token` and `next`.
    @inline(__always)
    private func areOneBlankApart(_ token: UnsafeRawBufferPointer, _ next: UnsafeRawPointer) -> Bool {
        guard let start = token.baseAddress else { return false }
        return unsafe start + token.count + 1 == next
            && start.load(fromByteOffset: token.count, as: UInt8.self) == 0x20
    }

    private func parseSubscribe(
        _ arguments: UnsafePointer<UInt8>, into operation: inout Operation
    ) -> Step {
        var position = unsafe arguments
        unsafe skipBlanks(&position)
        let firstArgument = unsafe position
        var second = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        var third = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        var separator = unsafe token(&position, &operation.subject)
        if separator == .blank { separator = unsafe token(&position, &second) }
        if separator == .blank { separator = unsafe token(&position, &third) }
        switch separator {
        case .outOfInput: return unsafe unfinished(firstArgument)
        case .blank: return .failure(.badArguments(operation: .subscribe))
        case .endOfLine: break
        }
        if unsafe isTooLong(firstArgument, position) { return .failure(.controlLineTooLong) }
        guard second.count > 0 else { return .failure(.badArguments(operation: .subscribe)) }
        operation.kind = .subscribe
        if third.count > 0 {
            unsafe operation.queue = second
            unsafe operation.sid = third
        } else {
            unsafe operation.queue = UnsafeRawBufferPointer(start: nil, count: 0)
            unsafe operation.sid = second
        }
        return unsafe .complete(length: position - start)
    }

    private func parseUnsubscribe(
        _ arguments: UnsafePointer<UInt8>, into operation: inout Operation
    ) -> Step {
        var position = unsafe arguments
        unsafe skipBlanks(&position)
        let firstArgument = unsafe position
        var second = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        var separator = unsafe token(&position, &operation.sid)
        if separator == .blank { separator = unsafe token(&position, &second) }
        switch separator {
        case .outOfInput: return unsafe unfinished(firstArgument)
        case .blank: return .failure(.badArguments(operation: .unsubscribe))
        case .endOfLine: break
        }
        if unsafe isTooLong(firstArgument, position) { return .failure(.controlLineTooLong) }
        guard unsafe operation.sid.count > 0 else {
            return .failure(.badArguments(operation: .unsubscribe))
        }
        operation.kind = .unsubscribe
        // A maximum that is no number means "at once", as the reference takes it.
        unsafe operation.maximum = size(second) ?? 0
        return unsafe .complete(length: position - start)
    }

    /// `CONNECT`, `INFO`, `-ERR`: everything to the line's end is one argument.
    private func parseRest(
        _ arguments: UnsafePointer<UInt8>, _ kind: Operation.Kind, into operation: inout Operation
    ) -> Step {
        var position = unsafe arguments
        unsafe skipBlanks(&position)
        guard let lineEnd = unsafe firstLineFeed(position, end) else { return unsafe unfinished(position) }
        if unsafe isTooLong(position, lineEnd + 1) { return .failure(.controlLineTooLong) }
        var length = unsafe lineEnd - position
        if unsafe length > 0 && lineEnd[-1] == 0x0D { length -= 1 }
        operation.kind = kind
        unsafe operation.argument = UnsafeRawBufferPointer(start: position, count: length)
        return unsafe .complete(length: lineEnd + 1 - start)
    }
}

import NIOCore
import Synchronization

/// What a client has to send and has not handed to its connection yet.
///
/// Any task appends whole operations; the event loop takes everything at once, so that many small publishes become one
/// write. It outlives connections: what is here while there is none is sent after the reconnect.
final class Outbox: Sendable {
    /// A message to publish, checked by the caller but for its size.
    struct Publish {
        var subject: String
        var reply: String?
        /// The encoded header block; empty for none.
        var headers: [UInt8]
    }

    /// What came of an append.
    enum Outcome {
        /// Sent with the next write; `end` is the position behind it in the stream of all that was ever appended.
        /// `mustFlush`: nobody has told the loop yet.
        case appended(end: UInt64, mustFlush: Bool)
        /// `maxPendingBytes` are waiting: try again when the completion is.
        case full(Completion<Void>)
        /// Not sent, and why.
        case refused(ClientError)
    }

    private struct State {
        var bytes = ByteBuffer()
        var pings = 0
        var appended: UInt64 = 0
        var isFlushScheduled = false
        var waiting = CircularBuffer<Completion<Void>>()
        var maxPayload: Int?
        var headers = true
        var closed: ClientError?

        mutating func didAppend(since start: Int) -> Outcome {
            appended += UInt64(bytes.writerIndex - start)
            let mustFlush = !isFlushScheduled
            isFlushScheduled = true
            return .appended(end: appended, mustFlush: mustFlush)
        }
    }
    private let state = Mutex(State())
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    /// Appends `PUB` or `HPUB`. `writePayload` appends exactly `payloadSize` bytes; it runs under the lock.
    /// What keeps a session alive (acknowledgements, heartbeats) is not bounded: it is never refused for want of room.
    func publish(
        _ publish: Publish, payloadSize: Int, isBounded: Bool = true, writePayload: (inout ByteBuffer) -> Void
    ) -> Outcome {
        state.withLock { state in
            if let closed = state.closed { return .refused(closed) }
            let total = publish.headers.count + payloadSize
            if let limit = state.maxPayload, total > limit {
                return .refused(.payloadTooLarge(size: total, limit: limit))
            }
            if !publish.headers.isEmpty, !state.headers { return .refused(.headersNotSupported) }
            guard !isBounded || state.bytes.readableBytes < limit else {
                let completion = Completion<Void>()
                state.waiting.append(completion)
                return .full(completion)
            }
            let start = state.bytes.writerIndex
            state.bytes.writeString(publish.headers.isEmpty ? "PUB " : "HPUB ")
            state.bytes.writeString(publish.subject)
            if let reply = publish.reply {
                state.bytes.writeInteger(UInt8(ascii: " "))
                state.bytes.writeString(reply)
            }
            if !publish.headers.isEmpty { state.bytes.writeDecimal(publish.headers.count) }
            state.bytes.writeDecimal(total)
            state.bytes.writeString("\r\n")
            state.bytes.writeBytes(publish.headers)
            let payloadStart = state.bytes.writerIndex
            writePayload(&state.bytes)
            precondition(
                state.bytes.writerIndex - payloadStart == payloadSize,
                "the payload has the size that was announced")
            state.bytes.writeString("\r\n")
            return state.didAppend(since: start)
        }
    }

    /// Appends a line (SUB, UNSUB, PONG), whatever is waiting: what keeps the connection in order is never refused for
    /// want of room. True when the loop is to be told.
    func control(_ line: String) -> Bool {
        state.withLock { state in
            guard state.closed == nil else { return false }
            let start = state.bytes.writerIndex
            state.bytes.writeString(line)
            if line == "PING\r\n" { state.pings += 1 }
            guard case .appended(_, let mustFlush) = state.didAppend(since: start) else { return false }
            return mustFlush
        }
    }

    /// Takes everything for one write; nil when there is nothing. Called by the loop.
    func take() -> ByteBuffer? {
        let (bytes, released) = state.withLock { state -> (ByteBuffer?, CircularBuffer<Completion<Void>>) in
            state.isFlushScheduled = false
            guard state.bytes.readableBytes > 0 else { return (nil, []) }
            let bytes = state.bytes
            // The next one will be about as large.
            state.bytes = ByteBufferAllocator().buffer(capacity: min(bytes.readableBytes, limit))
            state.pings = 0
            defer { state.waiting.removeAll() }
            return (bytes, state.waiting)
        }
        for completion in released { completion.complete(.success(())) }
        return bytes
    }

    /// Puts off the flush that was asked for: there is no connection, or it is congested. The next one is up to the loop.
    func leave() {
        // Publishers go on telling nobody: the loop takes what is here when it can.
        state.withLock { $0.isFlushScheduled = true }
    }

    /// The position behind everything that was taken, and the PINGs that were not.
    var untaken: (takenEnd: UInt64, pings: Int) {
        state.withLock { ($0.appended - UInt64($0.bytes.readableBytes), $0.pings) }
    }

    /// Whether nothing is waiting.
    var isEmpty: Bool { state.withLock { $0.bytes.readableBytes == 0 } }

    /// Takes over what the server allows.
    func update(_ info: ServerInfo) {
        state.withLock {
            $0.maxPayload = info.maxPayload
            $0.headers = info.headers
        }
    }

    /// Refuses everything from now on and lets go of who waits.
    func close(_ error: ClientError) {
        let released = state.withLock { state -> CircularBuffer<Completion<Void>> in
            state.closed = error
            defer { state.waiting.removeAll() }
            return state.waiting
        }
        for completion in released { completion.complete(.failure(error)) }
    }
}

extension ByteBuffer {
    /// Appends a blank and a number in decimal.
    fileprivate mutating func writeDecimal(_ number: Int) {
        writeInteger(UInt8(ascii: " "))
        writeString(String(number))
    }
}

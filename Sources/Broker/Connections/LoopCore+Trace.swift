import BrokerProtocol

/// Trace lines of the core protocol (nats-core.md 6.5): `<<-` is what came in, `->>` what goes out, `<->` what ended.
/// Callers ask `traces` first.
extension LoopCore {
    func trace(_ connection: UnsafeMutablePointer<Connection>, _ line: String) {
        logger.trace(unsafe "\(connection.pointee.label) - \(line)")
    }

    /// The operation in `state.operation`, which the client sent.
    func traceOperation(_ connection: UnsafeMutablePointer<Connection>) {
        let operation = unsafe state.pointee.operation
        let line: String
        switch operation.kind {
        case .ping: line = "PING"
        case .pong: line = "PONG"
        case .subscribe:
            let queue = unsafe operation.queue.count == 0 ? "" : unsafe " \(text(operation.queue))"
            line = unsafe "SUB \(text(operation.subject))\(queue) \(text(operation.sid))"
        case .unsubscribe:
            line =
                unsafe "UNSUB \(text(operation.sid))\(operation.maximum > 0 ? " \(operation.maximum)" : "")"
        case .connect: line = unsafe "CONNECT \(Self.withoutSecrets(operation.argument))"
        case .info: line = "INFO"
        case .ok: line = "+OK"
        case .error: line = unsafe "-ERR \(text(operation.argument))"
        case .publish:
            let reply = unsafe operation.reply.count == 0 ? "" : unsafe " \(text(operation.reply))"
            let name = operation.headerSize < 0 ? "PUB" : "HPUB"
            line = unsafe "\(name) \(text(operation.subject))\(reply) \(text(operation.sizes))"
        }
        unsafe trace(connection, "<<- [\(line)]")
        if operation.kind == .publish { unsafe tracePayload(connection, "<<-", operation.payload) }
    }

    /// A message that was written for a receiver.
    func traceDelivery(
        _ receiver: UnsafeMutablePointer<Connection>, _ target: Target, _ message: OutgoingMessage
    ) {
        let showsHeaders = unsafe message.hasHeaders && receiver.pointee.takesHeaders
        let isStripped = message.hasHeaders && !showsHeaders
        let head = unsafe isStripped ? message.strippedHead : message.head
        let body = unsafe isStripped ? message.strippedBody : message.body
        let size = isStripped ? message.strippedSize : message.size
        let prefix = unsafe UnsafeRawBufferPointer(start: target.prefix, count: target.prefixCount)
        // `HMSG` without its first letter is `MSG`.
        var line = unsafe text(UnsafeRawBufferPointer(rebasing: prefix[(showsHeaders ? 0 : 1)...]))
        if head.count > 0 {
            line += unsafe text(UnsafeRawBufferPointer(rebasing: head.dropLast(2)))
        } else {
            // The rest of the line is the beginning of the body, which ends with the payload.
            line += unsafe text(UnsafeRawBufferPointer(rebasing: body.prefix(max(body.count - size - 2, 0))))
        }
        unsafe trace(receiver, "->> [\(line)]")
        unsafe tracePayload(receiver, "->>", UnsafeRawBufferPointer(rebasing: body.suffix(size)))
    }

    /// A subscription that is no more.
    func traceEnd(of interest: InterestPointer) {
        guard case .connection(let connection) = unsafe interest.pointee.taker else { return }
        let sid = unsafe String(decoding: interest.pointee.sid, as: UTF8.self)
        unsafe trace(connection, "<-> [DELSUB \(sid)]")
    }

    private func tracePayload(
        _ connection: UnsafeMutablePointer<Connection>, _ direction: String, _ payload: UnsafeRawBufferPointer
    ) {
        guard payload.count > 0 else { return }
        let limit = options.maxTracedMessageBytes
        guard limit > 0, payload.count > limit else {
            return unsafe trace(connection, "\(direction) MSG_PAYLOAD: [\(ErrorText.quoted(payload))]")
        }
        let start = unsafe ErrorText.quoted(UnsafeRawBufferPointer(rebasing: payload[..<limit]))
        unsafe trace(connection, "\(direction) MSG_PAYLOAD: [\(start.dropLast())...\"]")
    }

    private func text(_ bytes: UnsafeRawBufferPointer) -> String {
        unsafe String(decoding: bytes, as: UTF8.self)
    }

    /// What a CONNECT says, written anew so that no secret is in it, however it was spelled.
    private static func withoutSecrets(_ argument: UnsafeRawBufferPointer) -> String {
        guard case .object(let members) = unsafe JSONValue(parsing: argument) else {
            return "(not a JSON object)"
        }
        let secrets = ["pass", "auth_token", "jwt", "nkey", "sig", "proxy_sig"]
        var json = JSONWriter()
        json.beginObject()
        for (name, value) in members {
            let name = String(decoding: name, as: UTF8.self)
            if secrets.contains(name.lowercased()) {
                json.field(name, "[REDACTED]")
                continue
            }
            switch value {
            case .boolean(let value): json.field(name, value)
            case .number(let text): json.field(name, Int(String(decoding: text, as: UTF8.self)) ?? -1)
            case .string(let text): json.field(name, text)
            case .null, .array, .object: json.field(name, "…")
            }
        }
        json.endObject()
        return String(decoding: json.bytes, as: UTF8.self)
    }
}

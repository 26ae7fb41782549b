import BrokerClient

/// How received messages are printed.
enum MessagePrinter {
    /// One message as the nats CLI prints it: a line that says what it is, headers, a blank line, the body, a blank line.
    static func block(_ title: String, headers: Headers, payload: [UInt8]) -> [UInt8] {
        var bytes = Array((Terminal.bold(title) + "\n").utf8)
        for field in headers.fields { bytes += "\(Terminal.dim(field.name + ":")) \(field.value)\n".utf8 }
        if !headers.fields.isEmpty { bytes += "\n".utf8 }
        bytes += payload
        bytes += "\n\n".utf8
        return bytes
    }
}

import BrokerLog

/// Bytes of a string.
func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

extension Log {
    /// Appends with a payload and, where given, a reply and headers.
    @discardableResult
    func append(
        _ payload: String, to channel: ChannelID, at time: Int64 = 1_000, reply: String = "",
        headers: String = ""
    ) throws -> Appended {
        try bytes(payload).withUnsafeBytes { payload in
            try bytes(reply).withUnsafeBytes { reply in
                try bytes(headers).withUnsafeBytes { headers in
                    try append(to: channel, wallClock: time, reply: reply, headers: headers, payload: payload)
                }
            }
        }
    }

    /// Payloads of every message from `first` on, stepping the reader as needed; a gap shows as "-".
    func payloads(of channel: ChannelID, from first: UInt64 = 1) -> [String] {
        var found: [String] = []
        var next = first
        while true {
            switch read(channel, at: next) {
            case .messages(let batch):
                for index in 0..<batch.count {
                    let message = batch.message(at: index)
                    precondition(message.sequence == next, "a batch is consecutive")
                    found.append(String(decoding: message.payload, as: UTF8.self))
                    next += 1
                }
            case .missing(let after):
                found.append("-")
                next = after
            case .loading: _ = poll()
            case .end: return found
            }
        }
    }
}

/// A log in memory.
func memoryLog(seed: UInt64? = nil) throws -> Log {
    var configuration = LogConfiguration(storage: .memory)
    configuration.lateAnswerSeed = seed
    return try Log.open(configuration, clock: LogClock { 0 }, wake: {})
}

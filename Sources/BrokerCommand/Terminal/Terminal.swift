import Glibc

/// Standard output and standard error.
enum Terminal {
    /// Whether standard output is a terminal: only then are there colours.
    static var isInteractive: Bool { isatty(STDOUT_FILENO) == 1 }
    /// Whether standard error is a terminal: only then is there a progress bar.
    static var showsProgress: Bool { isatty(STDERR_FILENO) == 1 }

    /// Writes to standard output. Ends the process quietly when nobody reads it any more.
    static func out(_ text: String) { write(Array(text.utf8), to: STDOUT_FILENO) }

    /// Writes bytes to standard output.
    static func out(_ bytes: [UInt8]) { write(bytes, to: STDOUT_FILENO) }

    /// Writes to standard error.
    static func err(_ text: String) { write(Array(text.utf8), to: STDERR_FILENO) }

    /// `text` in bold, on a terminal.
    static func bold(_ text: String) -> String { isInteractive ? "\u{1B}[1m\(text)\u{1B}[0m" : text }

    /// `text` dimmed, on a terminal.
    static func dim(_ text: String) -> String { isInteractive ? "\u{1B}[2m\(text)\u{1B}[0m" : text }

    /// A line with the time of day in front, as the nats CLI logs.
    static func say(_ text: String) { out("\(WallClock.timeOfDay()) \(text)\n") }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) {
        var position = 0
        while position < bytes.count {
            let written = unsafe bytes[position...].withUnsafeBytes { rest in
                unsafe Glibc.write(descriptor, rest.baseAddress, rest.count)
            }
            if written < 0, errno == EINTR { continue }
            if written < 0, errno == EPIPE { exit(0) }
            guard written > 0 else { return }
            position += written
        }
    }

    /// Everything on standard input.
    static func readInput() throws -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe chunk.withUnsafeMutableBytes {
                unsafe read(STDIN_FILENO, $0.baseAddress, $0.count)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw CommandFailure("standard input cannot be read") }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
            guard bytes.count <= 256 << 20 else {
                throw CommandFailure("standard input has more than 256 MiB")
            }
        }
    }
}

/// The time of day and dates, in local time.
enum WallClock {
    /// Nanoseconds since 1970.
    static func now() -> Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    /// `HH:MM:SS`.
    static func timeOfDay() -> String { format(now(), date: false, nanoseconds: false) }

    /// `YYYY-MM-DD HH:MM:SS.mmm` of nanoseconds since 1970.
    static func dateAndTime(_ nanoseconds: Int64) -> String {
        format(nanoseconds, date: true, nanoseconds: true)
    }

    private static func format(_ time: Int64, date: Bool, nanoseconds: Bool) -> String {
        // A time before 1970 is rounded down too.
        var seconds = time_t(time.quotientRoundedDown(by: 1_000_000_000))
        let milliseconds = (time - Int64(seconds) * 1_000_000_000) / 1_000_000
        var parts = unsafe tm()
        unsafe localtime_r(&seconds, &parts)
        var text = ""
        if date {
            text =
                unsafe "\(Int(parts.tm_year) + 1900)-\(two(Int(parts.tm_mon) + 1))-\(two(Int(parts.tm_mday))) "
        }
        text += unsafe "\(two(Int(parts.tm_hour))):\(two(Int(parts.tm_min))):\(two(Int(parts.tm_sec)))"
        if nanoseconds { text += "." + (milliseconds < 100 ? "0" : "") + two(Int(milliseconds)) }
        return text
    }

    private static func two(_ value: Int) -> String { value < 10 ? "0\(value)" : String(value) }
}

extension Int64 {
    /// The quotient rounded towards minus infinity.
    fileprivate func quotientRoundedDown(by divisor: Int64) -> Int64 {
        let quotient = self / divisor
        return self % divisor < 0 ? quotient - 1 : quotient
    }
}

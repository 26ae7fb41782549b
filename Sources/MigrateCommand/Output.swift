import Glibc

/// Standard error, where everything goes that golang-migrate says; standard output serves the new commands alone.
struct Output: Sendable {
    /// Lines carry the time, as golang-migrate's with `-verbose`.
    var isVerbose = false
    /// Standard error is a terminal: hints and colour are welcome.
    let isTerminal = isatty(2) == 1

    private var hasColour: Bool { isTerminal && !Self.isColourRefused }

    /// `NO_COLOR` (https://no-color.org) is set and not empty, or the terminal says that it can do nothing.
    private static var isColourRefused: Bool {
        if let value = unsafe getenv("NO_COLOR"), unsafe value.pointee != 0 { return true }
        return unsafe getenv("TERM").map { unsafe String(cString: $0) } == "dumb"
    }

    /// Writes a line to standard error.
    func line(_ text: String) { line(bytes: Array(text.utf8)) }

    func line(bytes: [UInt8]) {
        Self.write(Array(prefix.utf8) + bytes + [UInt8(ascii: "\n")], to: 2)
    }

    /// Writes text without a time and as it is, for usage texts.
    func text(_ text: String) { Self.write(Array(text.utf8), to: 2) }

    /// Writes the line of an error.
    func error(_ message: [UInt8]) {
        let word = hasColour ? "\u{1B}[31merror:\u{1B}[0m " : "error: "
        line(bytes: Array(word.utf8) + message)
    }

    /// Writes what helps beyond golang-migrate's words: only where nobody compares them.
    func hints(_ hints: [String]) {
        guard isVerbose || isTerminal else { return }
        for hint in hints { line(hint) }
    }

    /// A duration behind a finished migration.
    func duration(_ text: String) -> String { hasColour ? "\u{1B}[2m(\(text))\u{1B}[0m" : "(\(text))" }

    /// Writes a line to standard output.
    static func result(_ text: String) { write(Array("\(text)\n".utf8), to: 1) }

    static func result(bytes: [UInt8]) { write(bytes, to: 1) }

    private var prefix: String {
        guard isVerbose else { return "" }
        let now = CivilTime.local(time(nil))
        return "\(now.year)/\(CivilTime.two(now.month))/\(CivilTime.two(now.day)) "
            + "\(CivilTime.two(now.hour)):\(CivilTime.two(now.minute)):\(CivilTime.two(now.second)) "
    }

    /// One system call for a line, so that lines of several threads do not mix.
    private static func write(_ bytes: [UInt8], to descriptor: Int32) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes {
                unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
            }
            // Nobody reads any more: there is no better place to say so.
            guard count > 0 || errno == EINTR else { return }
            rest = rest.dropFirst(max(count, 0))
        }
    }
}

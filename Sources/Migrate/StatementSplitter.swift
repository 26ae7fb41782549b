/// Takes SQL apart at its semicolons, as `x-multi-statement` wants it.
///
/// golang-migrate cuts at every semicolon; this one leaves alone those in strings, quoted identifiers, comments and
/// dollar quotes. For every text that works with the original the pieces are the same.
struct StatementSplitter {
    private let text: [UInt8]
    private var index = 0

    init(_ text: [UInt8]) { self.text = text }

    /// The ranges of the pieces; each keeps its semicolon and the blanks before it. Blank pieces are left out.
    static func split(_ text: [UInt8]) -> [Range<Int>] {
        var splitter = StatementSplitter(text)
        var pieces: [Range<Int>] = []
        var start = 0
        while splitter.index < text.count {
            let isEnd = splitter.text[splitter.index] == UInt8(ascii: ";")
            splitter.skipElement()
            if isEnd || splitter.index >= text.count {
                if !text[start..<splitter.index].allSatisfy(isBlank) { pieces.append(start..<splitter.index) }
                start = splitter.index
            }
        }
        return pieces
    }

    /// The first word of each statement in capitals; the second too where it decides.
    static func leadingWords(_ text: [UInt8]) -> [String] {
        split(text).map { piece in
            var splitter = StatementSplitter(Array(text[piece]))
            var words: [String] = []
            while splitter.index < splitter.text.count, words.count < 2 {
                let byte = splitter.text[splitter.index]
                let start = splitter.index
                splitter.skipElement()
                if isWordStart(byte) {
                    words.append(
                        String(decoding: splitter.text[start..<splitter.index], as: UTF8.self).uppercased())
                } else if !isBlank(byte), !splitter.wasComment(start) {
                    break
                }
            }
            return words.joined(separator: " ")
        }
    }

    private func wasComment(_ start: Int) -> Bool {
        text[start...].starts(with: "--".utf8) || text[start...].starts(with: "/*".utf8)
    }

    /// Goes past one character, word, string, comment or quotation.
    private mutating func skipElement() {
        let byte = text[index]
        let next = index + 1 < text.count ? text[index + 1] : 0
        switch byte {
        case UInt8(ascii: "'"): skipString(hasEscapes: false)
        case UInt8(ascii: "\""): skipUntil([UInt8(ascii: "\"")], from: index + 1)
        case UInt8(ascii: "-") where next == UInt8(ascii: "-"): skipLineComment()
        case UInt8(ascii: "/") where next == UInt8(ascii: "*"): skipBlockComment()
        case UInt8(ascii: "$"): skipDollarQuote()
        default:
            guard Self.isWordStart(byte) else {
                index += 1
                return
            }
            let start = index
            while index < text.count, Self.isWordPart(text[index]) { index += 1 }
            let isEscapeString =
                index - start == 1 && byte | 0x20 == UInt8(ascii: "e") && index < text.count
                && text[index] == UInt8(ascii: "'")
            if isEscapeString { skipString(hasEscapes: true) }
        }
    }

    private mutating func skipUntil(_ end: [UInt8], from start: Int) {
        index = start
        while index < text.count, !text[index...].starts(with: end) { index += 1 }
        index = min(index + end.count, text.count)
    }

    /// Goes past a string. Without escapes a doubled quote ends one string and begins the next, which comes to the same.
    private mutating func skipString(hasEscapes: Bool) {
        repeat {
            index += 1
            while index < text.count, text[index] != UInt8(ascii: "'") {
                index += hasEscapes && text[index] == UInt8(ascii: "\\") ? 2 : 1
            }
            index = min(index + 1, text.count)
        } while hasEscapes && goOnWithString()
    }

    /// Whether a string with escapes goes on behind a quote: at a doubled quote, and in the next line, behind comments too
    /// (4.1.2.2 of the documentation, `quotecontinue` of the server's scan.l). Goes there.
    private mutating func goOnWithString() -> Bool {
        let end = index
        while index < text.count, Self.isBlank(text[index]) || text[index...].starts(with: "--".utf8) {
            skipElement()
        }
        let isContinued =
            index < text.count && text[index] == UInt8(ascii: "'")
            && (index == end || text[end..<index].contains(where: Self.isLineEnd))
        if !isContinued { index = end }
        return isContinued
    }

    /// PostgreSQL ends a comment at a carriage return too.
    private mutating func skipLineComment() {
        while index < text.count, !Self.isLineEnd(text[index]) { index += 1 }
    }

    /// Comments nest in PostgreSQL.
    private mutating func skipBlockComment() {
        var depth = 0
        repeat {
            if text[index...].starts(with: "/*".utf8) {
                depth += 1
                index += 2
            } else if text[index...].starts(with: "*/".utf8) {
                depth -= 1
                index += 2
            } else {
                index += 1
            }
        } while depth > 0 && index < text.count
        index = min(index, text.count)
    }

    /// `$$ … $$` and `$tag$ … $tag$`; a parameter such as `$1` is none.
    private mutating func skipDollarQuote() {
        var end = index + 1
        while end < text.count, Self.isWordPart(text[end]), text[end] != UInt8(ascii: "$") { end += 1 }
        let isTag = end == index + 1 || Self.isWordStart(text[index + 1])
        guard end < text.count, text[end] == UInt8(ascii: "$"), isTag else {
            index += 1
            return
        }
        skipUntil(Array(text[index...end]), from: end + 1)
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || (byte >= 9 && byte <= 13)
    }

    private static func isLineEnd(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r")
    }

    private static func isWordStart(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) || byte == UInt8(ascii: "_")
            || byte >= 0x80
    }

    private static func isWordPart(_ byte: UInt8) -> Bool {
        isWordStart(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            || byte == UInt8(ascii: "$")
    }
}

extension StatementSplitter {
    /// Statements that do the same whether they come alone in a transaction that is open, or together in one message.
    private static let plain: Set = [
        "ALTER", "COMMENT", "CREATE", "DELETE", "DROP", "GRANT", "INSERT", "REVOKE", "SELECT", "SET",
        "TRUNCATE",
        "UPDATE", "VALUES", "WITH",
    ]
    /// What `SET` must not be followed by: it depends on the transaction, or changes how the server reads the text that
    /// follows, which it does once for each message.
    private static let notSet: Set = [
        "BACKSLASH_QUOTE", "CLIENT_ENCODING", "CONSTRAINTS", "LOCAL", "NAMES", "SESSION",
        "STANDARD_CONFORMING_STRINGS", "TRANSACTION",
    ]

    /// Goes over a text that begins with a statement.
    ///
    /// - Parameter isWhole: Nothing comes after the text.
    /// - Returns: Where the last statement ends of which that is certain, 0 for nowhere; how many end by there, not
    ///   counting those without a word, such as a comment; whether all are plain, so far as they are known.
    static func survey(_ text: [UInt8], isWhole: Bool) -> (end: Int, count: Int, isPlain: Bool) {
        var splitter = StatementSplitter(text)
        var end = 0
        var count = 0
        var isPlain = true
        var depth = 0
        var words: [String] = []
        // A string or comment that is cut off reaches the end of the text: no statement ends behind it.
        while splitter.index < text.count {
            let start = splitter.index
            let byte = text[start]
            splitter.skipElement()
            if byte == UInt8(ascii: ";"), depth == 0 {
                isPlain = isPlain && self.isPlain(words)
                count += words.isEmpty ? 0 : 1
                words = []
                end = splitter.index
                continue
            }
            switch byte {
            case UInt8(ascii: "("): depth += 1
            case UInt8(ascii: ")"): depth -= 1
            case _ where isWordStart(byte):
                let length = splitter.index - start
                // The body of a function without quotes has semicolons of its own.
                let isAtomic = length == 6 && byte | 0x20 == UInt8(ascii: "a")
                guard words.count < 2 || isAtomic else { continue }
                let word = String(decoding: text[start..<splitter.index], as: UTF8.self).uppercased()
                if words.count < 2 { words.append(word) }
                if word == "ATOMIC" { isPlain = false }
            default: break
            }
        }
        if isWhole {
            isPlain = isPlain && self.isPlain(words)
            count += words.isEmpty ? 0 : 1
            end = text.count
        }
        return (end, count, isPlain)
    }

    private static func isPlain(_ words: [String]) -> Bool {
        guard let first = words.first else { return true }
        return plain.contains(first) && !(first == "SET" && words.count > 1 && notSet.contains(words[1]))
    }
}

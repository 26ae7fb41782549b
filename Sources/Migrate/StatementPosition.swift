/// Where in a text the server found a mistake.
struct StatementPosition: Hashable {
    /// From 1.
    var line: Int
    /// In characters, from 1; 0 is the line end itself.
    var column: Int

    /// Translates the server's position (in characters, from 1); `nil` when the text is shorter.
    ///
    /// The rule is golang-migrate's (`specs/migrate.md` 3.8), on the text as it was sent: a carriage return is a
    /// character.
    init?(_ position: Int, in text: [UInt8]) {
        guard position > 0 else { return nil }
        var characters = 0
        var line = 1
        var lineStart = 0
        for byte in text {
            // Continuation bytes of UTF-8 begin with 10.
            guard byte & 0xC0 != 0x80 else { continue }
            characters += 1
            if byte == UInt8(ascii: "\n") {
                line += 1
                lineStart = characters
            }
            if characters == position {
                self.line = line
                column = position - lineStart
                return
            }
        }
        return nil
    }
}

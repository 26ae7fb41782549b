/// Numbers among the arguments, by Go's `strconv`.
enum Arguments {
    /// An unsigned decimal number.
    ///
    /// - Throws: `CommandFailure` in Go's words.
    static func unsigned(_ text: String) throws(CommandFailure) -> UInt64 {
        let isNumber =
            !text.isEmpty && text.utf8.allSatisfy { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
        guard isNumber, let value = UInt64(text) else {
            throw CommandFailure(
                "strconv.ParseUint: parsing \"\(text)\": \(isNumber ? "value out of range" : "invalid syntax")"
            )
        }
        return value
    }

    /// A number of steps.
    static func limit(_ text: String) throws(CommandFailure) -> Int {
        do {
            return Int(clamping: try unsigned(text))
        } catch {
            throw CommandFailure("can't read limit argument N")
        }
    }

    /// A version for `goto`: beyond the signed range no file has it.
    static func version(_ text: String?) throws(CommandFailure) -> Int64 {
        guard let text else { throw CommandFailure("please specify version argument V") }
        do {
            return Int64(clamping: try unsigned(text))
        } catch {
            throw CommandFailure("can't read version argument V")
        }
    }

    /// A version for `force`: -1 is none.
    static func signedVersion(_ text: String?) throws(CommandFailure) -> Int64 {
        guard let text else { throw CommandFailure("please specify version argument V") }
        guard let value = Int64(text) else { throw CommandFailure("can't read version argument V") }
        guard value >= -1 else { throw CommandFailure("argument V must be >= -1") }
        return value
    }
}

/// Reads an integer by the rules of Go's `strconv` with base 0: a prefix chooses the base (`0x`, `0o` or a plain `0`,
/// `0b`), an underscore may stand between a prefix or digit and a digit, and a sign is allowed where the type has one.
func readInteger<Value: FixedWidthInteger & FlagValue>(_ text: String, as type: Value.Type) -> FlagReading {
    var digits = Array(text.utf8)[...]
    var isNegative = false
    if Value.isSigned, let sign = digits.first, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") {
        isNegative = sign == UInt8(ascii: "-")
        digits = digits.dropFirst()
    }
    var radix: Value = 10
    // An underscore is legal directly behind a prefix, also behind the bare 0 of octal.
    var previousIsDigit = false
    if digits.count >= 2, digits.first == UInt8(ascii: "0") {
        switch digits[digits.startIndex + 1] | 0x20 {
        case UInt8(ascii: "x"): radix = 16
        case UInt8(ascii: "o"): radix = 8
        case UInt8(ascii: "b"): radix = 2
        default: radix = 0
        }
        digits = digits.dropFirst(radix == 0 ? 1 : 2)
        if radix == 0 { radix = 8 }
        previousIsDigit = true
    }
    var value: Value = 0
    var overflows = false
    var hasDigit = false
    for byte in digits {
        if byte == UInt8(ascii: "_") {
            guard previousIsDigit else { return .refused(reason: "parse error") }
            previousIsDigit = false
            continue
        }
        guard let digit = hexadecimalValue(byte), digit < radix else {
            return .refused(reason: "parse error")
        }
        previousIsDigit = true
        hasDigit = true
        let (scaled, scaleOverflow) = value.multipliedReportingOverflow(by: radix)
        let (sum, sumOverflow) =
            isNegative
            ? scaled.subtractingReportingOverflow(Value(digit)) : scaled.addingReportingOverflow(Value(digit))
        overflows = overflows || scaleOverflow || sumOverflow
        value = sum
    }
    guard hasDigit, previousIsDigit else { return .refused(reason: "parse error") }
    return overflows ? .refused(reason: "value out of range") : .value(value)
}

private func hexadecimalValue(_ byte: UInt8) -> Int? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): Int(byte - UInt8(ascii: "a")) + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): Int(byte - UInt8(ascii: "A")) + 10
    default: nil
    }
}

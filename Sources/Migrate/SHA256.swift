/// The hash by which the history knows a file again (FIPS 180-4).
///
/// Our own, because a cryptography package would cost the tool more in build time and size than all the rest of it
/// (docs/decisions/0022); it tells edits, it guards no secret.
enum SHA256 {
    /// 64 hexadecimal digits. `\r\n` counts as `\n`, so that a checkout on Windows is no edit.
    static func text(normalising body: [UInt8]) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(body.count)
        for index in body.indices {
            let isReturnBeforeFeed =
                body[index] == UInt8(ascii: "\r") && index + 1 < body.count
                && body[index + 1] == UInt8(ascii: "\n")
            if !isReturnBeforeFeed { bytes.append(body[index]) }
        }
        return hash(bytes).map { word in
            let text = String(word, radix: 16)
            return String(repeating: "0", count: 8 - text.utf8.count) + text
        }.joined()
    }

    static func hash(_ message: [UInt8]) -> [UInt32] {
        var state = initial
        var block: [UInt32] = .init(repeating: 0, count: 64)
        let bitCount = UInt64(message.count) * 8
        let padded =
            message + [0x80] + [UInt8](repeating: 0, count: (119 - message.count % 64) % 64)
            + (0..<8).map { UInt8(truncatingIfNeeded: bitCount >> (56 - 8 * $0)) }
        for start in stride(from: 0, to: padded.count, by: 64) {
            for word in 0..<16 {
                let at = start + word * 4
                block[word] =
                    UInt32(padded[at]) << 24 | UInt32(padded[at + 1]) << 16 | UInt32(padded[at + 2]) << 8
                    | UInt32(padded[at + 3])
            }
            for word in 16..<64 {
                let a = block[word - 15]
                let b = block[word - 2]
                block[word] =
                    block[word - 16] &+ (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) &+ block[word - 7]
                    &+ (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10)
            }
            compress(&state, block)
        }
        return state
    }

    private static func compress(_ state: inout [UInt32], _ block: [UInt32]) {
        var (a, b, c, d) = (state[0], state[1], state[2], state[3])
        var (e, f, g, h) = (state[4], state[5], state[6], state[7])
        for round in 0..<64 {
            let sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)
            let first = h &+ sum1 &+ (e & f ^ ~e & g) &+ constants[round] &+ block[round]
            let sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)
            let second = sum0 &+ (a & b ^ a & c ^ b & c)
            (h, g, f, e) = (g, f, e, d &+ first)
            (d, c, b, a) = (c, b, a, first &+ second)
        }
        for (index, value) in [a, b, c, d, e, f, g, h].enumerated() { state[index] &+= value }
    }

    private static func rotate(_ value: UInt32, _ count: UInt32) -> UInt32 {
        value >> count | value << (32 - count)
    }

    /// The first 64 primes; the constants of the standard are the fractions of their roots.
    private static let primes: [Int] = (2...311).filter { number in
        !(2..<number).contains { number.isMultiple(of: $0) }
    }

    /// Fractions of the square roots of the first 8 primes.
    private static let initial: [UInt32] = primes.prefix(8).map { prime in
        // floor(√(p · 2⁶⁴)) = floor(√p · 2³²); its low 32 bits are the fraction's.
        UInt32(truncatingIfNeeded: root(of: UInt128(prime) << 64, power: 2))
    }

    /// Fractions of the cube roots of the first 64 primes.
    private static let constants: [UInt32] = primes.map { prime in
        UInt32(truncatingIfNeeded: root(of: UInt128(prime) << 96, power: 3))
    }

    /// The largest whole number whose power is not above `value`.
    private static func root(of value: UInt128, power: Int) -> UInt64 {
        var low: UInt128 = 0
        var high: UInt128 = 1 << 37
        while high - low > 1 {
            let middle = (low + high) / 2
            let product = power == 2 ? middle * middle : middle * middle * middle
            if product <= value { low = middle } else { high = middle }
        }
        return UInt64(low)
    }
}

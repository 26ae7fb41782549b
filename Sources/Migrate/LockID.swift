/// The number of the advisory lock that runs of golang-migrate and of this tool exclude each other by
/// (`specs/migrate.md` 3.6).
enum LockID {
    /// CRC-32 (IEEE) of the names with NUL between them, times a constant, modulo 2³².
    static func number(_ names: String...) -> Int64 {
        let joined = Array(names.map { Array($0.utf8) }.joined(separator: [0]))
        return Int64(crc32(joined) &* 1_486_364_155)
    }

    /// The number in SQL, for a function that takes a bigint. Without quotes one below 2³¹ would be an integer, and to look up
    /// how that becomes a bigint takes a new session 0.1 ms longer than to read a text.
    static func literal(_ number: Int64) -> String {
        number <= Int32.max ? "'\(number)'" : String(number)
    }

    private static func crc32(_ bytes: [UInt8]) -> UInt32 {
        var sum = UInt32.max
        for byte in bytes {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1 }
        }
        return ~sum
    }
}

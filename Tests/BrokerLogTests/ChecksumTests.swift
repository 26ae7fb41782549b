import CBroker
import Testing

@testable import BrokerLog

@Suite("CRC32C, however many bytes at a time")
struct ChecksumTests {
    /// One bit after the other.
    private struct Reference {
        private var state = UInt32.max
        var value: UInt32 { ~state }

        mutating func take(_ byte: UInt8) {
            state ^= UInt32(byte)
            for _ in 0..<8 { state = state >> 1 ^ (state & 1 == 1 ? 0x82F6_3B78 : 0) }
        }
    }

    private func checksum(_ bytes: ArraySlice<UInt8>, after first: UInt32 = 0) -> UInt32 {
        unsafe bytes.withUnsafeBytes { unsafe cbroker_crc32c(first, $0.baseAddress, $0.count) }
    }

    @Test("the examples of RFC 3720, appendix B.4")
    func examples() {
        #expect(checksum(Array("123456789".utf8)[...]) == 0xE306_9283)
        #expect(checksum([UInt8](repeating: 0, count: 32)[...]) == 0x8A91_36AA)
        #expect(checksum([UInt8](repeating: 0xFF, count: 32)[...]) == 0x62A8_AB43)
        #expect(checksum(Array(UInt8(0)..<32)[...]) == 0x46DD_794E)
    }

    @Test(
        "every length up to some thousand, from places that are askew, whole and in two parts",
        arguments: 0..<3)
    func lengths(from start: Int) {
        var random = SeededGenerator(seed: 7)
        let bytes = (0..<2_600 + start).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        var reference = Reference()
        for end in start..<bytes.count {
            #expect(checksum(bytes[start..<end]) == reference.value, "\(end - start) bytes")
            let middle = (start + end) / 2
            let first = checksum(bytes[start..<middle])
            #expect(checksum(bytes[middle..<end], after: first) == reference.value, "\(end - start) bytes")
            reference.take(bytes[end])
        }
    }

    @Test("a mebibyte")
    func large() {
        var random = SeededGenerator(seed: 8)
        let bytes = (0..<1 << 20).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        var reference = Reference()
        for byte in bytes { reference.take(byte) }
        #expect(checksum(bytes[...]) == reference.value)
    }
}

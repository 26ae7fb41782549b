import Testing

@testable import BrokerLog

@Suite("UUIDs as sixteen bytes")
struct UUIDPackingTests {
    private func pack(_ text: [UInt8]) -> [UInt8]? {
        var places: [Int32] = []
        var target = [UInt8](repeating: 0, count: text.count)
        let length = text.withUnsafeBytes { source in
            target.withUnsafeMutableBytes {
                UUIDPacking.pack(source.baseAddress!, source.count, into: $0.baseAddress!, places: &places)
            }
        }
        return length.map { Array(target.prefix($0)) }
    }

    private func unpack(_ packed: [UInt8], _ count: Int) -> [UInt8]? {
        var target = [UInt8](repeating: 0, count: max(1, count))
        let isRight = packed.withUnsafeBytes { source in
            target.withUnsafeMutableBytes { target in
                source.baseAddress.map {
                    UUIDPacking.unpack($0, source.count, into: target.baseAddress!, count)
                }
                    ?? false
            }
        }
        return isRight ? Array(target.prefix(count)) : nil
    }

    private func identity(_ random: inout SeededGenerator) -> String {
        let digits = Array("0123456789abcdef")
        return [8, 4, 4, 4, 12].map { count in
            String((0..<count).map { _ in digits[Int(random.next() % 16)] })
        }.joined(separator: "-")
    }

    @Test("text with UUIDs anywhere comes back as it was, 18 bytes shorter for each")
    func roundTrip() throws {
        for seed in UInt64(1)...300 {
            var random = SeededGenerator(seed: seed)
            var text = ""
            var count = 0
            for _ in 0..<(1 + random.next() % 40) {
                switch random.next() % 6 {
                case 0...2:
                    text += identity(&random)
                    count += 1
                case 3: text += String(identity(&random).dropLast(Int(1 + random.next() % 35))) + "|"
                case 4: text += identity(&random).uppercased() + "-"
                default: text += noise(Int(random.next() % 60), seed: random.next()) + "-|"
                }
            }
            let source = bytes(text)
            guard let packed = pack(source) else {
                #expect(count == 0 || count * 512 < source.count, "seed \(seed)")
                continue
            }
            #expect(unpack(packed, source.count) == source, "seed \(seed)")
            #expect(packed.count <= source.count + 4 - 18 * min(count, 1), "seed \(seed)")
        }
    }

    @Test("only lower-case UUIDs are taken; at either end; back to back")
    func which() throws {
        let one = "0123abcd-0000-ffff-9999-0123456789ab"
        #expect(pack(bytes(one))?.count == 4 + 18)
        #expect(pack(bytes(one + one))?.count == 4 + 36)
        #expect(pack(bytes("x" + one + "y"))?.count == 4 + 18 + 2)
        // Behind a digit it is one all the same.
        #expect(pack(bytes("a" + one))?.count == 4 + 18 + 1)
        for other in [
            String(one.dropLast()), one.uppercased(), one.replacing("-", with: "_"),
            one.replacing("9ab", with: "9aG"), "0123abcd-0000-ffff-99990123456789abc",
            String(one.dropFirst()), "",
        ] {
            #expect(pack(bytes(other)) == nil, "\(other)")
        }
        #expect(pack(bytes(one + String(repeating: "x", count: 600))) == nil, "it does not pay")
        #expect(pack(bytes(String(repeating: one, count: 2_000))) == nil, "gaps are 16 bits")
    }

    @Test("bytes that are none are refused and write nothing outside", arguments: UInt64(1)...200)
    func hostile(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let source = bytes((0..<8).map { _ in identity(&random) + noise(30, seed: random.next()) }.joined())
        var packed = try #require(pack(source))
        for _ in 0..<(1 + random.next() % 4) {
            packed[Int(random.next() % UInt64(packed.count))] = UInt8(truncatingIfNeeded: random.next())
        }
        if random.next() % 2 == 0 { packed.removeLast(Int(random.next() % UInt64(packed.count))) }
        // Either other text of the same length, or nothing.
        #expect(unpack(packed, source.count).map(\.count) ?? source.count == source.count)
        for count in [0, 3, source.count - 1, source.count + 18] { _ = unpack(packed, count) }
    }

    @Test("channels whose messages hold UUIDs read back from segments, at half the size")
    func inSegments() throws {
        let file = try FileLog { $0.cacheBytes = 1 }
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        var random = SeededGenerator(seed: 9)
        var texts: [String] = []
        var size = 0
        for index in 0..<2_000 {
            let ids = (0..<5).map { _ in identity(&random) }
            texts.append(
                #"{"id":"\#(ids[0])","project":"\#(ids[1])","user":"\#(ids[2])","actor":"\#(ids[3])","trace":"\#(ids[4])"}"#
            )
            size += texts[index].utf8.count
            try file.log.append(texts[index], to: channel, reply: ids[1])
            if index % 50 == 49 { file.settle() }
        }
        file.checkpoint()
        let stored = file.disk.everything().filter { $0.key.hasSuffix(".seg") }.reduce(0) {
            $0 + $1.value.count
        }
        #expect(stored * 2 < size)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == texts && file.log.recovery.damage == [])
    }
}

import Flags
import Testing

@Suite("Flag values are written as in Go")
struct FlagValueTests {
    func integer(_ text: String) -> Int? {
        guard case .value(let value) = Int.read(text) else { return nil }
        return value as? Int
    }

    @Test(
        "integers take Go's base-0 literals",
        arguments: [
            ("0", 0), ("-0", 0), ("+7", 7), ("10", 10), ("-10", -10), ("0x1F", 31), ("0X1f", 31), ("017", 15),
            ("0o17", 15),
            ("0b101", 5), ("1_000", 1000), ("0x_f", 15), ("0_7", 7), ("9223372036854775807", Int.max),
            ("-9223372036854775808", Int.min),
        ])
    func integers(text: String, value: Int) {
        #expect(integer(text) == value)
    }

    @Test(
        "what is no integer is refused",
        arguments: [
            "", "-", "+", "0x", "08", "_1", "1_", "1__0", "1 ", " 1", "1.0", "1e3", "--1", "0b2", "٣",
            "9223372036854775808",
        ])
    func notIntegers(text: String) {
        #expect(integer(text) == nil)
    }

    @Test(
        "durations take Go's notation",
        arguments: [
            ("0", 0), ("+0", 0), ("-0", 0), ("0s", 0), ("5s", 5_000_000_000), ("300ms", 300_000_000),
            ("1h30m", 5_400_000_000_000), ("-1.5s", -1_500_000_000), (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("1us", 1_000), ("1µs", 1_000), ("1μs", 1_000), ("1ns", 1), ("1.9ns", 1),
            ("1m1m", 120_000_000_000),
            ("0.3333333333333333333h", 1_199_999_999_999), ("9223372036854775807ns", Int64.max),
            ("-9223372036854775808ns", Int64.min), ("2562047h47m16.854775807s", Int64.max),
        ] as [(String, Int64)])
    func durations(text: String, nanoseconds: Int64) {
        #expect(GoDuration.nanoseconds(text) == nanoseconds)
    }

    @Test(
        "what is no duration is refused",
        arguments: [
            "", "5", "s", ".", ".s", "-", "+", "1x", "1 s", "5s ", "1h-1m", "9223372036854775808ns", "1..5s",
            "1d",
            "99999999999999999999h", "3000000h", "--1s", "1S",
        ])
    func notDurations(text: String) {
        #expect(GoDuration.nanoseconds(text) == nil)
    }

    @Test(
        "durations print as in Go",
        arguments: [
            (0, "0s"), (1, "1ns"), (1_100, "1.1µs"), (2_200_000, "2.2ms"), (3_300_000_000, "3.3s"),
            (60_000_000_000, "1m0s"),
            (245_000_000_000, "4m5s"), (3_600_000_000_000, "1h0m0s"),
            (18_367_000_000_001, "5h6m7.000000001s"),
            (-1_500_000_000, "-1.5s"), (Int64.min, "-2562047h47m16.854775808s"),
        ] as [(Int64, String)])
    func durationText(nanoseconds: Int64, text: String) {
        #expect(GoDuration.text(nanoseconds: nanoseconds) == text)
    }

    @Test("a printed duration reads back")
    func durationRoundTrip() {
        var generator = SeededGenerator()
        for _ in 0..<10_000 {
            let value =
                Int64.random(in: .min ... .max, using: &generator)
                >> Int64.random(in: 0...63, using: &generator)
            #expect(
                GoDuration.nanoseconds(GoDuration.text(nanoseconds: value)) == value, "seed \(generator.seed)"
            )
        }
    }

    @Test(
        "sizes: k m g are powers of 1000, kb mb gb of 1024, in either case",
        arguments: [
            ("0", 0), ("12", 12), ("1k", 1_000), ("1K", 1_000), ("1kb", 1_024), ("1KB", 1_024),
            ("2m", 2_000_000),
            ("2Mb", 2 << 20), ("3g", 3_000_000_000), ("3GB", 3 << 30), ("-1", -1),
        ])
    func sizes(text: String, bytes: Int) {
        #expect(ByteCount(text: text)?.bytes == bytes)
    }

    @Test(
        "what is no size is refused",
        arguments: [
            "", "kb", "1xb", "1.5mb", "1 kb", "b", "1b", "+1", "--1", "9999999999999gb", "1kbkb", "0x10", "１",
        ])
    func notSizes(text: String) {
        #expect(ByteCount(text: text) == nil)
    }

    @Test("the usage text lists names, type and default by section, and leaves out hidden flags")
    func usage() {
        var flags = FlagSet()
        flags.section("Options")
        _ = flags.define("cid", "cluster_id", default: "test-cluster", "cluster id")
        _ = flags.define("SDV", default: false, "debug and trace")
        _ = flags.define("io_batch_size", default: 1024)
        #expect(
            flags.usage == """
                Options:
                    -cid, --cluster_id <string>           cluster id (default: test-cluster)
                    -SDV                                  debug and trace

                """)
        #expect(
            flags.goDefaults == """
                  -SDV
                    \tdebug and trace
                  -cid string
                    \tcluster id (default "test-cluster")
                  -cluster_id string
                    \tcluster id (default "test-cluster")
                  -io_batch_size int
                    \t (default 1024)

                """)
    }
}

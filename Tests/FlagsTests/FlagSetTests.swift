import Flags
import Testing

@Suite("A flag set reads a command line by Go's rules")
struct FlagSetTests {
    struct Example {
        var flags = FlagSet()
        let debug: Flag<Bool>
        let port: Flag<Int>
        let name: Flag<String>
        let interval: Flag<Duration>
        let bytes: Flag<ByteCount>
        let prefetch: Flag<UInt>

        init() {
            debug = flags.define("SDV", default: false, "debug and trace")
            port = flags.define("p", "port", default: 4222, "port")
            name = flags.define("cid", "cluster_id", default: "test-cluster", "cluster id")
            interval = flags.define("hbi", "hb_interval", default: .seconds(30), "heartbeat interval")
            bytes = flags.define("mb", "max_bytes", default: ByteCount(1_024_000_000), "bytes")
            prefetch = flags.define("prefetch", default: 10, "read ahead")
        }

        func failure(_ arguments: String...) -> String? {
            do {
                _ = try flags.parse(arguments)
                return nil
            } catch {
                return error.description
            }
        }
    }
    let example = Example()

    @Test("the deployment's line is read as it stands")
    func deploymentLine() throws {
        let parsed = try example.flags.parse(["-p", "4333", "-hbi", "5s", "-SDV", "-cid", "devpie-client"])
        #expect(parsed[example.port] == 4333)
        #expect(parsed[example.interval] == .seconds(5))
        #expect(parsed[example.debug])
        #expect(parsed[example.name] == "devpie-client")
        #expect(parsed.arguments.isEmpty)
        #expect(parsed.given.map(\.name) == ["p", "hbi", "SDV", "cid"])
    }

    @Test("nothing given means the defaults")
    func defaults() throws {
        let parsed = try example.flags.parse([])
        #expect(parsed[example.port] == 4222)
        #expect(parsed[example.bytes].bytes == 1_024_000_000)
        #expect(!parsed.isGiven(example.port))
        #expect(parsed.name(of: example.port) == nil)
    }

    @Test(
        "one dash or two, a value as next word or behind the equals sign, by any alias",
        arguments: [
            ["-p", "7"], ["--p", "7"], ["-p=7"], ["--p=7"], ["-port", "7"], ["--port=7"], ["--port", "0x7"],
        ])
    func dashes(arguments: [String]) throws {
        let parsed = try example.flags.parse(arguments)
        #expect(parsed[example.port] == 7)
    }

    @Test("the last of several values wins, also across aliases")
    func lastWins() throws {
        let parsed = try example.flags.parse(["-p", "1", "--port=2", "-p=3"])
        #expect(parsed[example.port] == 3)
        #expect(parsed.given.count == 3)
        #expect(parsed.name(of: example.port) == "p")
    }

    @Test("a boolean takes a value only with the equals sign; a bare word after it is positional")
    func booleans() throws {
        let parsed = try example.flags.parse(["-SDV", "false", "-p", "1"])
        #expect(parsed[example.debug])
        #expect(parsed.arguments == ["false", "-p", "1"])
        #expect(!(try example.flags.parse(["-SDV=false"])[example.debug]))
        #expect(!(try example.flags.parse(["-SDV", "-SDV=0"])[example.debug]))
    }

    @Test("parsing stops at the first word that is no flag, and at two dashes")
    func stops() throws {
        #expect(try example.flags.parse(["up", "-p", "1"]).arguments == ["up", "-p", "1"])
        #expect(try example.flags.parse(["-p", "1", "--", "-1"]).arguments == ["-1"])
        #expect(try example.flags.parse(["-", "-p"]).arguments == ["-", "-p"])
        #expect(try example.flags.parse(["", "-p"]).arguments == ["", "-p"])
        #expect(try example.flags.parse(["--"]).arguments.isEmpty)
    }

    @Test("a value may look like a flag, be empty, or hold further equals signs")
    func oddValues() throws {
        #expect(try example.flags.parse(["-cid", "-p"])[example.name] == "-p")
        #expect(try example.flags.parse(["-cid", "--"])[example.name] == "--")
        #expect(try example.flags.parse(["-cid="])[example.name] == "")
        #expect(try example.flags.parse(["-cid", ""])[example.name] == "")
        #expect(try example.flags.parse(["-cid=a=b=c"])[example.name] == "a=b=c")
        #expect(try example.flags.parse(["-cid=\u{301}"])[example.name] == "\u{301}")
        #expect(try example.flags.parse(["-p", "-1"])[example.port] == -1)
    }

    @Test("errors have Go's words")
    func errors() {
        #expect(example.failure("-nosuch") == "flag provided but not defined: -nosuch")
        #expect(example.failure("--nosuch=1") == "flag provided but not defined: -nosuch")
        #expect(example.failure("-hbi", "5") == #"invalid value "5" for flag -hbi: parse error"#)
        #expect(
            example.failure("--hb_interval=5") == #"invalid value "5" for flag -hb_interval: parse error"#)
        #expect(
            example.failure("-SDV=maybe") == #"invalid boolean value "maybe" for -SDV: parse error"#)
        #expect(example.failure("-SDV=") == #"invalid boolean value "" for -SDV: parse error"#)
        #expect(example.failure("-cid") == "flag needs an argument: -cid")
        #expect(example.failure("-p", "abc") == #"invalid value "abc" for flag -p: parse error"#)
        #expect(
            example.failure("-p", "99999999999999999999")
                == #"invalid value "99999999999999999999" for flag -p: value out of range"#)
        #expect(example.failure("-prefetch", "-1") == #"invalid value "-1" for flag -prefetch: parse error"#)
        #expect(example.failure("-prefetch", "1s") == #"invalid value "1s" for flag -prefetch: parse error"#)
        #expect(example.failure("---p") == "bad flag syntax: ---p")
        #expect(example.failure("-=1") == "bad flag syntax: -=1")
        #expect(example.failure("--=1") == "bad flag syntax: --=1")
        #expect(example.failure("-h") == "flag: help requested")
        #expect(example.failure("--help") == "flag: help requested")
    }

    @Test("a bad size is reported after everything else, under the name that was typed")
    func badSizes() {
        #expect(example.failure("-mb", "1xb") == "mb should be a size, got '1xb'")
        #expect(example.failure("-mb", "1xb", "-nosuch") == "flag provided but not defined: -nosuch")
        #expect(example.failure("-mb", "x", "--max_bytes=y") == "max_bytes should be a size, got 'y'")
    }

    @Test("hostile text is quoted in errors and never ends the process")
    func hostile() {
        #expect(
            example.failure("-p", "a\"\\\n\t\u{1b}\u{7f}")
                == #"invalid value "a\"\\\n\t\x1b\x7f" for flag -p: parse error"#)
        #expect(
            example.failure("-p", "é\u{2028}😀\u{FEFF}")
                == #"invalid value "é\u2028😀\ufeff" for flag -p: parse error"#)
        #expect(example.failure("-p", "\u{E0001}") == #"invalid value "\U000e0001" for flag -p: parse error"#)
        let long = String(repeating: "9", count: 100_000)
        #expect(example.failure("-p=" + long)?.hasSuffix("value out of range") == true)
        #expect(example.failure("-" + long) == "flag provided but not defined: -" + long)
    }

    @Test("random words are read or refused, and what is read can be read again")
    func randomWords() {
        var generator = SeededGenerator()
        let pieces = [
            "-", "--", "=", "p", "cid", "SDV", "hbi", "mb", "5s", "1", "-1", "true", " ", "\u{0}", "é", "1kb",
            "x",
        ]
        for _ in 0..<20_000 {
            let words = (0..<Int.random(in: 0...5, using: &generator)).map { _ in
                (0..<Int.random(in: 0...4, using: &generator)).map { _ in
                    pieces.randomElement(using: &generator) ?? ""
                }.joined()
            }
            guard let parsed = try? example.flags.parse(words) else { continue }
            let again = parsed.given.map { "-\($0.name)=\($0.text)" } + ["--"] + parsed.arguments
            let second = try? example.flags.parse(again)
            #expect(second?.given == parsed.given, "seed \(generator.seed): \(words)")
            #expect(second?.arguments == parsed.arguments, "seed \(generator.seed): \(words)")
        }
    }
}

import PostgresCluster
import Testing

@Suite struct CommandLineTests {
    static func run(_ arguments: String...) async throws -> ChildProcess.Ending {
        try await ChildProcess.run(Sandbox.program, arguments, directory: "/tmp")
    }

    @Test(
        "usage, version and bad flags have golang-migrate's first line and exit code, all on standard error",
        arguments: [
            ([], 2, "Usage: migrate OPTIONS COMMAND [arg...]"),
            (["frobnicate"], 2, "Usage: migrate OPTIONS COMMAND [arg...]"),
            (
                ["-path", "a", "-database", "postgres://x/y", "frobnicate"], 2,
                "Usage: migrate OPTIONS COMMAND [arg...]"
            ),
            (["-version"], 0, "4.19.1"), (["--version"], 0, "4.19.1"), (["-help", "-version"], 0, "4.19.1"),
            (["-help"], 0, "Usage: migrate OPTIONS COMMAND [arg...]"),
            (["-h"], 0, "Usage: migrate OPTIONS COMMAND [arg...]"),
            (["--help"], 0, "Usage: migrate OPTIONS COMMAND [arg...]"),
            (["-bogus"], 2, "flag provided but not defined: -bogus"),
            (["-path"], 2, "flag needs an argument: -path"),
            (["-prefetch", "x"], 2, "invalid value \"x\" for flag -prefetch: parse error"),
            (["-lock-timeout", "-1", "up"], 2, "invalid value \"-1\" for flag -lock-timeout: parse error"),
            (["-lock-timeout=1s"], 2, "invalid value \"1s\" for flag -lock-timeout: parse error"),
            (["-verbose=x"], 2, "invalid boolean value \"x\" for -verbose: parse error"),
            (["-verbose", "true", "version"], 2, "Usage: migrate OPTIONS COMMAND [arg...]"),
            (["up", "-path", "x"], 2, "flag provided but not defined: -path"),
            (["force", "-1"], 2, "flag provided but not defined: -1"),
            (["goto", "-1"], 2, "flag provided but not defined: -1"),
            (["up"], 1, "error: failed to parse scheme from source URL: URL cannot be empty"),
            (
                ["-path", "/tmp", "up"], 1,
                "error: failed to parse scheme from database URL: URL cannot be empty"
            ),
            (
                ["-prefetch", "0x10", "-path", "/tmp", "version"], 1,
                "error: failed to parse scheme from database URL: URL cannot be empty"
            ),
            (
                ["-path", "nope", "-database", "mysql://x", "up"], 1,
                "error: failed to open source, \"file://nope\": open .: no such file or directory"
            ),
            (
                ["-source", "file:///tmp", "-path", "nope", "-database", "x", "up"], 1,
                "error: failed to parse scheme from database URL: no scheme"
            ),
            (["-source", "nope", "up"], 1, "error: failed to parse scheme from source URL: no scheme"),
            (["-source", ":x", "up"], 1, "error: failed to parse scheme from source URL: no scheme"),
            (
                ["-source", "github://x", "up"], 1,
                "error: failed to parse scheme from database URL: URL cannot be empty"
            ),
            (
                ["-path", "nope", "up"], 1,
                "error: failed to parse scheme from database URL: URL cannot be empty"
            ),
            (
                ["-path", "nope", "-database", "x", "version"], 1,
                "error: failed to parse scheme from database URL: no scheme"
            ),
            (
                ["-source", "x", "-database-file", "/nope", "up"], 1,
                "error: failed to parse scheme from source URL: no scheme"
            ),
            (
                ["-path", "nope", "-database-file", "/nope", "up"], 1,
                "error: failed to open database: -database-file: open /nope: No such file or directory"
            ),
            (
                ["-path", "nope", "-database", "postgres://u:%/x", "up"], 1,
                "error: failed to open source, \"file://nope\": open .: no such file or directory"
            ),
            (
                ["-source", "github://x", "-database", "mysql://x", "up"], 1,
                "error: failed to open source, \"github://x\": source driver: unknown driver 'github' (forgotten import?)"
            ),
            (
                ["-source", "FILE:///tmp", "-database", "POSTGRES://x", "up"], 1,
                "error: failed to open database: database driver: unknown driver POSTGRES (forgotten import?)"
            ),
            (
                ["-path", "/tmp", "-database", "mysql://x", "up"], 1,
                "error: failed to open database: database driver: unknown driver mysql (forgotten import?)"
            ),
            (
                ["-path", "/etc/passwd", "-database", "mysql://x", "up"], 1,
                "error: failed to open source, \"file:///etc/passwd\": open .: not a directory"
            ),
            (
                ["-path", "/tmp", "-database", "postgres://", "up"], 1,
                "error: failed to open database: missing \"=\" after \"postgres:\" in connection info string\""
            ),
        ] as [([String], Int32, String)])
    func firstLines(_ arguments: [String], _ status: Int32, _ line: String) async throws {
        let ending = try await ChildProcess.run(Sandbox.program, arguments, directory: "/tmp")
        #expect(ending.status == status)
        #expect(ending.lines.first == line)
        #expect(ending.output.isEmpty)
    }

    @Test("a bad flag of a command is followed by that command's flags")
    func commandUsage() async throws {
        let ending = try await Self.run("up", "-path", "x")
        #expect(ending.lines.dropFirst().first == "Usage of up:")
    }

    @Test(
        "-help of a command prints its usage and runs nothing; -h prints its flags",
        arguments: ["up", "down", "goto", "drop", "force", "create"])
    func commandHelp(_ command: String) async throws {
        for flag in ["-help", "-h"] {
            let ending = try await Self.run(command, flag)
            #expect(ending.status == 0)
            #expect(ending.error.contains("-help"))
            #expect(!ending.error.contains("error:"))
            #expect(ending.output.isEmpty)
            if flag == "-h" { #expect(ending.lines.first == "Usage of \(command):") }
        }
    }

    @Test(
        "a password never shows in an error, however the URL is broken",
        arguments: [
            ("postgres://u:s3cr^et@127.0.0.1:1/app", "net/url: invalid userinfo"),
            ("postgres://u:s3cr#et@127.0.0.1:1/app", "invalid port \":***\" after host"),
            ("postgres://u:s3cr%wet@127.0.0.1:1/app", "invalid URL escape \"%**\""),
            ("postgres://u:s3cr/et@127.0.0.1:1/app", "invalid port \":***\" after host"),
            ("postgres://u:s3cret@127.0.0.1:1/app\u{1}", "net/url: invalid control character in URL"),
            ("postgres://u:s3cret@127.0.0.1:1/app?sslmode=disable&password=s3cret", "connection refused"),
            ("postgres://u:s3cret@[::1/app", "missing ']' in host"),
        ])
    func passwords(_ url: String, _ part: String) async throws {
        for global in [[], ["-verbose"]] {
            let ending = try await ChildProcess.run(
                Sandbox.program, global + ["-path", "/tmp", "-database", url, "up"])
            #expect(ending.status == 1)
            #expect(ending.error.contains(part), "\(ending.error)")
            #expect(ending.error.contains("error: failed to open database: "))
            #expect(!ending.error.contains("s3cr"), "\(ending.error)")
            #expect(!ending.error.contains("wet"), "\(ending.error)")
        }
    }
}

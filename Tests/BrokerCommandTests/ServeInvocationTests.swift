import Broker
import Testing

@testable import BrokerCommand

@Suite("The command line of serve")
struct ServeInvocationTests {
    func configuration(_ arguments: String...) throws -> ServeConfiguration {
        guard case .run(let configuration) = ServeInvocation.parse(arguments) else {
            throw NotRun(invocation: ServeInvocation.parse(arguments))
        }
        return configuration
    }

    struct NotRun: Error { let invocation: ServeInvocation }

    /// Message and exit code of a refusal.
    func refusal(_ arguments: [String]) -> (message: String, printsUsage: Bool, exitCode: Int32)? {
        guard case .refused(let message, let printsUsage, let exitCode) = ServeInvocation.parse(arguments)
        else {
            return nil
        }
        return (message, printsUsage, exitCode)
    }

    @Test("the deployment's line says all that it says")
    func deployment() throws {
        let configuration = try configuration(
            "-mc", "0", "-st", "file", "-dir", "data", "-p", "4222", "-m", "8222", "-hbi", "5s", "-hbt", "5s",
            "-hbf",
            "2", "-SDV", "-cid", "devpie-client")
        let options = configuration.options
        #expect(options.maxChannels == 0)
        #expect(options.store == .file)
        #expect(options.directory == "data")
        #expect(options.port == 4222)
        #expect(options.monitoringPort == 8222)
        #expect(options.heartbeatIntervalNanoseconds == 5_000_000_000)
        #expect(options.heartbeatTimeoutNanoseconds == 5_000_000_000)
        #expect(options.maxFailedHeartbeats == 2)
        #expect(options.clusterID == "devpie-client")
        #expect(configuration.log.streaming == .trace)
        #expect(configuration.log.server == .info)
        #expect(configuration.warnings.isEmpty)
    }

    @Test("without a word the store is file, in ./data, and every publish is synced")
    func defaults() throws {
        let configuration = try configuration()
        #expect(configuration.options.store == .file)
        #expect(configuration.options.directory == "data")
        #expect(configuration.options.sync == .always)
        #expect(configuration.options.port == 4222)
        #expect(configuration.options.monitoringPort == nil)
        #expect(configuration.options.user == nil)
        #expect(configuration.options.loops == 1)
        #expect(configuration.options.cpuLatencyMicroseconds == nil)
        #expect(configuration.log == LogOptions())
    }

    @Test("every option reaches its place, by every name")
    func everything() throws {
        let first = try configuration(
            "--cluster_id=c", "--store=MEMORY", "--max_channels", "1", "--max_subs", "2", "--max_msgs", "3",
            "--max_bytes", "4kb", "--max_age", "5s", "--max_inactivity", "6m", "--hb_interval", "7s",
            "--hb_timeout",
            "8s", "--hb_fail_count", "9", "--replace_durable", "--port", "-1", "--net", "::1", "--http_port",
            "-1",
            "--server_name", "n", "--client_advertise", "h:1", "--pid", "p", "--ports_file_dir", "d",
            "--user", "u",
            "--pass", "w", "--log", "l", "--logtime=false", "--debug", "--stan_trace", "--loops", "3",
            "--cpu-latency", "20us", "--journal-size=64mb", "--sync=interval=100ms"
        ).options
        #expect(first.clusterID == "c")
        #expect(first.store == .memory)
        #expect(first.maxChannels == 1)
        #expect(first.maxSubscriptionsPerChannel == 2)
        #expect(first.maxMessages == 3)
        #expect(first.maxBytes == 4096)
        #expect(first.maxAgeNanoseconds == 5_000_000_000)
        #expect(first.maxInactivityNanoseconds == 360_000_000_000)
        #expect(first.heartbeatIntervalNanoseconds == 7_000_000_000)
        #expect(first.heartbeatTimeoutNanoseconds == 8_000_000_000)
        #expect(first.maxFailedHeartbeats == 9)
        #expect(first.replaceDurable)
        #expect(first.port == -1)
        #expect(first.host == "::1")
        #expect(first.monitoringPort == -1)
        #expect(first.serverName == "n")
        #expect(first.advertisedHost == "h" && first.advertisedPort == 1)
        #expect(first.pidFile == "p")
        #expect(first.portsFileDirectory == "d")
        #expect(first.user == "u")
        #expect(first.password == "w")
        #expect(first.loops == 3)
        #expect(first.cpuLatencyMicroseconds == 20)
        #expect(try configuration("--cpu-latency", "0").options.cpuLatencyMicroseconds == 0)
        #expect(first.journalSizeBytes == 64 << 20)
        #expect(first.sync == .interval(nanoseconds: 100_000_000))
        #expect(try configuration("-p", "0").options.port == 4222)
        #expect(try configuration("--auth", "t").options.token == "t")
        #expect(try configuration("--sync", "never").options.sync == .never)
    }

    @Test("log switches of the two parts are told apart")
    func logging() throws {
        #expect(try configuration("-D").log.server == .debug)
        #expect(try configuration("-D").log.streaming == .info)
        #expect(try configuration("-V").log.server == .trace)
        #expect(try configuration("-DV").log.server == .trace)
        #expect(try configuration("-DVV").log.server == .trace)
        #expect(try configuration("-SD").log.streaming == .debug)
        #expect(try configuration("-SV").log.streaming == .trace)
        #expect(try configuration("-SDV=false").log.streaming == .info)
        #expect(
            try configuration("-T=false", "-l", "f").log
                == {
                    var options = LogOptions()
                    options.hasTime = false
                    options.file = "f"
                    return options
                }())
    }

    @Test(
        "a flag that is none, or a bad value, is named, with usage, and ends with 2",
        arguments: [
            (["-nosuch"], "flag provided but not defined: -nosuch"),
            (["-hbi", "5"], #"invalid value "5" for flag -hbi: parse error"#),
            (["-SDV=maybe"], #"invalid boolean value "maybe" for -SDV: parse error"#),
            (["-p", "x"], #"invalid value "x" for flag -p: parse error"#),
            (["-cid"], "flag needs an argument: -cid"),
            (["---p"], "bad flag syntax: ---p"),
        ])
    func badFlags(arguments: [String], message: String) {
        let refusal = refusal(arguments)
        #expect(refusal?.message == message)
        #expect(refusal?.exitCode == 2)
        #expect(refusal?.printsUsage == true)
    }

    @Test(
        "what is well-formed and cannot be is said in a sentence, and ends with 1",
        arguments: [
            (["-mb", "1xb"], "mb should be a size, got '1xb'"),
            (["-st", "cloud"], "unsupported store type: cloud"),
            (["-dir", ""], "for FILE stores, root directory must be specified"),
            (["-mc", "-1"], "max channels limit cannot be negative (-1)"),
            (["-msu=-1"], "max subscriptions limit cannot be negative (-1)"),
            (["-mm", "-1"], "max messages limit cannot be negative (-1)"),
            (["-mb", "-1"], "max bytes limit cannot be negative (-1)"),
            (["-ma", "-1s"], "max age limit cannot be negative (-1s)"),
            (["-mi", "-1m"], "max inactivity limit cannot be negative (-1m0s)"),
            (["-hbi", "0"], "-hbi should be more than 0s, got 0s"),
            (["-hbt", "-1s"], "-hbt should be more than 0s, got -1s"),
            (["-hbf", "-1"], "-hbf should not be negative, got -1"),
            (["-p", "65536"], "-p should be a port between 1 and 65535, or -1 for a random one, got 65536"),
            (["-m", "-2"], "-m should be a port between 1 and 65535, or -1 for a random one, got -2"),
            (["-m", "4222"], "-p and -m are the same port, 4222"),
            (["--loops", "0"], "--loops should be between 1 and 256, got 0"),
            (
                ["--cpu-latency", "1.5us"],
                "--cpu-latency should be whole microseconds between 0s and 1s, got 1.5µs"
            ),
            (
                ["--cpu-latency", "-1us"],
                "--cpu-latency should be whole microseconds between 0s and 1s, got -1µs"
            ),
            (
                ["--cpu-latency", "1001ms"],
                "--cpu-latency should be whole microseconds between 0s and 1s, got 1.001s"
            ),
            (
                ["--sync", "sometimes"],
                "--sync should be always, interval=<duration> (like interval=100ms) or never, got 'sometimes'"
            ),
            (
                ["--sync", "interval=0"],
                "--sync should be always, interval=<duration> (like interval=100ms) or never, got 'interval=0'"
            ),
            (
                ["--sync", "always", "-file_sync=false"],
                "-file_sync=false means --sync never, but --sync always was given too"
            ),
            (
                ["--auth", "t", "--user", "u"],
                "--auth and --user exclude each other: clients present a token, or a user and password"
            ),
            (["-n", "a b"], "server name cannot contain spaces"),
            (["dance"], "unrecognized command: \"dance\""),
            (["-p", "1", "x"], "unrecognized command: \"x\""),
            (["-SDV", "false"], "unrecognized command: \"false\""),
            (["-t"], "must specify [-c, --config] option to check configuration file syntax"),
        ])
    func refused(arguments: [String], message: String) {
        let refusal = refusal(arguments)
        #expect(refusal?.message == message)
        #expect(refusal?.exitCode == 1)
        #expect(refusal?.printsUsage == false)
    }

    @Test("no cluster id breaks a subject", arguments: ["", "a b", "a.*", ">", ".a", "a.", "a..b", "a\r\nb"])
    func clusterIDs(id: String) {
        #expect(refusal(["-cid", id])?.exitCode == 1)
    }

    @Test(
        "what is not built, and would change what is stored, who may connect or who serves, is refused",
        arguments: [
            ["-c", "f"], ["-sc", "f"], ["-ns", "nats://x"], ["--ft_group", "g"], ["--clustered"],
            ["--cluster_peers=a,b"],
            ["--encrypt"], ["--encryption_key", "k"], ["--sql_driver", "postgres"], ["-st", "SQL"], ["--tls"],
            ["--tlscert", "c"], ["-secure"], ["-js"], ["--routes", "r"], ["-ms", "8443"], ["-s"],
            ["-r", "udp://x"],
            ["--file_slice_archive_script", "x"], ["--profile", "6060"], ["-sl", "stop"],
            ["--log_size_limit", "1"],
        ])
    func notBuilt(arguments: [String]) {
        let refusal = refusal(arguments)
        #expect(refusal?.exitCode == 1)
        #expect(refusal?.message.contains(arguments[0].drop { $0 == "-" }.split(separator: "=")[0]) == true)
        #expect(refusal?.message.contains("not supported yet") == true)
    }

    @Test("the same asked for off, or left empty, is nothing to refuse")
    func off() throws {
        let configuration = try configuration(
            "-clustered=false", "-tls=false", "--ft_group", "", "-js=false", "-c=")
        #expect(configuration.warnings == (try self.configuration()).warnings)
    }

    @Test("flags that tune the original's files are named in one warning, and nothing else is changed")
    func tuning() throws {
        let configuration = try configuration(
            "-file_compact_frag", "40", "--file_buffer_size", "1MB", "-file_fds_limit=5", "-file_auto_sync",
            "1m",
            "-io_batch_size", "2048", "-file_crc=false")
        #expect(configuration.warnings.count == 1)
        for name in [
            "file_compact_frag", "file_buffer_size", "file_fds_limit", "file_auto_sync", "io_batch_size",
            "file_crc",
        ] {
            #expect(configuration.warnings.first?.contains("-" + name) == true, "\(name)")
        }
        #expect(configuration.options.sync == .always)
        #expect(try self.configuration("-file_sync=false").options.sync == .never)
        #expect(try self.configuration("-file_sync=false", "--sync=never").options.sync == .never)
        #expect(try self.configuration("-file_sync").warnings.isEmpty)
    }

    @Test("help and version, as flag or word, win")
    func words() {
        for arguments in [["-h"], ["--help"], ["help"], ["-p", "1", "HELP"]] {
            guard case .print(let text) = ServeInvocation.parse(arguments) else {
                Issue.record("\(arguments) prints the usage")
                continue
            }
            #expect(text.contains("-cid, --cluster_id"))
            #expect(text.contains("--sync"))
        }
        for arguments in [["-v"], ["--version"], ["version"]] {
            guard case .print(let text) = ServeInvocation.parse(arguments) else {
                Issue.record("\(arguments) prints the version")
                continue
            }
            #expect(text.hasPrefix("broker version \(Version.number)"))
        }
    }

    /// What becomes of a flag of the original.
    enum Fate { case obeyed, warned, refused }

    /// Every name of nats-streaming.md 5.2 and 5.3 with a value that it takes, and what becomes of it.
    static let names: [(names: String, value: String?, fate: Fate)] = [
        ("cid cluster_id", "c", .obeyed), ("st store", "memory", .obeyed), ("dir", "d", .obeyed),
        ("mc max_channels msu max_subs mm max_msgs", "5", .obeyed), ("mb max_bytes", "5MB", .obeyed),
        ("ma max_age mi max_inactivity hbi hb_interval hbt hb_timeout", "5s", .obeyed),
        ("hbf hb_fail_count", "5", .obeyed),
        ("SD stan_debug SV stan_trace SDV replace_durable file_sync", nil, .obeyed),
        ("p port", "4333", .obeyed), ("a addr net", "127.0.0.1", .obeyed), ("m http_port", "8333", .obeyed),
        ("P pid ports_file_dir n name server_name l log", "x", .obeyed), ("client_advertise", "h:1", .obeyed),
        ("T logtime D debug V trace VV DV DVV", nil, .obeyed), ("max_traced_msg_len", "5", .obeyed),
        ("user auth", "u", .obeyed),
        ("io_batch_size io_sleep_time file_compact_frag file_compact_interval file_fds_limit", "5", .warned),
        ("file_crc_poly file_slice_max_msgs file_parallel_recovery", "5", .warned),
        ("file_compact_min_size file_buffer_size file_read_buffer_size file_slice_max_bytes", "5MB", .warned),
        ("file_auto_sync file_slice_max_age", "5s", .warned),
        ("file_compact_enabled file_crc file_truncate_bad_eof", nil, .warned), ("syslog_name", "x", .warned),
        ("ns nats_server sc stan_config ft_group encryption_cipher encryption_key", "x", .refused),
        ("sql_driver sql_source file_slice_archive_script", "x", .refused),
        ("sql_max_open_conns sql_bulk_insert_limit", "5", .refused),
        ("encrypt sql_no_caching", nil, .refused),
        ("clustered cluster_bootstrap cluster_sync cluster_raft_logging", nil, .refused),
        ("cluster_proceed_on_restore_failure cluster_allow_add_remove_node", nil, .refused),
        ("cluster_node_id cluster_peers cluster_log_path", "x", .refused),
        ("cluster_log_cache_size cluster_log_snapshots cluster_trailing_logs", "5", .refused),
        ("secure", nil, .refused), ("tls_client_cert tls_client_key tls_client_cacert", "x", .refused),
        ("ms https_port", "8443", .refused), ("c config", "x", .refused), ("log_size_limit", "5", .refused),
        ("s syslog", nil, .refused), ("r remote_syslog profile", "5", .refused),
        ("tls tlsverify", nil, .refused), ("tlscert tlskey tlscacert", "x", .refused),
        ("routes cluster cluster_listen cluster_name cluster_advertise connect_retries", "5", .refused),
        ("no_advertise js jetstream help_tls", nil, .refused), ("sd store_dir sl signal", "x", .refused),
    ]

    @Test("every flag of the original is obeyed, warned about or refused, by every name", arguments: names)
    func everyName(names: String, value: String?, fate: Fate) {
        for name in names.split(separator: " ").map(String.init) {
            for dashes in ["-", "--"] {
                let invocation = ServeInvocation.parse([dashes + name] + (value.map { [$0] } ?? []))
                switch (invocation, fate) {
                case (.run(let configuration), .obeyed):
                    #expect(configuration.warnings.isEmpty, "-\(name): \(configuration.warnings)")
                case (.run(let configuration), .warned):
                    #expect(configuration.warnings.count == 1, "-\(name)")
                    #expect(configuration.warnings.first?.hasSuffix(": -\(name)") == true, "-\(name)")
                case (.refused(let message, _, let exitCode), .refused):
                    #expect(exitCode == 1, "-\(name)")
                    #expect(message.hasPrefix("-\(name) is not supported yet: "), "-\(name): \(message)")
                default: Issue.record("-\(name) should be \(fate): \(invocation)")
                }
            }
        }
    }

    @Test("an advertised address is a host, perhaps with a port")
    func advertised() throws {
        for (text, host, port) in [
            ("h", "h", nil), ("h:4333", "h", 4333), ("10.0.0.1", "10.0.0.1", nil), ("[::1]:5", "::1", 5),
            ("[::1]", "::1", nil), ("fe80::1", "fe80::1", nil),
        ] as [(String, String, Int?)] {
            let options = try configuration("--client_advertise", text).options
            #expect(options.advertisedHost == host && options.advertisedPort == port, "\(text)")
        }
        for text in ["h:", ":1", "h:0", "h:65536", "h:x", "h:-1", "[::1", "[]:1", "[::1]x", "a b", "h:1 "] {
            #expect(
                refusal(["--client_advertise", text])?.message
                    == "--client_advertise should be host or host:port, like broker.example.org:4222, got '\(text)'"
            )
        }
    }
}

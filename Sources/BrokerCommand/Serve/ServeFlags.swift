import Broker
import Flags

/// Every flag of nats-streaming-server and of the nats-server in it, and our own (nats-streaming.md 5.2 and 5.3).
struct ServeFlags {
    private(set) var set = FlagSet()

    // Streaming
    let clusterID: Flag<String>
    let store: Flag<String>
    let directory: Flag<String>
    let maxChannels: Flag<Int>
    let maxSubscriptions: Flag<Int>
    let maxMessages: Flag<Int>
    let maxBytes: Flag<ByteCount>
    let maxAge: Flag<Duration>
    let maxInactivity: Flag<Duration>
    let heartbeatInterval: Flag<Duration>
    let heartbeatTimeout: Flag<Duration>
    let heartbeatFailures: Flag<Int>
    let replaceDurable: Flag<Bool>
    let fileSync: Flag<Bool>

    // Ours
    let sync: Flag<String>
    let journalSize: Flag<ByteCount>
    let memoryLimit: Flag<ByteCount>
    let loops: Flag<Int>
    let cpuLatency: Flag<Duration>

    // Network
    let port: Flag<Int>
    let host: Flag<String>
    let monitoringPort: Flag<Int>
    let serverName: Flag<String>
    let clientAdvertise: Flag<String>
    let pidFile: Flag<String>
    let portsFileDirectory: Flag<String>
    let user: Flag<String>
    let password: Flag<String>
    let token: Flag<String>
    let administratorToken: Flag<String>

    // Logging
    let logFile: Flag<String>
    let logTime: Flag<Bool>
    let debug: Flag<Bool>
    let trace: Flag<Bool>
    let verboseTrace: Flag<Bool>
    let debugAndTrace: Flag<Bool>
    let debugAndVerboseTrace: Flag<Bool>
    let maxTracedMessageBytes: Flag<Int>
    let streamingDebug: Flag<Bool>
    let streamingTrace: Flag<Bool>
    let streamingDebugAndTrace: Flag<Bool>

    // Words
    let help: Flag<Bool>
    let version: Flag<Bool>
    let testsConfiguration: Flag<Bool>

    init() {
        let defaults = BrokerOptions()
        set.section("Streaming options")
        clusterID = set.define("cid", "cluster_id", default: defaults.clusterID, "cluster id")
        store = set.define("st", "store", default: "file", "where channels are kept: file or memory")
        directory = set.define(
            "dir", default: defaults.directory, "data directory of the file store, created if absent")
        maxChannels = set.define(
            "mc", "max_channels", default: defaults.maxChannels, "channels (0 for unlimited)")
        maxSubscriptions = set.define(
            "msu", "max_subs", default: defaults.maxSubscriptionsPerChannel,
            "subscriptions of one channel (0 for unlimited)")
        maxMessages = set.define(
            "mm", "max_msgs", default: defaults.maxMessages, "messages kept in one channel (0 for unlimited)")
        maxBytes = set.define(
            "mb", "max_bytes", default: ByteCount(defaults.maxBytes),
            "bytes kept in one channel (0 for unlimited)")
        maxAge = set.define("ma", "max_age", default: .zero, "age of the messages kept (0 for unlimited)")
        maxInactivity = set.define(
            "mi", "max_inactivity", default: .zero,
            "time without a subscription after which a channel is deleted (0 for never)")
        heartbeatInterval = set.define(
            "hbi", "hb_interval", default: .seconds(30), "time between heartbeats to a client")
        heartbeatTimeout = set.define(
            "hbt", "hb_timeout", default: .seconds(10), "time that a client has to answer a heartbeat")
        heartbeatFailures = set.define(
            "hbf", "hb_fail_count", default: defaults.maxFailedHeartbeats,
            "heartbeats that may fail in a row before the client is closed")
        replaceDurable = set.define(
            "replace_durable", default: false, "a second subscribe of a live durable replaces it")
        streamingDebug = set.define("SD", "stan_debug", default: false, "debug log of the streaming part")
        streamingTrace = set.define("SV", "stan_trace", default: false, "trace log of the streaming part")
        streamingDebugAndTrace = set.define(
            "SDV", default: false, "debug and trace log of the streaming part")

        set.section("Durability (ours)")
        sync = set.define(
            "sync", default: "always", placeholder: "always|interval=<duration>|never",
            "when a publish is acknowledged: after its sync, or before")
        journalSize = set.define(
            "journal-size", default: ByteCount(defaults.journalSizeBytes), "bytes that the journal may take")
        memoryLimit = set.define(
            "memory-limit", default: ByteCount(0), placeholder: "size",
            "memory for stored messages (default: a quarter of the control group's, else 128MB)")
        fileSync = set.define("file_sync", default: true, "-file_sync=false means --sync never")
        loops = set.define("loops", default: defaults.loops, "event loops (threads that serve connections)")
        cpuLatency = set.define(
            "cpu-latency", default: .zero,
            "time that a processor may take to wake up while there is work, like 0s (default: as the system has it)"
        )

        set.section("Server options")
        port = set.define("p", "port", default: defaults.port, "port for clients (-1 for a random one)")
        host = set.define("a", "addr", "net", default: defaults.host, "address to listen on")
        monitoringPort = set.define(
            "m", "http_port", default: 0, "port for monitoring (0 for none, -1 for a random one)")
        serverName = set.define("n", "name", "server_name", default: "", "the server's name")
        clientAdvertise = set.define(
            "client_advertise", default: "", placeholder: "host[:port]",
            "address that clients are told in place of the one listened on")
        pidFile = set.define("P", "pid", default: "", placeholder: "file", "file to write the process id to")
        portsFileDirectory = set.define(
            "ports_file_dir", default: "", placeholder: "dir", "directory of the file that tells the ports")
        user = set.define("user", default: "", "user name that clients must present")
        password = set.define("pass", default: "", "password that goes with the user name")
        token = set.define("auth", default: "", placeholder: "token", "token that clients must present")
        administratorToken = set.define(
            "admin-auth", default: "", placeholder: "token",
            "token that clients must present to delete and purge channels (default: whoever connects may)")

        set.section("Logging")
        logFile = set.define(
            "l", "log", default: "", placeholder: "file",
            "log file (default: standard error); SIGUSR1 reopens it")
        logTime = set.define("T", "logtime", default: true, "time in log lines")
        debug = set.define("D", "debug", default: false, "debug log of the server part")
        trace = set.define("V", "trace", default: false, "trace log of the server part")
        verboseTrace = set.define("VV", default: false, "the same as -V")
        debugAndTrace = set.define("DV", default: false, "debug and trace log of the server part")
        debugAndVerboseTrace = set.define("DVV", default: false, "the same as -DV")
        maxTracedMessageBytes = set.define(
            "max_traced_msg_len", default: 0, "bytes of a payload that trace lines show (0 for all)")

        set.section("Other")
        help = set.define("h", "help", default: false, "this text")
        version = set.define("v", "version", default: false, "the version")
        testsConfiguration = set.define("t", default: false)
        for name in ServeFlags.notBuilt.keys.sorted() {
            notBuilt.append((name, .text(set.define(name, default: ""))))
        }
        for name in ServeFlags.notBuiltSwitches.keys.sorted() {
            notBuilt.append((name, .isSwitch(set.define(name, default: false))))
        }
        for (name, kind) in ServeFlags.tuning.sorted(by: { $0.key < $1.key }) {
            switch kind {
            case .text: tuning.append((name, .text(set.define(name, default: ""))))
            case .number: tuning.append((name, .number(set.define(name, default: Int.min))))
            case .size: tuning.append((name, .size(set.define(name, default: ByteCount(.min)))))
            case .duration:
                tuning.append((name, .duration(set.define(name, default: .nanoseconds(Int64.min)))))
            case .isSwitch: tuning.append((name, .isSwitch(set.define(name, default: false))))
            }
        }
    }

    /// A flag of a type that depends on its name.
    enum AnyFlag {
        case text(Flag<String>)
        case number(Flag<Int>)
        case size(Flag<ByteCount>)
        case duration(Flag<Duration>)
        case isSwitch(Flag<Bool>)
    }

    /// Flags of the original that ask for something that this broker does not have, in the order of their names.
    private(set) var notBuilt: [(name: String, flag: AnyFlag)] = []
    /// Flags of the original that tune its own files and threads.
    private(set) var tuning: [(name: String, flag: AnyFlag)] = []

    /// What the flags with a value that are not built would do. Each changes what is stored, who may connect or who serves:
    /// taking one and going on without would deceive the operator.
    static let notBuilt: [String: String] = [
        "ns": "an external NATS server", "nats_server": "an external NATS server",
        "sc": "the streaming configuration file", "stan_config": "the streaming configuration file",
        "c": "the configuration file", "config": "the configuration file",
        "ft_group": "fault tolerance", "encryption_cipher": "encryption at rest",
        "encryption_key": "encryption at rest",
        "sql_driver": "the SQL store", "sql_source": "the SQL store", "sql_max_open_conns": "the SQL store",
        "sql_bulk_insert_limit": "the SQL store",
        "file_slice_archive_script": "the archive script (it would never be called)",
        "cluster_node_id": "clustering", "cluster_peers": "clustering", "cluster_log_path": "clustering",
        "cluster_log_cache_size": "clustering", "cluster_log_snapshots": "clustering",
        "cluster_trailing_logs": "clustering",
        "tls_client_cert": "TLS", "tls_client_key": "TLS", "tls_client_cacert": "TLS",
        "tlscert": "TLS", "tlskey": "TLS", "tlscacert": "TLS",
        "ms": "monitoring over HTTPS", "https_port": "monitoring over HTTPS",
        "routes": "route clustering", "cluster": "route clustering", "cluster_listen": "route clustering",
        "cluster_name": "route clustering", "cluster_advertise": "route clustering",
        "connect_retries": "route clustering",
        "sd": "JetStream", "store_dir": "JetStream",
        "sl": "signalling (send the signal with kill)", "signal": "signalling (send the signal with kill)",
        "r": "the remote syslog", "remote_syslog": "the remote syslog",
        "log_size_limit": "log rotation by size",
        "profile": "the profiling port",
    ]

    /// The same for switches.
    static let notBuiltSwitches: [String: String] = [
        "encrypt": "encryption at rest", "sql_no_caching": "the SQL store",
        "clustered": "clustering", "cluster_bootstrap": "clustering", "cluster_sync": "clustering",
        "cluster_raft_logging": "clustering", "cluster_proceed_on_restore_failure": "clustering",
        "cluster_allow_add_remove_node": "clustering",
        "secure": "TLS", "tls": "TLS", "tlsverify": "TLS", "help_tls": "TLS",
        "js": "JetStream", "jetstream": "JetStream", "no_advertise": "route clustering",
        "s": "the syslog", "syslog": "the syslog",
    ]

    enum Kind { case text, number, size, duration, isSwitch }

    /// Flags that only tune the original's files, threads and traces.
    static let tuning: [String: Kind] = [
        "io_batch_size": .number, "io_sleep_time": .number,
        "file_compact_enabled": .isSwitch, "file_compact_frag": .number, "file_compact_interval": .number,
        "file_compact_min_size": .size, "file_buffer_size": .size, "file_read_buffer_size": .size,
        "file_crc": .isSwitch, "file_crc_poly": .number, "file_auto_sync": .duration,
        "file_slice_max_msgs": .number, "file_slice_max_bytes": .size, "file_slice_max_age": .duration,
        "file_fds_limit": .number, "file_parallel_recovery": .number, "file_truncate_bad_eof": .isSwitch,
        "syslog_name": .text,
    ]
}

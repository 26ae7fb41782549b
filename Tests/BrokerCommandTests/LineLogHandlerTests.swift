import Glibc
import Logging
import Testing

@testable import BrokerCommand

@Suite("The log's lines")
struct LineLogHandlerTests {
    /// A log file of its own, removed at the end.
    final class LogFile {
        let path: String
        init() throws {
            var template = Array("/tmp/broker-log-XXXXXX".utf8CString)
            let descriptor = mkstemp(&template)
            try #require(descriptor >= 0)
            close(descriptor)
            path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        }
        var text: String {
            guard let file = fopen(path, "r") else { return "" }
            defer { fclose(file) }
            var bytes = [UInt8](repeating: 0, count: 65_536)
            let count = fread(&bytes, 1, bytes.count, file)
            return String(decoding: bytes[..<count], as: UTF8.self)
        }
        deinit {
            unlink(path)
            unlink(path + ".1")
        }
    }

    func handler(
        _ file: LogFile, _ verbosity: LogOptions.Verbosity = .info, hasTime: Bool = false
    ) throws -> LineLogHandler {
        LineLogHandler(
            verbosity, hasTime: hasTime, to: try LogDestination(file: file.path), processID: 42,
            now: { timespec(tv_sec: 1_767_355_504, tv_nsec: 1_234_000) })
    }

    @Test("have the process id, the time to the microsecond, the label, the text and then the metadata")
    func form() throws {
        setenv("TZ", "UTC", 1)
        let file = try LogFile()
        let handler = try handler(file, hasTime: true)
        let logger = Logger(label: "t") { _ in handler }
        logger.info("STREAM: ready", metadata: ["port": "4222", "host": "a b"])
        logger.error("bad")
        logger.debug("unseen")
        #expect(
            file.text == """
                [42] 2026/01/02 12:05:04.001234 [INF] STREAM: ready host="a b" port=4222
                [42] 2026/01/02 12:05:04.001234 [ERR] bad

                """)
    }

    @Test("every level has its label, and -T=false drops the time")
    func labels() throws {
        let file = try LogFile()
        let handler = try handler(file)
        let lines = Logger.Level.allCases.map { handler.line($0, "x", [:]) }
        #expect(lines == ["TRC", "DBG", "INF", "INF", "WRN", "ERR", "FTL"].map { "[42] [\($0)] x\n" })
    }

    @Test("each verbosity includes the one before")
    func verbosity() throws {
        let file = try LogFile()
        for verbosity in [LogOptions.Verbosity.info, .debug, .trace] {
            let handler = try handler(file, verbosity)
            let logger = Logger(label: "t") { _ in handler }
            logger.info("\(verbosity)")
            logger.debug("\(verbosity)")
            logger.trace("\(verbosity)")
        }
        #expect(
            file.text == """
                [42] [INF] info
                [42] [INF] debug
                [42] [DBG] debug
                [42] [INF] trace
                [42] [DBG] trace
                [42] [TRC] trace

                """)
    }

    @Test("a text from a client forges no line, and secrets are not shown")
    func hostile() throws {
        let file = try LogFile()
        let line = try handler(file).line(
            .info, "a\n[1] [FTL] b\u{1B}[2J", ["password": "s3cret", "auth_token": "s3cret", "x": "\r"])
        #expect(
            line == "[42] [INF] a\\n[1] [FTL] b\\x1b[2J auth_token=[REDACTED] password=[REDACTED] x=\\r\n")
    }

    @Test("a log file that was moved away is opened again under its name")
    func reopen() throws {
        let file = try LogFile()
        let destination = try LogDestination(file: file.path)
        destination.write(Array("one\n".utf8))
        rename(file.path, file.path + ".1")
        destination.write(Array("two\n".utf8))
        guard case .done = destination.reopen() else {
            Issue.record("it can be opened")
            return
        }
        destination.write(Array("three\n".utf8))
        #expect(file.text == "three\n")
        guard case .notAFile = LogDestination().reopen() else {
            Issue.record("standard error is no file")
            return
        }
        #expect(throws: Refusal.self) { try LogDestination(file: "/nonexistent/x/log") }
    }
}

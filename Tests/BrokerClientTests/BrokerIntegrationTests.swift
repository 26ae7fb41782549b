import Broker
import BrokerClient
import Glibc
import Logging
import Testing

/// A broker in this process, with a data directory of its own that is removed at the end.
final class LocalBroker {
    private(set) var server: BrokerServer
    private var options: BrokerOptions
    private let directory: String

    init(_ change: (inout BrokerOptions) -> Void = { _ in }) async throws {
        var template = Array("/tmp/broker-client-tests-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { buffer in
            mkdtemp(buffer.baseAddress!).map { String(cString: $0) }
        }
        directory = try #require(made)
        options = BrokerOptions()
        options.host = "127.0.0.1"
        options.port = -1
        options.directory = directory + "/data"
        options.clusterID = "vc"
        options.journalSizeBytes = 32 << 20
        change(&options)
        server = try await Self.start(options)
        options.port = server.port
    }

    private static func start(_ options: BrokerOptions) async throws -> BrokerServer {
        let silence = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        return try await BrokerServer.start(
            options: options, version: "test", logger: silence, streamingLogger: silence)
    }

    var url: String { "nats://127.0.0.1:\(server.port)" }

    /// Options of a client that comes back quickly, and that a slow machine does not make give up.
    func client() throws -> ClientOptions {
        var options = try ClientOptions(url)
        options.connectTimeout = .seconds(300)
        options.reconnect.firstDelay = .milliseconds(5)
        options.reconnect.maxDelay = .milliseconds(50)
        return options
    }

    func streaming(_ id: String, _ client: ClientOptions? = nil) async throws -> StreamingClient {
        var options = StreamingOptions()
        options.requestTimeout = .seconds(300)
        options.publishTimeout = .seconds(300)
        return try await StreamingClient.connect(
            clusterID: "vc", clientID: id, client ?? self.client(), streaming: options)
    }

    /// Stops it and starts it again on the same port and directory.
    func restart() async throws {
        try await server.shutdown()
        server = try await Self.start(options)
    }

    func stop() async throws {
        try await server.shutdown()
        removeDirectory(directory)
    }

    private func removeDirectory(_ path: String) {
        if let entries = opendir(path) {
            while let entry = readdir(entries) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if name == "." || name == ".." { continue }
                let full = path + "/" + name
                if unlink(full) != 0 { removeDirectory(full) }
            }
            closedir(entries)
        }
        rmdir(path)
    }
}

@Suite("The client against this broker", .timeLimit(.minutes(10)))
struct BrokerIntegrationTests {
    @Test("publishes, subscribes, queues, headers, requests")
    func core() async throws {
        let broker = try await LocalBroker()
        let client = try await Client.connect(try broker.client())
        let all = try await client.subscribe("a.>")
        let queues = [
            try await client.subscribe("a.*", queueGroup: "q"),
            try await client.subscribe("a.*", queueGroup: "q"),
        ]
        let responder = try await client.subscribe("svc")
        let answering = Task {
            for try await request in responder {
                try await client.reply(to: request, Array("re: ".utf8) + request.payload)
            }
        }
        for number in 0..<100 { try await client.publish("a.b", "\(number)", headers: ["N": "\(number)"]) }
        try await client.flush()
        var iterator = all.makeAsyncIterator()
        for number in 0..<100 {
            let message = try await iterator.next()
            #expect(message?.text == "\(number)")
            #expect(message?.headers["N"] == "\(number)")
        }
        for queue in queues { try await queue.drain() }
        var shared = 0
        for queue in queues { for try await _ in queue { shared += 1 } }
        #expect(shared == 100)
        #expect(try await client.request("svc", "x", timeout: .seconds(300)).text == "re: x")
        await #expect(throws: ClientError.noResponders) {
            try await client.request("nobody", "x", timeout: .seconds(300))
        }
        try await client.drain()
        try await answering.value
        try await broker.stop()
    }

    @Test("stores, delivers from every start, and keeps a durable's position")
    func streaming() async throws {
        let broker = try await LocalBroker()
        let client = try await broker.streaming("me")
        for number in 1...10 { try await client.publish("orders", Array("\(number)".utf8)) }

        func first(_ start: ChannelSubscriptionOptions.Start) async throws -> UInt64? {
            let subscription = try await client.subscribe("orders", ChannelSubscriptionOptions(start: start))
            var iterator = subscription.makeAsyncIterator()
            let sequence = try await iterator.next()?.sequence
            try await subscription.close()
            return sequence
        }
        #expect(try await first(.first) == 1)
        #expect(try await first(.last) == 10)
        #expect(try await first(.sequence(4)) == 4)
        #expect(try await first(.since(.seconds(3600))) == 1)

        let durable = ChannelSubscriptionOptions(start: .first, durableName: "d")
        let once = try await client.subscribe("orders", durable)
        var iterator = once.makeAsyncIterator()
        for sequence in 1...5 as ClosedRange<UInt64> {
            let message = try await iterator.next()
            #expect(message?.sequence == sequence)
            message?.acknowledge()
        }
        try await once.close()
        let again = try await client.subscribe("orders", durable)
        var rest = again.makeAsyncIterator()
        var seen: Set<UInt64> = []
        while let message = try await rest.next() {
            seen.insert(message.sequence)
            message.acknowledge()
            if seen.isSuperset(of: 6...10) { break }
        }
        #expect(seen == Set(6...10))
        await #expect(throws: StreamingError.refused("stan: duplicate durable registration")) {
            try await client.subscribe("orders", durable)
        }
        try await again.unsubscribe()
        try await client.close()
        try await broker.stop()
    }

    @Test("many publishes in flight are all stored, once each")
    func inFlight() async throws {
        let broker = try await LocalBroker()
        let client = try await broker.streaming("me")
        let (outcomes, report) = AsyncStream.makeStream(of: Bool.self)
        let count = 20_000
        for number in 0..<count {
            try await client.publish("c", Array("\(number)".utf8)) { outcome in
                if case .success = outcome { report.yield(true) } else { report.yield(false) }
            }
        }
        try await client.flush()
        report.finish()
        var stored = 0
        for await outcome in outcomes where outcome { stored += 1 }
        #expect(stored == count)
        let all = try await client.subscribe("c", ChannelSubscriptionOptions(start: .first))
        var expected = 0
        for try await message in all {
            #expect(message.text == "\(expected)")
            expected += 1
            if expected == count { break }
        }
        try await client.close()
        try await broker.stop()
    }

    @Test("a client id that is taken is refused, and so is a cluster id that is wrong")
    func refusals() async throws {
        let broker = try await LocalBroker()
        // A live client has the protocol's 500 ms to answer: an attempt that took longer says nothing, and is made again.
        for attempt in 0..<50 {
            let client = try await broker.streaming("me-\(attempt)")
            let started = ContinuousClock.now
            do {
                try await broker.streaming("me-\(attempt)").client.close()
                try #require(started.duration(to: .now) >= .milliseconds(500), "a live client was replaced")
                try #require(attempt < 49, "this machine never answered within 500 ms")
                await client.client.close()
            } catch StreamingError.refused(let reason) {
                #expect(reason == "stan: clientID already registered")
                try await client.close()
                break
            }
        }
        await #expect(throws: StreamingError.noStreamingServer(clusterID: "other")) {
            try await StreamingClient.connect(clusterID: "other", clientID: "x", try broker.client())
        }
        try await broker.stop()
    }

    @Test("a restart of the broker costs clients a reconnect and nothing else")
    func restart() async throws {
        let broker = try await LocalBroker()
        let client = try await broker.streaming("me")
        var options = ChannelSubscriptionOptions(start: .first)
        options.ackWait = .seconds(1)
        let subscription = try await client.subscribe("orders", options)
        let received = Task {
            var sequences: Set<UInt64> = []
            for try await message in subscription {
                sequences.insert(message.sequence)
                message.acknowledge()
                if sequences.count == 20 { break }
            }
            return sequences
        }
        for _ in 0..<10 { try await client.publish("orders", [1]) }
        var events = client.events().makeAsyncIterator()
        try await broker.restart()
        while let event = await events.next() {
            if case .reconnected = event { break }
        }
        for _ in 0..<10 { try await client.publish("orders", [2]) }
        #expect(try await received.value == Set(1...20))
        try await client.close()
        try await broker.stop()
    }

    @Test("a broker that forgets its clients ends their sessions with the reason")
    func memoryRestart() async throws {
        let broker = try await LocalBroker { $0.store = .memory }
        let client = try await broker.streaming("me")
        let subscription = try await client.subscribe("orders")
        try await broker.restart()
        var iterator = subscription.makeAsyncIterator()
        let lost = StreamingError.sessionLost("client has been replaced or is no longer registered")
        await #expect(throws: lost) { try await iterator.next() }
        await #expect(throws: lost) { try await client.publish("orders", []) }
        await client.client.close()
        try await broker.stop()
    }

    @Test("credentials are asked for")
    func credentials() async throws {
        let broker = try await LocalBroker {
            $0.user = "me"
            $0.password = "secret"
        }
        var options = try broker.client()
        await #expect(throws: ClientError.authorization("Authorization Violation")) {
            try await Client.connect(options)
        }
        options.user = "me"
        options.password = "secret"
        let client = try await broker.streaming("a", options)
        try await client.publish("c", [1])
        try await client.close()
        try await broker.stop()
    }
}

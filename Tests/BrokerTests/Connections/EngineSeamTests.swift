import Synchronization
import Testing

@testable import Broker

/// What an engine was called with.
private final class Calls: Sendable {
    struct Message: Equatable {
        var tag: UInt64
        var subject: String
        var reply: String
        var payload: String
    }
    private let contents = Mutex<[Message]>([])
    let congestionEnds = Mutex(0)
    let ticks = Mutex(0)

    func add(_ message: Message) { contents.withLock { $0.append(message) } }
    var messages: [Message] { contents.withLock { $0 } }

    /// Calls of an engine that notes what it receives and then lets `react` answer on its loop.
    func engine(_ react: @escaping (Message) -> Void = { _ in }) -> EngineCalls {
        EngineCalls(
            receive: { tag, subject, reply, payload in
                let message = Message(
                    tag: tag, subject: Array(subject).text, reply: Array(reply).text,
                    payload: Array(payload).text)
                self.add(message)
                react(message)
            },
            endOfTick: {
                self.ticks.withLock { $0 += 1 }
                return false
            }, timeReached: { _ in }, nextDeadline: { nil },
            congestionEnded: { self.congestionEnds.withLock { $0 += 1 } })
    }
}

extension LoopCore {
    @discardableResult
    fileprivate func publish(_ subject: String, reply: String = "", _ payload: String) -> DeliveryOutcome {
        Array(subject.utf8).withUnsafeBytes { subject in
            Array(reply.utf8).withUnsafeBytes { reply in
                Array(payload.utf8).withUnsafeBytes { payload in
                    publish(subject: subject, reply: reply, payload: payload)
                }
            }
        }
    }
}

@Suite("the streaming engine's way through the core", .timeLimit(.minutes(10)))
struct EngineSeamTests {
    @Test("a listening engine gets messages without headers, and its answers go out", arguments: [1, 3])
    func roundTrip(loops: Int) async throws {
        let calls = Calls()
        let prepare: @Sendable (LoopCore) -> Void = { core in
            core.engine = calls.engine { message in
                let outcome = core.publish(message.reply, "echo " + message.payload)
                #expect(outcome.receivers == (message.reply.isEmpty ? 0 : 1))
            }
            core.listen(on: Array("svc.>".utf8), tag: 7)
        }
        try await CoreFixture.run(loops: loops, prepare: prepare) { core in
            var clients: [RawClient] = []
            for _ in 0..<loops {
                clients.append(
                    try await RawClient.ready(port: core.port, "\"headers\":true,\"no_responders\":true"))
            }
            for client in clients {
                client.send("SUB r.* 1\r\n")
                #expect(try await client.untilPong() == "")
                client.send("PUB svc.a.b r.1 2\r\nhi\r\n")
                #expect(try await client.message() == ("MSG r.1 1 7", Array("echo hi".utf8)))
                client.send("UNSUB 1\r\nSUB r.* 2\r\n")
                client.send("HPUB svc.h r.2 12 14\r\nNATS/1.0\r\n\r\nho\r\n")
                #expect(try await client.message() == ("MSG r.2 2 7", Array("echo ho".utf8)))
                client.send("UNSUB 2\r\n")
                #expect(try await client.untilPong() == "")
            }
            #expect(calls.messages.count == 2 * loops)
            #expect(calls.messages.allSatisfy { $0.tag == 7 })
            // The engine listens, so it is no case of "no responders"; once it stops, it is.
            let client = clients[loops - 1]
            client.send("SUB s 3\r\nPUB svc.x s 0\r\n\r\n")
            #expect(try await client.message().payload.text == "echo ")
            try await core.onLoop(0) { $0.stopListening(on: Array("svc.>".utf8), tag: 7) }
            while try await core.counters().subscriptions != 1 { await Task.yield() }
            #expect(try await client.untilPong() == "")
            client.send("PUB svc.x s 0\r\n\r\n")
            #expect(try await client.message().line.hasPrefix("HMSG s 3"))
        }
    }

    @Test("who listens on the engine's loop sees a request from another loop as it was published")
    func besideTheEngine() async throws {
        let calls = Calls()
        let prepare: @Sendable (LoopCore) -> Void = { core in
            core.engine = calls.engine { message in
                let outcome = core.publish(message.reply, "echo " + message.payload)
                #expect(outcome.receivers == 2)
            }
            core.listen(on: Array("svc".utf8), tag: 7)
        }
        try await CoreFixture.run(loops: 3, prepare: prepare) { core in
            var clients: [RawClient] = []
            for _ in 0..<3 { clients.append(try await RawClient.ready(port: core.port)) }
            for monitor in clients {
                for requester in clients where requester !== monitor {
                    monitor.send("SUB > 1\r\n")
                    #expect(try await monitor.untilPong() == "")
                    requester.send("SUB r 1\r\n")
                    #expect(try await requester.untilPong() == "")
                    requester.send("PUB svc r 2\r\nhi\r\n")
                    #expect(try await requester.message() == ("MSG r 1 7", Array("echo hi".utf8)))
                    // Where the monitor is on a third loop, either may come first.
                    var seen: Set<String> = []
                    for _ in 0..<2 {
                        let message = try await monitor.message()
                        seen.insert("\(message.line): \(message.payload.text)")
                    }
                    #expect(seen == ["MSG svc 1 r 2: hi", "MSG r 1 7: echo hi"])
                    for client in [monitor, requester] {
                        client.send("UNSUB 1\r\n")
                        #expect(try await client.untilPong() == "")
                    }
                }
            }
        }
    }

    @Test("a subject that would end early in a delivery's line has no receiver")
    func injection() async throws {
        let prepare: @Sendable (LoopCore) -> Void = { $0.engine = Calls().engine() }
        try await CoreFixture.run(prepare: prepare) { core in
            let client = try await RawClient.ready(port: core.port)
            client.send("SUB > 1\r\nSUB * 2\r\n")
            #expect(try await client.untilPong() == "")
            let subject = "x 1 0\r\n\r\nMSG forged 1 2\r\nno\r\nMSG x"
            let outcome = try await core.onLoop(0) { core in
                let isHeard = Array(subject.utf8).withUnsafeBytes { core.hasReceiver(for: $0) }
                return (core.publish(subject, "").receivers, isHeard)
            }
            #expect(outcome.0 == 0)
            #expect(outcome.1 == false)
            #expect(try await client.untilPong() == "")
        }
    }

    @Test("an engine that publishes to itself is called after it returned, never inside itself")
    func recursion() async throws {
        let calls = Calls()
        let depth = Mutex(0)
        let prepare: @Sendable (LoopCore) -> Void = { core in
            core.engine = calls.engine { message in
                let now = depth.withLock { depth in
                    depth += 1
                    return depth
                }
                #expect(now == 1)
                if message.payload.count < 5 { core.publish("self", message.payload + "x") }
                depth.withLock { $0 -= 1 }
            }
            core.listen(on: Array("self".utf8), tag: 1)
        }
        try await CoreFixture.run(prepare: prepare) { core in
            let client = try await RawClient.ready(port: core.port)
            client.send("PUB self 1\r\nx\r\n")
            while calls.messages.count < 5 { await Task.yield() }
            #expect(calls.messages.map(\.payload) == ["x", "xx", "xxx", "xxxx", "xxxxx"])
        }
    }

    @Test("it may listen and stop listening while it is called; the message goes to all tags of before")
    func changes() async throws {
        let calls = Calls()
        let prepare: @Sendable (LoopCore) -> Void = { core in
            core.engine = calls.engine { message in
                core.stopListening(on: Array("a.*".utf8), tag: 1)
                core.stopListening(on: Array("a.b".utf8), tag: 2)
                core.listen(on: Array("a.b".utf8), tag: 3)
            }
            core.listen(on: Array("a.*".utf8), tag: 1)
            core.listen(on: Array("a.b".utf8), tag: 2)
        }
        try await CoreFixture.run(prepare: prepare) { core in
            let client = try await RawClient.ready(port: core.port)
            client.send("PUB a.b 0\r\n\r\nPUB a.b 0\r\n\r\n")
            #expect(try await client.untilPong() == "")
            #expect(Set(calls.messages.prefix(2).map(\.tag)) == [1, 2])
            #expect(calls.messages.dropFirst(2).allSatisfy { $0.tag == 3 })
        }
    }

    @Test("it learns whether somebody would receive a message", arguments: [1, 3])
    func receivers(loops: Int) async throws {
        let prepare: @Sendable (LoopCore) -> Void = { core in
            core.engine = Calls().engine()
            core.listen(on: Array("in.*".utf8), tag: 1)
        }
        try await CoreFixture.run(loops: loops, prepare: prepare) { core in
            func hasReceiver(_ subject: String) async throws -> Bool {
                try await core.onLoop(0) { core in
                    Array(subject.utf8).withUnsafeBytes { core.hasReceiver(for: $0) }
                }
            }
            // Its own interest does not count.
            #expect(try await hasReceiver("in.a") == false)
            for _ in 0..<loops {
                let client = try await RawClient.ready(port: core.port)
                client.send("SUB in.a 1\r\n")
                #expect(try await client.untilPong() == "")
                #expect(try await hasReceiver("in.a"))
                client.send("UNSUB 1\r\n")
                #expect(try await client.untilPong() == "")
                #expect(try await hasReceiver("in.a") == false)
            }
            #expect(try await hasReceiver("in..a") == false)
        }
    }

    @Test(
        "publishers that it pauses are not read, others are; afterwards nothing is lost", arguments: [1, 3])
    func pause(loops: Int) async throws {
        let calls = Calls()
        let prepare: @Sendable (LoopCore) -> Void = { core in
            core.engine = calls.engine()
            core.listen(on: Array("svc".utf8), tag: 1)
        }
        try await CoreFixture.run(loops: loops, prepare: prepare) { core in
            var publishers: [RawClient] = []
            for _ in 0..<loops {
                let publisher = try await RawClient.ready(port: core.port)
                publisher.send("PUB svc 1\r\n1\r\n")
                #expect(try await publisher.untilPong() == "")
                publishers.append(publisher)
            }
            try await core.onLoop(0) { $0.pausePublishers() }
            // Loops other than 0 learn of it through their mailboxes.
            for loop in 0..<loops {
                while try await core.onLoop(loop, { $0.state.pointee.publishersArePaused }) == false {
                    await Task.yield()
                }
            }
            for publisher in publishers {
                try await publisher.sendAndWait(Array("PUB svc 1\r\n2\r\nPING\r\n".utf8))
            }
            let other = try await RawClient.ready(port: core.port)
            #expect(try await other.untilPong() == "")
            #expect(calls.messages.count == loops)
            try await core.onLoop(0) { $0.resumePublishers() }
            for publisher in publishers { #expect(try await publisher.line() == "PONG") }
            #expect(
                calls.messages.map(\.payload) == Array(repeating: "1", count: loops)
                    + Array(repeating: "2", count: loops))
        }
    }

    @Test(
        "a receiver with more than 4 MiB pending is congested, and the engine hears of its end",
        arguments: [1, 3])
    func congestion(loops: Int) async throws {
        let calls = Calls()
        let prepare: @Sendable (LoopCore) -> Void = { $0.engine = calls.engine() }
        try await CoreFixture.run(loops: loops, prepare: prepare) { core in
            var readers: [RawClient] = []
            for _ in 0..<loops {
                let reader = try await RawClient.open(port: core.port, reading: false)
                try await reader.sendAndWait(
                    Array("CONNECT {\"verbose\":false}\r\nSUB inbox.\(readers.count) 1\r\n".utf8))
                readers.append(reader)
            }
            for loop in 0..<loops {
                while try await core.onLoop(loop, { $0.state.pointee.router.count }) < loops {
                    await Task.yield()
                }
            }
            for (number, reader) in readers.enumerated() {
                var published = 0
                while true {
                    let outcome = try await core.onLoop(0) { core in
                        let outcome = core.publish("inbox.\(number)", String(repeating: "x", count: 65_536))
                        return (outcome.receivers, outcome.congested)
                    }
                    #expect(outcome.0 == 1)
                    published += 1
                    // A loop that takes over what it was sent is congested too; that ends by itself.
                    var isReported = false
                    for loop in 0..<loops where !isReported {
                        isReported = try await core.onLoop(loop) { core in
                            core.state.pointee.connections.all.contains { $0.pointee.isReportedCongested }
                        }
                    }
                    if outcome.1, isReported { break }
                    try #require(published < 2000)
                }
                let before = calls.congestionEnds.withLock { $0 }
                try await reader.startReading()
                #expect(try await reader.line().hasPrefix("INFO"))
                for _ in 0..<published { #expect(try await reader.message().payload.count == 65_536) }
                while calls.congestionEnds.withLock({ $0 }) == before { await Task.yield() }
            }
            #expect(try await core.counters().slowConsumers == 0)
        }
    }

    @Test("what it sends in one tick is bounded, however fast the receiver reads", arguments: [1, 3])
    func burst(loops: Int) async throws {
        let calls = Calls()
        let prepare: @Sendable (LoopCore) -> Void = { $0.engine = calls.engine() }
        try await CoreFixture.run(loops: loops, prepare: prepare) { core in
            for number in 0..<loops {
                let reader = try await RawClient.ready(port: core.port)
                reader.send("SUB inbox.\(number) 1\r\n")
                #expect(try await reader.untilPong() == "")
                let ends = calls.congestionEnds.withLock { $0 }
                let (published, isCongested) = try await core.onLoop(0) { core in
                    let payload = String(repeating: "x", count: 65_536)
                    var published = 1
                    while !core.publish("inbox.\(number)", payload).congested, published < 1_000 {
                        published += 1
                    }
                    let isCongested = Array("inbox.\(number)".utf8).withUnsafeBytes { core.isCongested($0) }
                    return (published, isCongested)
                }
                #expect(published == 64)
                #expect(isCongested)
                for _ in 0..<published { #expect(try await reader.message().payload.count == 65_536) }
                while calls.congestionEnds.withLock({ $0 }) == ends { await Task.yield() }
            }
            #expect(try await core.counters().slowConsumers == 0)
        }
    }

    @Test("a message at which its receiver is cut off has no receiver; another of the group gets it")
    func cutOff() async throws {
        let options = CoreFixture.options { $0.maxPending = 65_536 }
        let prepare: @Sendable (LoopCore) -> Void = { $0.engine = Calls().engine() }
        try await CoreFixture.run(options, prepare: prepare) { core in
            let client = try await RawClient.ready(port: core.port)
            client.send("SUB inbox 1\r\n")
            #expect(try await client.untilPong() == "")
            let receivers = try await core.onLoop(0) { core in
                core.publish("inbox", String(repeating: "x", count: 100_000)).receivers
            }
            #expect(receivers == 0)
            #expect(try await client.rest() == "")

            // One has so much pending that only the other has room.
            let members = try await [
                RawClient.ready(port: core.port), RawClient.ready(port: core.port),
            ]
            members[0].send("SUB full 1\r\nSUB inbox q 2\r\n")
            members[1].send("SUB inbox q 2\r\n")
            for member in members { #expect(try await member.untilPong() == "") }
            let taken = try await core.onLoop(0) { core in
                let full = core.publish("full", String(repeating: "x", count: 50_000)).receivers
                // Whichever is asked first.
                return (0..<20).reduce(full) { taken, _ in
                    taken + core.publish("inbox", String(repeating: "x", count: 20_000)).receivers
                }
            }
            // Three fit into the second member's 65,536 bytes; at the next one it is cut off too.
            #expect(taken == 4)
            _ = try await members[0].rest()
            _ = try await members[1].rest()
            #expect(try await core.counters().slowConsumers == 3)
        }
    }
}

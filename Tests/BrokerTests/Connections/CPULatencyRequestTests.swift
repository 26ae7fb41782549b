import Foundation
import Logging
import NIOEmbedded
import Testing

@testable import Broker

@Suite("Processors that are ready while there is work", .timeLimit(.minutes(10)))
struct CPULatencyRequestTests {
    /// Stands for the kernel's interface: keeps what is written, one number behind the other.
    private let device = NSTemporaryDirectory() + "cpu-latency-\(UUID().uuidString)"
    /// What the kernel takes for no request.
    private let none: Int32 = 2_000_000_000

    /// The numbers written so far.
    private func requests() throws -> [Int32] {
        let bytes = try [UInt8](Data(contentsOf: URL(filePath: device)))
        return stride(from: 0, to: bytes.count, by: 4).map { at in
            bytes[at..<at + 4].reversed().reduce(0) { $0 << 8 | Int32($1) }
        }
    }

    /// Whether this process has the device open.
    private func isOpen() throws -> Bool {
        let directory = "/proc/self/fd/"
        return try FileManager.default.contentsOfDirectory(atPath: directory).contains { descriptor in
            (try? FileManager.default.destinationOfSymbolicLink(atPath: directory + descriptor)) == device
        }
    }

    private func core(_ eventLoop: EmbeddedEventLoop) throws -> LoopCore {
        let core = LoopCore(
            eventLoop: eventLoop, index: 0, loops: 1,
            shared: SharedCore(options: CoreFixture.options(), serverID: "NTEST"),
            logger: Logger(label: "core", factory: { _ in SwiftLogNoOpLogHandler() }))
        core.cpuLatency = try CPULatencyRequest(microseconds: 3, device: device)
        return core
    }

    @Test("are asked for at a tick and let go when 100 ms pass without another")
    func whileThereIsWork() throws {
        try Data().write(to: URL(filePath: device))
        defer { try? FileManager.default.removeItem(atPath: device) }
        let eventLoop = EmbeddedEventLoop()
        let core = try core(eventLoop)
        func tick() {
            core.beginTick()
            eventLoop.run()
        }
        #expect(try requests() == [])
        tick()
        #expect(try requests() == [3])
        eventLoop.advanceTime(by: .milliseconds(99))
        tick()
        eventLoop.advanceTime(by: .milliseconds(100))
        #expect(try requests() == [3])
        eventLoop.advanceTime(by: .milliseconds(1))
        #expect(try requests() == [3, none])
        eventLoop.advanceTime(by: .seconds(10))
        tick()
        #expect(try requests() == [3, none, 3])
    }

    @Test("are not asked for by the timers of an idle broker")
    func timers() throws {
        try Data().write(to: URL(filePath: device))
        defer { try? FileManager.default.removeItem(atPath: device) }
        let eventLoop = EmbeddedEventLoop()
        let core = try core(eventLoop)
        var deadline: UInt64? = 1_000_000_000
        var ticks = 0
        core.engine = unsafe EngineCalls(
            receive: { _, _, _, _ in },
            endOfTick: {
                ticks += 1
                return false
            }, timeReached: { _ in deadline = nil }, nextDeadline: { deadline }, congestionEnded: {})
        core.beginTick()
        eventLoop.run()
        eventLoop.advanceTime(by: .milliseconds(200))
        #expect(try requests() == [3, none])
        eventLoop.advanceTime(by: .seconds(1))
        #expect(ticks == 2 && deadline == nil)
        #expect(try requests() == [3, none])
    }

    @Test("are asked for by every loop, from the first client on, and by none after the end")
    func everyLoop() async throws {
        try Data().write(to: URL(filePath: device))
        defer { try? FileManager.default.removeItem(atPath: device) }
        let options = CoreFixture.options { $0.cpuLatencyMicroseconds = 3 }
        try await CoreFixture.run(loops: 2, options, cpuLatencyDevice: device) { listener in
            for loop in 0..<2 { try await listener.onLoop(loop) { #expect($0.cpuLatency != nil) } }
            #expect(try requests() == [])
            _ = try await RawClient.connect(port: listener.port)
            // Later it may have been let go already.
            #expect(try requests().first == 3)
            #expect(try isOpen())
        }
        #expect(try !isOpen())
    }

    @Test("are not asked for unless that is wanted")
    func unwanted() async throws {
        try await CoreFixture.run { listener in
            try await listener.onLoop(0) { #expect($0.cpuLatency == nil) }
        }
    }

    @Test("stop the start with a sentence where they cannot be asked for")
    func missing() async {
        let options = CoreFixture.options { $0.cpuLatencyMicroseconds = 0 }
        let error = await #expect(throws: BrokerStartError.self) {
            try await CoreFixture.run(options, cpuLatencyDevice: device) { _ in }
        }
        #expect(
            error?.description
                == "--cpu-latency needs \(device), which cannot be opened: No such file or directory. Give the "
                + "broker's container the device, or leave the flag out")
    }
}

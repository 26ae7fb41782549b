import Testing

@testable import Broker

@Suite("The wall clock is set while the broker runs")
struct ClockStepsTests {
    private let second: Int64 = 1_000_000_000

    private func fixture(_ storage: EngineFixture.Storage = .disk(seed: 4)) throws -> EngineFixture {
        let fixture = try EngineFixture(storage: storage) { $0.maxAgeNanoseconds = 10_000_000_000 }
        _ = fixture.connect("me")
        return fixture
    }

    private func held(_ fixture: EngineFixture) -> ClosedRange<UInt64>? {
        guard let id = fixture.log.channels.first, let info = fixture.log.info(of: id), info.messages > 0
        else { return nil }
        return info.firstSequence...info.lastSequence
    }

    private func publish(_ count: Int, to fixture: EngineFixture) {
        for _ in 0..<count {
            fixture.publish("x", to: "foo")
            fixture.advance(milliseconds: 1_000)
        }
    }

    @Test("without a step messages expire at their age, exactly")
    func steady() throws {
        let fixture = try fixture()
        publish(5, to: fixture)
        #expect(held(fixture) == 1...5)
        fixture.advance(milliseconds: 4_000)
        #expect(held(fixture) == 1...5)
        // Looked at every second: the first is 10 s old between two looks.
        fixture.advance(milliseconds: 2_000)
        let first = try #require(held(fixture)).lowerBound
        #expect(first == 2 || first == 3)
        fixture.advance(milliseconds: 5_000)
        #expect(held(fixture) == nil)
    }

    @Test(
        "forward by a year: nothing expires before its time, and everything at it", arguments: [false, true])
    func forward(withRestart: Bool) throws {
        let fixture = try fixture()
        publish(5, to: fixture)
        fixture.clock.wallOffset += 365 * 86_400 * second
        fixture.advance(milliseconds: 1_000)
        #expect(held(fixture) == 1...5 && fixture.lines.count(containing: "went forward by") == 1)
        if withRestart {
            fixture.advance(milliseconds: 100)
            try fixture.crash()
            fixture.advance(milliseconds: 1_100)
            #expect(held(fixture) == 1...5)
        }
        publish(2, to: fixture)
        #expect(held(fixture)?.upperBound == 7)
        fixture.advance(milliseconds: 6_000)
        let first = try #require(held(fixture))
        #expect(first.lowerBound > 1 && first.upperBound == 7)
        fixture.advance(milliseconds: 20_000)
        #expect(held(fixture) == nil)
    }

    @Test("back by a year: nothing expires early, and after the clock is set right everything at its time")
    func back() throws {
        let fixture = try fixture()
        publish(5, to: fixture)
        fixture.clock.wallOffset -= 365 * 86_400 * second
        publish(20, to: fixture)
        #expect(held(fixture) == 1...25 && fixture.lines.count(containing: "went back by") == 1)
        fixture.clock.wallOffset += 365 * 86_400 * second
        fixture.advance(milliseconds: 2_000)
        #expect(held(fixture)?.upperBound == 25)
        publish(1, to: fixture)
        fixture.advance(milliseconds: 8_000)
        #expect(held(fixture)?.upperBound == 26)
        fixture.advance(milliseconds: 15_000)
        #expect(held(fixture) == nil)
    }

    @Test("many steps in a row keep what is young")
    func many() throws {
        let fixture = try fixture()
        for _ in 0..<100 {
            fixture.publish("x", to: "foo")
            fixture.clock.wallOffset += 3_600 * second
            fixture.advance(milliseconds: 50)
            fixture.clock.wallOffset -= 1_800 * second
            fixture.advance(milliseconds: 50)
        }
        // The youngest hundred span ten seconds.
        #expect(held(fixture)?.upperBound == 100)
        #expect(try #require(held(fixture)).count >= 99)
    }

    @Test("extreme values are taken as they come")
    func extremes() {
        var steps = ClockSteps()
        #expect(steps.observe(wall: .min, monotonic: 0) == nil)
        _ = steps.observe(wall: .max, monotonic: .max)
        _ = steps.observe(wall: 0, monotonic: 5)
        steps.recover(by: .max, at: .min, wall: .max, monotonic: 0)
        for age in [0, 1, UInt64.max] {
            for wall in [Int64.min, 0, .max] { _ = steps.now(wall: wall, monotonic: .max, age: age) }
        }
        for number in 0..<200 { steps.recover(by: .max, at: Int64(number), wall: 0, monotonic: 0) }
        #expect(steps.steps.count == 64)
    }
}

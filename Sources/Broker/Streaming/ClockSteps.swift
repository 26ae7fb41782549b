/// Steps of the wall clock: moments at which it moved by more than time did, because somebody set it or the
/// machine slept.
///
/// A message's age is judged by a clock without the steps forward of the time in question. Until a channel's
/// age limit has passed since such a step, it keeps what it would have kept without; afterwards everything
/// from before the step is older than the limit in any case. After a step back the wall clock itself is the
/// careful one: what was stored before is kept longer.
struct ClockSteps {
    /// One step forward.
    struct Step: Equatable {
        /// Monotonic nanoseconds at which it was seen; below 0 when an earlier process saw it.
        var seen: Int64
        /// Nanoseconds.
        var by: UInt64
        /// The wall clock after it, nanoseconds since 1970.
        var wall: Int64
    }

    /// A clock that is off by less is adjusted, not set.
    static let leastStep: UInt64 = 1_000_000_000
    private static let mostSteps = 64

    private(set) var steps: [Step] = []
    private var last: (wall: Int64, monotonic: UInt64)?

    /// What the clocks say now; returns the step since they were asked last, in nanoseconds, if there was one.
    mutating func observe(wall: Int64, monotonic: UInt64) -> Int64? {
        defer { last = (wall, monotonic) }
        guard let last else { return nil }
        let expected = last.wall.addingReportingOverflow(Int64(clamping: monotonic &- last.monotonic))
        let (by, overflow) = wall.subtractingReportingOverflow(expected.partialValue)
        guard !overflow, !expected.overflow, by.magnitude > Self.leastStep else { return nil }
        if by > 0 {
            add(Step(seen: Int64(clamping: monotonic), by: UInt64(by), wall: wall))
        }
        return by
    }

    /// A step that an earlier process saw.
    mutating func recover(by: UInt64, at stepWall: Int64, wall: Int64, monotonic: UInt64) {
        let since = max(0, wall.subtractingReportingOverflow(stepWall).partialValue)
        add(Step(seen: Int64(clamping: monotonic) &- since, by: by, wall: stepWall))
    }

    private mutating func add(_ step: Step) {
        steps.append(step)
        guard steps.count > Self.mostSteps else { return }
        // Two as one at the later time: that keeps more, never less.
        let oldest = steps.removeFirst()
        steps[0].by = steps[0].by.addingReportingOverflow(oldest.by).partialValue
    }

    /// The wall clock by which to judge whether a message is older than `age` nanoseconds.
    func now(wall: Int64, monotonic: UInt64, age: UInt64) -> Int64 {
        var now = wall
        for step in steps where Int64(clamping: monotonic) &- step.seen < Int64(clamping: age) {
            let (earlier, overflow) = now.subtractingReportingOverflow(Int64(clamping: step.by))
            now = overflow ? .min : earlier
        }
        return now
    }
}

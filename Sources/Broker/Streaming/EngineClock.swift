import Glibc

extension EngineClock {
    /// The system's clocks.
    static let system = EngineClock(
        monotonic: { nanoseconds(of: CLOCK_MONOTONIC) },
        wall: { Int64(nanoseconds(of: CLOCK_REALTIME)) })

    private static func nanoseconds(of clock: clockid_t) -> UInt64 {
        var time = timespec()
        unsafe _ = clock_gettime(clock, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

import Glibc

/// Monotonic time for measurements.
enum BenchClock {
    /// Nanoseconds since some moment.
    static func now() -> UInt64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

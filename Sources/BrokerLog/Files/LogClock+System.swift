import Glibc

extension LogClock {
    /// The system's monotonic clock.
    public static let system = LogClock {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

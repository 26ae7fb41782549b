import Glibc

/// Nanoseconds on a clock that never steps back; their zero means nothing.
enum MonotonicClock {
    static var now: UInt64 {
        var time = timespec()
        // Cannot fail: the clock exists on every Linux and the pointer is good.
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// The time that lies `duration` ahead; a negative duration is no wait at all.
    static func after(_ duration: Duration) -> UInt64 {
        let (seconds, attoseconds) = duration.components
        guard seconds >= 0, attoseconds >= 0 else { return now }
        // A century is for ever, and cannot overflow.
        return now + UInt64(min(seconds, 3_000_000_000)) * 1_000_000_000
            + UInt64(attoseconds / 1_000_000_000)
    }
}

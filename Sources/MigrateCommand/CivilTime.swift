import Glibc

/// A time of day and date in some zone.
struct CivilTime {
    var year, month, day, hour, minute, second: Int

    private init(_ parts: tm) {
        unsafe (year, month, day) = (Int(parts.tm_year) + 1900, Int(parts.tm_mon) + 1, Int(parts.tm_mday))
        unsafe (hour, minute, second) = (Int(parts.tm_hour), Int(parts.tm_min), Int(parts.tm_sec))
    }

    /// Seconds since 1970 in the zone of the process.
    static func local(_ seconds: Int) -> CivilTime {
        var seconds = seconds
        var parts = unsafe tm()
        unsafe localtime_r(&seconds, &parts)
        return unsafe CivilTime(parts)
    }

    /// Seconds since 1970 in UTC.
    static func utc(_ seconds: Int) -> CivilTime {
        var seconds = seconds
        var parts = unsafe tm()
        unsafe gmtime_r(&seconds, &parts)
        return unsafe CivilTime(parts)
    }

    /// Two digits, the first perhaps a zero.
    static func two(_ value: Int) -> String { (value < 10 ? "0" : "") + String(value) }
}

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// What the process takes of the machine.
struct ProcessUsage: Sendable {
    /// Resident memory in bytes.
    let residentBytes: Int
    /// Processor time since the start, in seconds.
    let processorSeconds: Double
    /// Processors of the machine.
    let processors: Int

    /// Asks the operating system.
    static func now() -> ProcessUsage {
        var usage = rusage()
        unsafe _ = getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        return ProcessUsage(
            residentBytes: residentPages() * sysconf(Int32(_SC_PAGESIZE)),
            processorSeconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
            processors: max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 1))
    }

    /// The second number of `/proc/self/statm`; 0 where there is none.
    private static func residentPages() -> Int {
        let file = unsafe open("/proc/self/statm", O_RDONLY)
        guard file >= 0 else { return 0 }
        defer { _ = close(file) }
        let text = unsafe [UInt8](unsafeUninitializedCapacity: 128) { memory, count in
            count = unsafe max(read(file, memory.baseAddress, 128), 0)
        }
        let fields = String(decoding: text, as: UTF8.self).split(separator: " ")
        return fields.count > 1 ? Int(fields[1]) ?? 0 : 0
    }
}

/// Times as Go prints them in monitoring answers.
enum MonitoringTime {
    /// Nanoseconds since 1970, by the wall clock.
    static func now() -> Int64 {
        var time = timespec()
        unsafe _ = clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    /// RFC 3339 in UTC, with as many digits of the fraction as are not zero at the end.
    static func text(_ nanoseconds: Int64) -> String {
        var seconds = nanoseconds / 1_000_000_000
        var fraction = nanoseconds % 1_000_000_000
        if fraction < 0 {
            seconds -= 1
            fraction += 1_000_000_000
        }
        var time = time_t(seconds)
        var parts = unsafe tm()
        unsafe _ = gmtime_r(&time, &parts)
        func padded(_ value: some BinaryInteger, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(width - digits.count, 0)) + digits
        }
        let date = unsafe [
            padded(Int(parts.tm_year) + 1900, 4), padded(parts.tm_mon + 1, 2), padded(parts.tm_mday, 2),
        ]
        let clock = unsafe [padded(parts.tm_hour, 2), padded(parts.tm_min, 2), padded(parts.tm_sec, 2)]
        var text = date.joined(separator: "-") + "T" + clock.joined(separator: ":")
        if fraction > 0 {
            var digits = padded(fraction, 9)
            while digits.hasSuffix("0") { digits.removeLast() }
            text += "." + digits
        }
        return text + "Z"
    }

    /// A length of time as `1y2d3h4m5s`, from the largest unit that is not zero on.
    static func uptime(seconds: Int64) -> String {
        let minutes = seconds / 60
        let hours = minutes / 60
        let days = hours / 24
        let years = days / 365
        let tail = "\(seconds % 60)s"
        if years > 0 { return "\(years)y\(days % 365)d\(hours % 24)h\(minutes % 60)m" + tail }
        if days > 0 { return "\(days)d\(hours % 24)h\(minutes % 60)m" + tail }
        if hours > 0 { return "\(hours)h\(minutes % 60)m" + tail }
        if minutes > 0 { return "\(minutes)m" + tail }
        return tail
    }
}

import Glibc

/// The field `Date` of an answer (RFC 9110, 6.6.1 and 5.6.7), made anew once a second.
struct HTTPDate {
    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]
    private var second: Int?
    private var bytes: [UInt8] = []

    /// The line for now, with its end.
    mutating func line() -> [UInt8] {
        var now = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &now)
        if now.tv_sec != second {
            second = now.tv_sec
            bytes = Array("Date: \(Self.text(at: now.tv_sec))\r\n".utf8)
        }
        return bytes
    }

    /// `Sun, 06 Nov 1994 08:49:37 GMT`
    ///
    /// - Parameter second: Seconds since 1970.
    static func text(at second: Int) -> String {
        var second = second
        var time = unsafe tm()
        unsafe gmtime_r(&second, &time)
        let (day, month, year) = unsafe (time.tm_mday, Int(time.tm_mon), time.tm_year + 1900)
        let (weekday, hour, minute) = unsafe (Int(time.tm_wday), time.tm_hour, time.tm_min)
        let last = unsafe time.tm_sec
        func digits(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(days[weekday]), \(digits(day)) \(months[month]) \(year) "
            + "\(digits(hour)):\(digits(minute)):\(digits(last)) GMT"
    }
}

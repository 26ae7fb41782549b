/// Counts latencies in buckets 3 % wide: no allocation per observation, percentiles at the end.
struct LatencyHistogram {
    /// 32 buckets for each power of two; values below 32 ns have one each.
    private static let bucketsPerOctave = 32
    private var counts = [UInt64](repeating: 0, count: 60 * bucketsPerOctave)
    /// Latencies observed.
    private(set) var count: UInt64 = 0
    /// The smallest one, in nanoseconds.
    private(set) var minimum = UInt64.max
    /// The largest one, in nanoseconds.
    private(set) var maximum: UInt64 = 0

    /// Adds a latency in nanoseconds.
    mutating func record(_ nanoseconds: UInt64) {
        counts[Self.bucket(nanoseconds)] += 1
        count += 1
        minimum = min(minimum, nanoseconds)
        maximum = max(maximum, nanoseconds)
    }

    /// The latency that the share `quantile` (0…1) of all does not exceed, in nanoseconds; 0 without any.
    func percentile(_ quantile: Double) -> UInt64 {
        guard count > 0 else { return 0 }
        let rank = max(1, UInt64((Double(count) * quantile).rounded(.up)))
        var seen: UInt64 = 0
        for (bucket, bucketCount) in counts.enumerated() {
            seen += bucketCount
            if seen >= rank { return min(max(Self.upperBound(bucket), minimum), maximum) }
        }
        return maximum
    }

    private static func bucket(_ value: UInt64) -> Int {
        guard value >= 32 else { return Int(value) }
        let exponent = 63 - value.leadingZeroBitCount - 5
        // 32…63 after the shift: the octave's buckets.
        return min((exponent + 1) * 32 + Int(value >> UInt64(exponent)) - 32, 60 * 32 - 1)
    }

    private static func upperBound(_ bucket: Int) -> UInt64 {
        guard bucket >= 32 else { return UInt64(bucket) }
        let exponent = UInt64(bucket / 32 - 1)
        return (UInt64(bucket % 32 + 33) << exponent) - 1
    }
}

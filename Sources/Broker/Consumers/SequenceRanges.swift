/// Sequences gathered as closed ranges, in the order in which they came: what was delivered or
/// acknowledged since the last state record. Neighbours melt into one range, so that a million
/// acknowledgements in order are one pair of numbers in the journal.
struct SequenceRanges: Equatable {
    private(set) var ranges: [ClosedRange<UInt64>] = []

    var isEmpty: Bool { ranges.isEmpty }

    /// Adds one sequence; cheap when it follows the one before it.
    mutating func append(_ sequence: UInt64) {
        if let last = ranges.last, last.upperBound &+ 1 == sequence {
            ranges[ranges.count - 1] = last.lowerBound...sequence
        } else {
            ranges.append(sequence...sequence)
        }
    }

    mutating func append(_ range: ClosedRange<UInt64>) { ranges.append(range) }

    mutating func removeAll() { ranges.removeAll(keepingCapacity: true) }

    /// The ranges that hold exactly `sequences`, which must ascend.
    init(ascending sequences: some Sequence<UInt64> = []) {
        for sequence in sequences { append(sequence) }
    }
}

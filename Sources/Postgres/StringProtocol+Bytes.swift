import Glibc

extension StringProtocol {
    /// Where `text` stands for the first time, compared byte by byte; `nil` when it does not, or is empty.
    ///
    /// The library's own `firstRange(of:)` belongs to the module of regular expressions, which would be a fifth of a small
    /// program (docs/decisions/0028).
    package func firstBytes(_ text: String) -> Range<Index>? {
        guard let first = text.utf8.first else { return nil }
        var rest = utf8[...]
        while let start = rest.firstIndex(of: first) {
            rest = rest[start...]
            if rest.starts(with: text.utf8) {
                return start..<utf8.index(start, offsetBy: text.utf8.count)
            }
            rest = rest.dropFirst()
        }
        return nil
    }

    /// Whether `text` stands anywhere, compared byte by byte.
    package func hasBytes(_ text: String) -> Bool { firstBytes(text) != nil }
}

extension String {
    /// Whether it is `other` byte by byte, and not just another form of the same characters: many bytes at a time, which
    /// `utf8.elementsEqual` does not.
    package func hasSameBytes(as other: String) -> Bool {
        let isSame = unsafe utf8.withContiguousStorageIfAvailable { mine in
            unsafe other.utf8.withContiguousStorageIfAvailable { theirs in
                guard mine.count == theirs.count else { return false }
                guard let one = mine.baseAddress, let two = theirs.baseAddress else { return true }
                return unsafe memcmp(one, two, mine.count) == 0
            }
        }
        return (isSame ?? nil) ?? utf8.elementsEqual(other.utf8)
    }
}

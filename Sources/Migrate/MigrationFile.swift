/// Which way a migration goes.
public enum MigrationDirection: String, Sendable, Hashable, CaseIterable {
    /// Towards higher versions.
    case up
    /// Back.
    case down
}

/// What the name of a migration file says: `000001_create_users.up.sql` (`specs/migrate.md` 2.2).
public struct MigrationFile: Sendable, Hashable {
    /// The version, 0 … 2⁶³ − 1.
    public let version: Int64
    /// What stands between the version and the direction; may be empty.
    public let identifier: String
    /// Which way it goes.
    public let direction: MigrationDirection
    /// The whole name.
    public let fileName: String

    /// What a name is.
    enum Reading {
        case migration(MigrationFile)
        /// Not a migration; it is passed over.
        case other
        /// A migration with a version beyond what the database can hold.
        case tooLarge
    }

    /// Reads a file name by `^([0-9]+)_(.*)\.(down|up)\.(.*)$`, greedily: the last direction counts.
    static func read(_ fileName: String) -> Reading {
        let bytes = fileName.utf8.span
        var version: UInt64 = 0
        var index = 0
        while index < bytes.count, let digit = digit(bytes[index]) {
            let (tens, isTooLarge) = version.multipliedReportingOverflow(by: 10)
            let (sum, isOver) = tens.addingReportingOverflow(digit)
            guard !isTooLarge, !isOver else { return .other }
            version = sum
            index += 1
        }
        guard index > 0, index < bytes.count, bytes[index] == UInt8(ascii: "_") else { return .other }
        for index in bytes.indices where bytes[index] == UInt8(ascii: "\n") { return .other }
        let start = index + 1
        // From the end: the first mark found is the last one.
        var dot = bytes.count - 1
        while dot >= start {
            guard let direction = direction(bytes, at: dot) else {
                dot -= 1
                continue
            }
            guard let signed = Int64(exactly: version) else { return .tooLarge }
            let utf8 = fileName.utf8
            let identifier =
                utf8[
                    utf8.index(utf8.startIndex, offsetBy: start)..<utf8.index(utf8.startIndex, offsetBy: dot)]
            return .migration(
                MigrationFile(
                    version: signed, identifier: String(Substring(identifier)), direction: direction,
                    fileName: fileName))
        }
        return .other
    }

    private static func digit(_ byte: UInt8) -> UInt64? {
        byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") ? UInt64(byte - UInt8(ascii: "0")) : nil
    }

    /// The direction whose mark stands there: `.up.` or `.down.`.
    private static func direction(_ bytes: Span<UInt8>, at dot: Int) -> MigrationDirection? {
        guard bytes[dot] == UInt8(ascii: "."), dot + 3 < bytes.count else { return nil }
        switch bytes[dot + 1] {
        case UInt8(ascii: "u"):
            return bytes[dot + 2] == UInt8(ascii: "p") && bytes[dot + 3] == UInt8(ascii: ".") ? .up : nil
        case UInt8(ascii: "d") where dot + 5 < bytes.count:
            return bytes[dot + 2] == UInt8(ascii: "o") && bytes[dot + 3] == UInt8(ascii: "w")
                && bytes[dot + 4] == UInt8(ascii: "n") && bytes[dot + 5] == UInt8(ascii: ".") ? .down : nil
        default: return nil
        }
    }
}

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
        let bytes = Array(fileName.utf8)
        let digits = bytes.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
        guard !digits.isEmpty, bytes.count > digits.count, bytes[digits.count] == UInt8(ascii: "_"),
            !bytes.contains(UInt8(ascii: "\n")),
            let version = UInt64(String(decoding: digits, as: UTF8.self))
        else { return .other }
        let rest = bytes[(digits.count + 1)...]
        var best: (start: Int, direction: MigrationDirection)?
        for direction in MigrationDirection.allCases {
            let mark = Array(".\(direction.rawValue).".utf8)
            var start = rest.endIndex - mark.count
            while start >= rest.startIndex, !rest[start...].starts(with: mark) { start -= 1 }
            if start >= rest.startIndex, start > best?.start ?? -1 { best = (start, direction) }
        }
        guard let best else { return .other }
        guard let signed = Int64(exactly: version) else { return .tooLarge }
        return .migration(
            MigrationFile(
                version: signed, identifier: String(decoding: rest[..<best.start], as: UTF8.self),
                direction: best.direction, fileName: fileName))
    }
}

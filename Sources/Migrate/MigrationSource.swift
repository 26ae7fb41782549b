import Glibc

/// A directory of migrations: listed once when it is opened, its files read when they are run.
public struct MigrationSource: Sendable {
    /// One version: the file of each direction that there is.
    public struct Entry: Sendable {
        /// The version.
        public let version: Int64
        /// The file that leads to the version.
        public internal(set) var up: MigrationFile?
        /// The file that leads back from it.
        public internal(set) var down: MigrationFile?

        func file(_ direction: MigrationDirection) -> MigrationFile? { direction == .up ? up : down }

        /// False: there is a file of this direction already.
        fileprivate mutating func add(_ file: MigrationFile) -> Bool {
            guard self.file(file.direction) == nil else { return false }
            if file.direction == .up { up = file } else { down = file }
            return true
        }
    }

    /// The directory, absolute.
    public let directory: String
    /// The versions in ascending order.
    public let entries: [Entry]
    /// Names that are no migrations.
    let others: [String]
    /// Names of links.
    let links: [String]

    /// Opens the directory of a source URL.
    ///
    /// - Parameters:
    ///   - url: `file://…`; relative paths are relative to the working directory.
    ///   - isFromPath: The URL was made from a path: what is no URL is then taken for a path as it stands.
    /// - Throws: `MigrationError` in golang-migrate's words.
    public init(url: String, isFromPath: Bool = false) throws(MigrationError) {
        let scheme = try Self.scheme(of: url)
        guard scheme.lowercased() == "file" else {
            throw MigrationError(
                .source,
                "failed to open source, \"\(url)\": source driver: unknown driver '\(scheme)' (forgotten import?)"
            )
        }
        var path: String
        do {
            let parsed = try GoURL(url)
            path = parsed.opaque.isEmpty ? parsed.host + parsed.path : parsed.opaque
        } catch {
            guard isFromPath else {
                throw MigrationError(
                    .source, "failed to open source, \"\(url)\": parse \"\(url)\": \(error.reason)")
            }
            path = String(url.dropFirst("file://".count))
        }
        do {
            try self.init(directory: path.isEmpty ? "." : path)
        } catch {
            throw MigrationError(.source, "failed to open source, \"\(url)\": \(error.message)")
        }
    }

    /// What stands before the colon of a source URL; golang-migrate looks for it before it looks at the database's.
    ///
    /// - Throws: `MigrationError` when there is none.
    @discardableResult
    public static func scheme(of url: String) throws(MigrationError) -> String {
        guard !url.isEmpty else {
            throw MigrationError(
                .source, "failed to parse scheme from source URL: URL cannot be empty",
                hints: ["Say where the migrations are: -path DIRECTORY"])
        }
        guard let colon = url.utf8.firstIndex(of: UInt8(ascii: ":")), colon != url.startIndex else {
            throw MigrationError(.source, "failed to parse scheme from source URL: no scheme")
        }
        return String(url[..<colon])
    }

    /// Opens a directory.
    ///
    /// - Throws: `MigrationError` when it cannot be read, or two files have one version and direction.
    public init(directory: String) throws(MigrationError) {
        self.directory = Directory.absolute(directory)
        let names: [String]
        do {
            (names, links) = try Directory.fileNames(self.directory)
        } catch {
            throw MigrationError(.source, "open .: \(error.reason)")
        }
        var files: [MigrationFile] = []
        files.reserveCapacity(names.count)
        var others: [String] = []
        for name in names {
            switch MigrationFile.read(name) {
            case .other: others.append(name)
            case .tooLarge: throw Self.mistake(names)
            case .migration(let file): files.append(file)
            }
        }
        // Numbers are moved, and looked at, more quickly than files.
        let order = files.indices.map { (version: files[$0].version, index: $0) }.sorted {
            $0.version < $1.version
        }
        var entries: [Entry] = []
        entries.reserveCapacity(files.count)
        for file in order.lazy.map({ files[$0.index] }) {
            if entries.last?.version != file.version { entries.append(Entry(version: file.version)) }
            guard entries[entries.count - 1].add(file) else { throw Self.mistake(names) }
        }
        self.entries = entries
        self.others = others
    }

    /// What is wrong with the names: the first thing in their order.
    private static func mistake(_ names: [String]) -> MigrationError {
        var found: Set<String> = []
        for name in Directory.sorted(names) {
            switch MigrationFile.read(name) {
            case .other: break
            case .tooLarge:
                return MigrationError(
                    .source, "the version of \(name) is too large: at most 9223372036854775807")
            case .migration(let file):
                guard found.insert("\(file.version) \(file.direction)").inserted else {
                    return MigrationError(.source, "duplicate migration file: \(name)")
                }
            }
        }
        preconditionFailure("names that are wrong in one order are wrong in every order")
    }

    /// The place of a version among the entries.
    func index(of version: Int64) -> Int? { entries.firstIndex { $0.version == version } }

    /// The text of a file.
    ///
    /// - Throws: `MigrationError` when it cannot be read or holds a NUL byte.
    public func read(_ file: MigrationFile) throws(MigrationError) -> [UInt8] {
        let body: [UInt8]
        do {
            body = try Directory.contents("\(directory)/\(file.fileName)")
        } catch {
            throw MigrationError(.source, "open \(file.fileName): \(error.reason)")
        }
        if let offset = body.firstIndex(of: 0) {
            throw MigrationError(
                .source,
                "read \(file.fileName): there is a NUL byte at offset \(offset), and the server would stop there; "
                    + "is the file UTF-16?")
        }
        return body
    }

    /// The file, if it is large and may be sent in pieces.
    func largeScript(_ file: MigrationFile) throws(MigrationError) -> LargeScript? {
        do {
            return try LargeScript("\(directory)/\(file.fileName)")
        } catch {
            throw MigrationError(.source, "open \(file.fileName): \(error.reason)")
        }
    }

    /// Asks the kernel to read a file ahead.
    func prefetch(_ file: MigrationFile) { Directory.prefetch("\(directory)/\(file.fileName)") }
}

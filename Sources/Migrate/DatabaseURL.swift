import Postgres

/// A database URL of golang-migrate, and what it says for us and for libpq (`specs/migrate.md` 3.1 to 3.3).
public struct DatabaseURL: Sendable {
    /// How the connection is opened.
    public var configuration: PostgresConfiguration
    /// The database's part of the lock's number: the path with its slash; empty when the URL has no path, then it
    /// is the name that the server reports.
    var lockName: String
    var table = BookkeepingTable(schema: nil, name: "schema_migrations")
    /// What the current schema will be in all likelihood; the server has the last word.
    private(set) var likelySchema = "public"
    var statementTimeout: Duration?
    var isMultiStatement = false
    var multiStatementMaxSize = Self.defaultMaxSize
    /// `x-tx`: a migration and its record in one transaction.
    public var isTransactional = false
    /// `x-history`: keep a history beside the migrations table.
    public var keepsHistory = false

    private static let defaultMaxSize = 10 << 20

    /// What stands before the colon of a database URL; golang-migrate looks for it before it opens the source.
    ///
    /// - Throws: `MigrationError` when there is none.
    @discardableResult
    public static func scheme(of text: String) throws(MigrationError) -> String {
        let trimmed = text.trimmingBlanks
        guard !trimmed.isEmpty else {
            throw MigrationError(
                .databaseURL, "failed to parse scheme from database URL: URL cannot be empty")
        }
        guard let colon = trimmed.utf8.firstIndex(of: UInt8(ascii: ":")), colon != trimmed.startIndex else {
            throw MigrationError(.databaseURL, "failed to parse scheme from database URL: no scheme")
        }
        return String(trimmed[..<colon])
    }

    /// Reads a URL.
    ///
    /// - Throws: `MigrationError` in golang-migrate's words, without the password.
    public init(_ text: String) throws(MigrationError) {
        // A line feed behind the secret is the commonest mistake with Kubernetes secrets.
        let trimmed = String(text.trimmingBlanks)
        let scheme = try Self.scheme(of: trimmed)
        guard scheme == "postgres" || scheme == "postgresql" else {
            throw Self.failure("database driver: unknown driver \(scheme) (forgotten import?)")
        }
        let url: GoURL
        do {
            url = try GoURL(trimmed)
        } catch {
            throw Self.failure(
                "parse \"\(Self.redacted(trimmed))\": \(error.reason)",
                hints: [
                    "In a user name or password, write every character other than letters, digits and -._~ "
                        + "percent-encoded: @ as %40, # as %23, / as %2F, % as %25, ^ as %5E."
                ])
        }
        guard !url.host.isEmpty || !url.path.isEmpty || url.user != nil || !url.query.isEmpty else {
            throw Self.failure("missing \"=\" after \"\(scheme):\" in connection info string\"")
        }
        // The first value of a repeated key wins, and an empty value counts as absent.
        var options: [String: String] = [:]
        for (key, value) in url.query where options[key] == nil { options[key] = value }
        options = options.filter { !$0.value.isEmpty }
        lockName = url.path
        configuration = PostgresConfiguration(parameters: [:])
        try readOwn(options)
        try readConnection(url, options.filter { !$0.key.hasPrefix("x-") })
    }

    // MARK: Keys of the tool

    private mutating func readOwn(_ options: [String: String]) throws(MigrationError) {
        if let path = options["search_path"], Self.isPlainName(path) { likelySchema = path }
        let isQuoted = try Self.boolean("x-migrations-table-quoted", options) ?? false
        if let name = options["x-migrations-table"] {
            table = isQuoted ? try BookkeepingTable(quoted: name) : BookkeepingTable(schema: nil, name: name)
        }
        if let milliseconds = try Self.integer("x-statement-timeout", options), milliseconds > 0 {
            statementTimeout = .milliseconds(milliseconds)
        }
        if let size = try Self.integer("x-multi-statement-max-size", options), size > 0 {
            multiStatementMaxSize = max(size, 4096)
        }
        isMultiStatement = try Self.boolean("x-multi-statement", options) ?? false
        isTransactional = try Self.boolean("x-tx", options) ?? false
        keepsHistory = try Self.boolean("x-history", options) ?? false
        if let kind = options["x-lock"], kind != "advisory" {
            throw Self.failure(
                "x-lock=\(kind) is not available: the lock is PostgreSQL's advisory lock, as golang-migrate's; "
                    + "connect past a proxy that pools transactions")
        }
    }

    /// One name that SQL reads as it stands, and does not cut: what it cuts has another lock.
    private static func isPlainName(_ text: String) -> Bool {
        text.utf8.count < 64
            && text.utf8.allSatisfy {
                $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z")
                    || $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9")
                    || $0 == UInt8(ascii: "_")
            }
    }

    private static func boolean(_ key: String, _ options: [String: String]) throws(MigrationError) -> Bool? {
        guard let text = options[key] else { return nil }
        switch text {
        case "1", "t", "T", "true", "TRUE", "True": return true
        case "0", "f", "F", "false", "FALSE", "False": return false
        default:
            throw failure(
                "unable to parse option \(key): strconv.ParseBool: parsing \"\(text)\": invalid syntax")
        }
    }

    private static func integer(_ key: String, _ options: [String: String]) throws(MigrationError) -> Int? {
        guard let text = options[key] else { return nil }
        guard let value = Int(text) else {
            let isNumber = text.drop { $0 == "-" || $0 == "+" }.allSatisfy { $0.isASCII && $0.isNumber }
            throw failure(
                "strconv.Atoi: parsing \"\(text)\": " + (isNumber ? "value out of range" : "invalid syntax"))
        }
        return value
    }

    // MARK: Keys of the connection

    private static let tlsModes: Set = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

    private mutating func readConnection(
        _ url: GoURL, _ options: [String: String]
    ) throws(MigrationError) {
        var parameters: [String: String] = [:]
        var settings: [(String, String)] = [("extra_float_digits", "2")]
        for (key, value) in options.sorted(by: { $0.key < $1.key }) {
            // libpq looks the user up when it is asked for its keywords.
            if key == "sslmode" || PostgresConfiguration.knownKeywords.contains(key) {
                parameters[key] = value
            } else {
                settings.append((key, value))
            }
        }
        parameters["user"] = url.user ?? parameters["user"]
        parameters["password"] = url.password ?? parameters["password"]
        if !url.host.isEmpty { parameters["host"] = url.host }
        if !url.port.isEmpty { parameters["port"] = url.port }
        if url.path.utf8.count > 1 { parameters["dbname"] = String(url.path.dropFirst()) }
        // libpq would take a socket here.
        if parameters["host"] == nil, Environment["PGHOST"] == nil, parameters["service"] == nil,
            Environment["PGSERVICE"] == nil
        {
            parameters["host"] = "localhost"
        }
        let isSocket = (parameters["host"] ?? Environment["PGHOST"] ?? "").hasPrefix("/")
        let mode = parameters["sslmode"] ?? Environment["PGSSLMODE"] ?? "require"
        guard Self.tlsModes.contains(mode) else {
            throw Self.failure(
                "pq: unsupported sslmode \"\(mode)\"; only \"require\" (default), \"verify-full\", \"verify-ca\", "
                    + "and \"disable\" supported")
        }
        parameters["sslmode"] = isSocket ? "disable" : mode
        configuration.connectTimeout = nil
        if let text = parameters["connect_timeout"] ?? Environment["PGCONNECT_TIMEOUT"] {
            guard let seconds = Int(text) else {
                throw Self.failure(
                    "invalid value for parameter connect_timeout: strconv.ParseInt: parsing \"\(text)\": invalid syntax"
                )
            }
            if seconds > 0 { configuration.connectTimeout = .seconds(seconds) }
        }
        parameters["connect_timeout"] = nil
        let given = parameters["options"] ?? Environment["PGOPTIONS"] ?? ""
        var words = ""
        for (name, value) in settings { words += "-c " + Self.escaped("\(name)=\(value)") + " " }
        parameters["options"] = words + given
        configuration.parameters = parameters
    }

    /// A word of the `options` parameter: blanks and backslashes are escaped by a backslash.
    private static func escaped(_ text: String) -> String {
        var result = ""
        for character in text.unicodeScalars {
            if character == " " || character == "\\" { result += "\\" }
            result.unicodeScalars.append(character)
        }
        return result
    }

    // MARK: Words

    private static func failure(_ text: String, hints: [String] = []) -> MigrationError {
        MigrationError(.databaseURL, "failed to open database: \(text)", hints: hints)
    }

    /// The URL with `***` where the password may be: from the first colon of the authority to the last `@` of all,
    /// because a `#`, `/` or `?` in a password ends the authority too early; and in `password=`.
    public static func redacted(_ url: String) -> String {
        var text = url
        if let start = text.firstBytes("://")?.upperBound,
            let at = text[start...].lastIndex(of: "@"),
            let colon = text[start..<at].firstIndex(of: ":")
        {
            text.replaceSubrange(text.index(after: colon)..<at, with: "***")
        }
        for key in ["password=", "sslpassword="] {
            var from = text.startIndex
            while let range = text[from...].firstBytes(key) {
                let end = text[range.upperBound...].firstIndex { $0 == "&" || $0 == " " } ?? text.endIndex
                let offset = text.utf8.distance(from: text.startIndex, to: range.upperBound) + 3
                text.replaceSubrange(range.upperBound..<end, with: "***")
                from = text.utf8.index(text.startIndex, offsetBy: offset)
            }
        }
        return text.unicodeScalars.reduce(into: "") { shown, scalar in
            switch scalar {
            case "\n": shown += "\\n"
            case "\r": shown += "\\r"
            default: shown.unicodeScalars.append(scalar)
            }
        }
    }
}

/// The table that holds the version.
struct BookkeepingTable: Sendable, Hashable {
    /// `nil` is the current schema of the session.
    var schema: String?
    var name: String

    init(schema: String?, name: String) {
        self.schema = schema
        self.name = name
    }

    /// Reads `"schema"."table"` or `"table"`.
    init(quoted text: String) throws(MigrationError) {
        guard text.utf8.count >= 2, text.hasPrefix("\""), text.hasSuffix("\"") else {
            throw MigrationError(
                .databaseURL,
                "failed to open database: x-migrations-table must be quoted (for instance "
                    + "'\"migrate\".\"schema_migrations\"') when x-migrations-table-quoted is enabled, "
                    + "current value is: \(text)")
        }
        // Every group in double quotes counts, whatever stands between them.
        let parts = text.split(separator: "\"", omittingEmptySubsequences: false)
        let groups = stride(from: 1, to: parts.count - 1, by: 2).map { String(parts[$0]) }
        guard groups.count <= 2, let last = groups.last else {
            throw MigrationError(
                .databaseURL,
                "failed to open database: \"\(text)\" MigrationsTable contains too many dot characters")
        }
        schema = groups.count == 2 ? groups[0] : nil
        name = last
    }
}

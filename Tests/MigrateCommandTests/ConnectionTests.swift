import Foundation
import PostgresCluster
import Testing

@Suite struct ConnectionTests {
    private func up(_ sandbox: Sandbox, _ url: String, environment: [String: String] = [:]) async throws
        -> ChildProcess.Ending
    {
        try await sandbox.raw(["-path", sandbox.path, "-database", url, "up"], environment: environment)
    }

    @Test("what cannot be connected to is refused at once in golang-migrate's words")
    func refusals() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        let port = sandbox.cluster.port
        // Longer than a part of a name can be: the machine knows that without asking anybody.
        let unknown = String(repeating: "n", count: 64) + ".invalid"
        for (url, text) in [
            (
                "postgres://postgres:postgres@127.0.0.1:\(port)/postgres",
                "pq: SSL is not enabled on the server"
            ),
            (
                "postgres://postgres:wr0ng@127.0.0.1:\(port)/postgres?sslmode=disable",
                "pq: password authentication failed for user \"postgres\""
            ),
            (
                "postgres://postgres:postgres@127.0.0.1:\(port)/nodb?sslmode=disable",
                "pq: database \"nodb\" does not exist"
            ),
            (
                "postgres://u:p4ss@127.0.0.1:1/app?sslmode=disable",
                "dial tcp 127.0.0.1:1: connect: connection refused"
            ),
            ("postgres://u:p4ss@\(unknown)/app?sslmode=disable", "no such host"),
            (sandbox.url("search_path=nosuch"), "no schema"),
            (sandbox.url("bogus_param=1"), "pq: unrecognized configuration parameter \"bogus_param\""),
            (
                "postgres://postgres@/app?host=/nowhere",
                "dial unix /nowhere/.s.PGSQL.5432: connect: no such file or directory"
            ),
        ] {
            let ending = try await up(sandbox, url)
            #expect(ending.status == 1)
            #expect(ending.lines.count == 1)
            #expect(ending.lines.first?.hasPrefix("error: failed to open database: ") == true)
            #expect(ending.error.contains(text), "\(ending.error)")
            #expect(!ending.error.contains("wr0ng") && !ending.error.contains("p4ss"))
        }
    }

    @Test("the tool's own table, schema and settings go where the URL says")
    func places() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        _ = try await sandbox.sql("CREATE SCHEMA s1; CREATE SCHEMA \"Meta\"")
        _ = try await sandbox.migrate("up", "1", query: "search_path=s1")
        let first = try await sandbox.sql(
            "SELECT version FROM s1.schema_migrations; SELECT count(*) FROM s1.one")
        #expect(first == "1\n0")
        let publicUp = try await sandbox.migrate("up", "2")
        #expect(publicUp.lineHeads == ["1/u one (DUR)", "2/u two (DUR)"])
        _ = try await sandbox.migrate(
            "up", "1", query: "x-migrations-table=My.T&options=-c%20search_path%3Ds1")
        let dotted = try await sandbox.sql(
            "SELECT count(*) FROM pg_tables WHERE tablename = 'My.T' AND schemaname = 's1'")
        #expect(dotted == "1")
        let force = try await sandbox.migrate(
            "force", "2",
            query: "x-migrations-table=%22Meta%22.%22T%22&x-migrations-table-quoted=true&x-foo=1")
        #expect(force.status == 0)
        let quoted = try await sandbox.sql("SELECT version FROM \"Meta\".\"T\"")
        #expect(quoted == "2")
        try sandbox.write(
            "3_three.up.sql",
            "CREATE TABLE settings AS SELECT current_setting('work_mem') AS m, current_setting('search_path') AS p"
        )
        _ = try await sandbox.migrate("up", query: "work_mem=3MB&options=-c%20search_path%3Dpublic")
        let settings = try await sandbox.sql("SELECT * FROM settings")
        #expect(settings == "3MB|public")
    }

    @Test("the version is that of the current schema's table, whatever else the search path leads to")
    func currentSchemaFirst() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        _ = try await sandbox.sql(
            "CREATE SCHEMA s1; CREATE TABLE s1.schema_migrations (version bigint, dirty boolean); "
                + "INSERT INTO s1.schema_migrations VALUES (2, false)")
        let elsewhere = try await sandbox.migrate("version", query: "search_path=public,s1")
        #expect(elsewhere.lines == ["error: no migration"])
        let first = try await sandbox.migrate("version", query: "search_path=s1,public")
        #expect(first.lines == ["2"])
        _ = try await sandbox.migrate("up", "1")
        let usual = try await sandbox.migrate("version", query: "search_path=public,s1")
        #expect(usual.lines == ["1"])
        // The usual path has the role's own schema first, where there is one.
        _ = try await sandbox.sql("CREATE SCHEMA AUTHORIZATION CURRENT_USER")
        let own = try await sandbox.migrate("version")
        #expect(own.lines == ["error: no migration"])
        let role = try await sandbox.sql("SELECT CURRENT_USER")
        _ = try await sandbox.sql("DROP SCHEMA \(role) CASCADE")
        let again = try await sandbox.migrate("version")
        #expect(again.lines == ["1"])
        _ = try await sandbox.sql("ALTER TABLE schema_migrations DROP COLUMN dirty")
        let misshapen = try await sandbox.migrate("version")
        #expect(
            misshapen.lines == [
                "error: pq: column \"dirty\" does not exist in line 0: SELECT version, dirty FROM "
                    + "\"public\".\"schema_migrations\" LIMIT 1"
            ])
    }

    @Test("the version is the current schema's, whoever made it current, and whatever the others hold")
    func currentSchemaOnTheServer() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        func put(_ version: Int, in schema: String) async throws {
            _ = try await sandbox.sql(
                "CREATE SCHEMA IF NOT EXISTS \(schema); CREATE TABLE \(schema).schema_migrations (version bigint, "
                    + "dirty boolean); INSERT INTO \(schema).schema_migrations VALUES (\(version), false)")
        }
        func version(_ query: String = "") async throws -> [String] {
            try await sandbox.migrate("version", query: query).lines
        }
        try await put(2, in: "app")
        _ = try await sandbox.sql("ALTER DATABASE \"\(sandbox.database)\" SET search_path = app")
        // Guessed wrong, without a table where it was looked for, and with one.
        #expect(try await version() == ["2"])
        try await put(1, in: "public")
        #expect(try await version() == ["2"])
        #expect(try await version("search_path=public") == ["1"])
        #expect(try await version("search_path=app") == ["2"])
        #expect(try await version("options=-c%20search_path%3Dpublic") == ["1"])
        // A setting in `options` comes after the one that stands by itself.
        #expect(try await version("search_path=public&options=-c%20search_path%3Dapp") == ["2"])
        // In SQL this is another name than "App".
        try await put(3, in: "\"App\"")
        #expect(try await version("search_path=App") == ["2"])
        #expect(try await version("search_path=%22App%22") == ["3"])
        // A schema of the session alone, which begins empty.
        #expect(try await version("search_path=pg_temp") == ["error: no migration"])
        #expect(try await version("search_path=nosuch") == ["error: failed to open database: no schema"])
        #expect(try await version("search_path=nosuch,public") == ["1"])
        // Of the usual path the first schema is the role's own, where there is one.
        _ = try await sandbox.sql("ALTER DATABASE \"\(sandbox.database)\" RESET search_path")
        #expect(try await version() == ["1"])
        let role = try await sandbox.sql("SELECT CURRENT_USER")
        try await put(3, in: "\"\(role)\"")
        #expect(try await version() == ["3"])
        _ = try await sandbox.sql("UPDATE \"\(role)\".schema_migrations SET dirty = true")
        #expect(try await version() == ["3 (dirty)"])
        #expect(try await version("search_path=public") == ["1"])
    }

    @Test("a role that may not look into the schema which was guessed has the version of its own")
    func closedSchema() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        let role = "r" + UUID().uuidString.lowercased().replacing("-", with: "")
        _ = try await sandbox.sql(
            "REVOKE ALL ON SCHEMA public FROM public; CREATE ROLE \(role) LOGIN PASSWORD 'x'; "
                + "CREATE SCHEMA own AUTHORIZATION \(role); ALTER ROLE \(role) SET search_path = public, own; "
                + "CREATE TABLE schema_migrations (version bigint, dirty boolean); "
                + "INSERT INTO schema_migrations VALUES (1, false)")
        let url = "postgres://\(role):x@127.0.0.1:\(sandbox.cluster.port)/\(sandbox.database)?sslmode=disable"
        _ = try await sandbox.raw(["-path", sandbox.path, "-database", url, "force", "2"])
        let version = try await sandbox.raw(["-path", sandbox.path, "-database", url, "version"])
        #expect(version.lines == ["2"])
        _ = try await sandbox.sql("DROP OWNED BY \(role); DROP ROLE \(role)")
    }

    @Test("a socket is used without TLS; passwords may hold escaped characters; PG variables fill the gaps")
    func addresses() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        let cluster = sandbox.cluster
        let role = "r" + UUID().uuidString.lowercased().replacing("-", with: "")
        _ = try await sandbox.sql("CREATE ROLE \(role) LOGIN SUPERUSER PASSWORD 'a@b/c%d#e'")
        let socket = try await up(
            sandbox, "postgres://postgres@/\(sandbox.database)?host=\(cluster.directory)&port=\(cluster.port)"
        )
        #expect(socket.status == 0, "\(socket.error)")
        let escaped = try await up(
            sandbox,
            "postgresql://\(role):a%40b%2Fc%25d%23e@127.0.0.1:\(cluster.port)/\(sandbox.database)?sslmode=disable"
        )
        #expect(escaped.lines == ["no change"])
        let variables = try await up(
            sandbox, "postgres:///\(sandbox.database)",
            environment: [
                "PGHOST": "127.0.0.1", "PGPORT": "\(cluster.port)", "PGUSER": "postgres",
                "PGPASSWORD": "postgres", "PGSSLMODE": "disable",
            ])
        #expect(variables.lines == ["no change"])
        _ = try await sandbox.sql("DROP ROLE \(role)")
    }

    @Test(
        "a role that may only read gets the version and no change; what it may not do leaves the state alone")
    func readers() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        _ = try await sandbox.migrate("up")
        let role = "r" + UUID().uuidString.lowercased().replacing("-", with: "")
        _ = try await sandbox.sql(
            "CREATE ROLE \(role) LOGIN PASSWORD 'x'; GRANT SELECT ON schema_migrations TO \(role)")
        let url = "postgres://\(role):x@127.0.0.1:\(sandbox.cluster.port)/\(sandbox.database)?sslmode=disable"
        let version = try await sandbox.raw(["-path", sandbox.path, "-database", url, "version"])
        #expect(version.lines == ["3"])
        let none = try await up(sandbox, url)
        #expect(none.lines == ["no change"])
        let status = try await sandbox.raw(["-path", sandbox.path, "-database", url, "status"])
        #expect(status.status == 0)
        let down = try await sandbox.raw(["-path", sandbox.path, "-database", url, "down", "1"])
        #expect(
            down.lines == [
                "error: pq: permission denied for table schema_migrations in line 0: TRUNCATE \"public\".\"schema_migrations\""
            ])
        let row = try await sandbox.row()
        #expect(row == "3|f")
        let create = try await up(sandbox, url + "&x-migrations-table=zz")
        #expect(
            create.lines == [
                "error: failed to open database: pq: permission denied for schema public in line 0: CREATE TABLE IF NOT EXISTS \"public\".\"zz\" (version bigint not null primary key, dirty boolean not null)"
            ])
        _ = try await sandbox.sql("DROP OWNED BY \(role); DROP ROLE \(role)")
    }

    @Test("a table of another tool under the same name is told apart")
    func foreignTable() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        _ = try await sandbox.sql("CREATE TABLE schema_migrations (version text)")
        let ending = try await sandbox.migrate("up")
        #expect(
            ending.lines == [
                "error: pq: column \"dirty\" does not exist in line 0: SELECT version, dirty FROM \"public\".\"schema_migrations\" LIMIT 1"
            ])
    }

    @Test("the URL may come from a file or a variable, and its password shows nowhere")
    func secretFiles() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        let file = sandbox.path + "/url"
        try Data((sandbox.url() + "\n").utf8).write(to: URL(fileURLWithPath: file))
        let fromFile = try await sandbox.raw(["-path", sandbox.path, "-database-file", file, "up", "1"])
        #expect(fromFile.lineHeads == ["1/u one (DUR)"])
        let fromVariable = try await sandbox.raw(
            ["-path", sandbox.path, "-database", "env:THE_URL", "version"],
            environment: ["THE_URL": sandbox.url()])
        #expect(fromVariable.lines == ["1"])
        let missing = try await sandbox.raw(["-path", sandbox.path, "-database-file", "/nope", "up"])
        #expect(
            missing.lines == [
                "error: failed to open database: -database-file: open /nope: No such file or directory"
            ])
        let unset = try await sandbox.raw(["-path", sandbox.path, "-database", "env:NOT_THERE", "up"])
        #expect(
            unset.lines == ["error: failed to open database: the environment variable NOT_THERE is not set"])
        let both = try await sandbox.raw([
            "-path", sandbox.path, "-database", "x", "-database-file", file, "up",
        ])
        #expect(both.lines == ["error: -database and -database-file cannot be used together"])
    }
}

import Testing

@testable import Migrate

@Suite struct PlanningTests {
    @Test(
        "the lock's number is golang-migrate's",
        arguments: [
            (["public", "schema_migrations", "/app"], 1_726_534_663),
            (["public", "schema_migrations", "app"], 1_787_120_056),
            (["public", "schema_migrations", "/postgres"], 3_280_485_947),
            (["public", "schema_migrations", "postgres"], 143_310_882),
            (["public", "schema_migrations", "/devpie"], 2_935_536_428),
            (["public", "schema_migrations", "/"], 2_551_455_205), (["database_name"], 1_764_327_054),
            (["schema_name_1", "database_name"], 2_453_313_553),
            (["schema_name_2", "database_name"], 235_207_038),
            (["schema_name_1", "schema_name_2", "database_name"], 3_743_845_847),
        ] as [([String], Int64)])
    func lockIDs(_ names: [String], _ id: Int64) {
        let number =
            switch names.count {
            case 1: LockID.number(names[0])
            case 2: LockID.number(names[0], names[1])
            default: LockID.number(names[0], names[1], names[2])
            }
        #expect(number == id)
    }

    @Test("a lock's number is written so that the server takes it for a bigint")
    func lockLiterals() {
        #expect(LockID.literal(143_310_882) == "'143310882'")
        #expect(LockID.literal(2_147_483_647) == "'2147483647'")
        #expect(LockID.literal(2_147_483_648) == "2147483648")
    }

    @Test(
        "a position of the server becomes line and column as golang-migrate shows them",
        arguments: [(10, 2, 1), (15, 2, 6), (17, 2, 8)])
    func positions(_ position: Int, _ line: Int, _ column: Int) throws {
        let place = try #require(StatementPosition(position, in: Array("SELECT *\nFROM foo".utf8)))
        #expect(place.line == line)
        #expect(place.column == column)
    }

    @Test("a position beyond the text is none, and characters are counted, not bytes")
    func positionsByCharacter() {
        #expect(StatementPosition(18, in: Array("SELECT *\nFROM foo".utf8)) == nil)
        #expect(StatementPosition(0, in: Array("x".utf8)) == nil)
        #expect(StatementPosition(4, in: Array("äöü€".utf8))?.column == 4)
        #expect(StatementPosition(5, in: Array("äöü€".utf8)) == nil)
    }

    @Test(
        "SHA-256 gives the standard's answers, and line ends of Windows count as line feeds",
        arguments: [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
            ),
            (
                String(repeating: "a", count: 1000),
                "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3"
            ),
        ])
    func hashes(_ text: String, _ hash: String) {
        #expect(SHA256.text(normalising: Array(text.utf8)) == hash)
        #expect(
            SHA256.text(normalising: Array("a\r\nb".utf8)) == SHA256.text(normalising: Array("a\nb".utf8)))
        #expect(SHA256.text(normalising: Array("a\rb".utf8)) != SHA256.text(normalising: Array("a\nb".utf8)))
    }

    @Test(
        "statements are split at semicolons, not at those in strings, comments, names and dollar quotes",
        arguments: [
            ("a; b;c", ["a;", " b;", "c"]), (" ; ;", [" ;", " ;"]), ("a;\n\n", ["a;"]),
            ("SELECT ';'; b", ["SELECT ';';", " b"]), ("SELECT 'it''s;'; b", ["SELECT 'it''s;';", " b"]),
            ("SELECT E'\\';'; b", ["SELECT E'\\';';", " b"]),
            ("SELECT \"a;b\"; c", ["SELECT \"a;b\";", " c"]),
            ("-- x;y\na; b", ["-- x;y\na;", " b"]),
            ("/* ; /* ; */ ; */ a; b", ["/* ; /* ; */ ; */ a;", " b"]),
            ("$$ ; $$; b", ["$$ ; $$;", " b"]), ("$f$ ; $$ ; $f$; b", ["$f$ ; $$ ; $f$;", " b"]),
            ("SELECT $1; b", ["SELECT $1;", " b"]), ("a$b$c; d", ["a$b$c;", " d"]),
            ("SELECT 'open", ["SELECT 'open"]), ("/* open ;", ["/* open ;"]), ("$$ open ;", ["$$ open ;"]),
        ] as [(String, [String])])
    func splitting(_ text: String, _ pieces: [String]) {
        let bytes = Array(text.utf8)
        #expect(StatementSplitter.split(bytes).map { String(decoding: bytes[$0], as: UTF8.self) } == pieces)
    }

    @Test("the splitter loses no byte of any text")
    func splitterFuzz() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed); to replay, put it in place of UInt64.random in splitterFuzz")
        var state = seed
        let alphabet = Array(";'\"$-/*\\ \nEeab1\u{e9}".utf8)
        for _ in 0..<3_000 {
            var bytes: [UInt8] = []
            for _ in 0..<24 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                bytes.append(alphabet[Int(state >> 33) % alphabet.count])
            }
            let pieces = StatementSplitter.split(bytes)
            var at = 0
            for piece in pieces {
                #expect(bytes[at..<piece.lowerBound].allSatisfy { $0 == 0x20 || $0 == 0x0a })
                at = piece.upperBound
            }
            #expect(bytes[at...].allSatisfy { $0 == 0x20 || $0 == 0x0a }, "seed \(seed)")
        }
    }

    @Test(
        "file names are read by the rule, greedily",
        arguments: [
            ("000001_create_users.up.sql", "1/up/create_users"), ("3_x.y.up.down.sql", "3/down/x.y.up"),
            ("2_.up.sql", "2/up/"), ("5_x.up.", "5/up/x"), ("6_x.up.sql.bak", "6/up/x"),
            ("7_a.down.up.down", "7/up/a.down"), ("V10_x.up.sql", nil), ("9-x.up.sql", nil),
            ("4_x.UP.sql", nil),
            ("1_foobar.sql", nil), ("1.up.sql", nil), ("1_foobar.up", nil), ("-1_x.up.sql", nil),
            ("18446744073709551616_x.up.sql", nil),
        ] as [(String, String?)])
    func fileNames(_ name: String, _ expected: String?) {
        var found: String?
        if case .migration(let file) = MigrationFile.read(name) {
            found = "\(file.version)/\(file.direction.rawValue)/\(file.identifier)"
        }
        #expect(found == expected)
    }

    @Test("a URL's parts reach libpq: unknown keys become settings, the tool's own do not")
    func urls() throws {
        let url = try DatabaseURL(
            " postgres://us%40er:p%25%2Fw:d@h:99/my%20app?search_path=s1&sslmode=disable&x-foo=1&timezone=A%20B&options=-c%20a%3Db&empty=&search_path=no&bad;pair=1\n"
        )
        let parameters = url.configuration.parameters
        #expect(parameters["user"] == "us@er")
        #expect(parameters["password"] == "p%/w:d")
        #expect(parameters["host"] == "h")
        #expect(parameters["port"] == "99")
        #expect(parameters["dbname"] == "my app")
        #expect(url.lockName == "/my app")
        #expect(parameters["options"] == "-c extra_float_digits=2 -c search_path=s1 -c timezone=A\\ B -c a=b")
        #expect(!parameters.keys.contains { $0.hasPrefix("x-") })
        #expect(!"\(url.configuration)".contains("p%/w:d"))
        #expect(try DatabaseURL("postgres://h/app").configuration.parameters["sslmode"] == "require")
        #expect(
            try DatabaseURL("postgres:///app?host=/s&sslmode=require").configuration.parameters["sslmode"]
                == "disable")
    }

    @Test(
        "keys of the tool are refused with golang-migrate's words",
        arguments: [
            (
                "x-multi-statement=maybe",
                "unable to parse option x-multi-statement: strconv.ParseBool: parsing \"maybe\": invalid syntax"
            ),
            ("x-statement-timeout=abc", "strconv.Atoi: parsing \"abc\": invalid syntax"),
            (
                "x-migrations-table=my.table&x-migrations-table-quoted=1",
                "x-migrations-table must be quoted (for instance '\"migrate\".\"schema_migrations\"') when x-migrations-table-quoted is enabled, current value is: my.table"
            ),
            (
                "x-migrations-table=%22a%22.%22b%22.%22c%22&x-migrations-table-quoted=1",
                "\"\"a\".\"b\".\"c\"\" MigrationsTable contains too many dot characters"
            ),
            (
                "connect_timeout=x",
                "invalid value for parameter connect_timeout: strconv.ParseInt: parsing \"x\": invalid syntax"
            ),
            (
                "sslmode=maybe",
                "pq: unsupported sslmode \"maybe\"; only \"require\" (default), \"verify-full\", \"verify-ca\", and \"disable\" supported"
            ),
        ])
    func badKeys(_ query: String, _ text: String) {
        #expect(throws: MigrationError.self) { try DatabaseURL("postgres://h/a?\(query)") }
        do { _ = try DatabaseURL("postgres://h/a?\(query)") } catch {
            #expect(error.message == "failed to open database: " + text)
        }
    }

    @Test("hostile URLs are refused or read, and never crash")
    func urlFuzz() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed); to replay, put it in place of UInt64.random in urlFuzz")
        var state = seed
        let alphabet = Array("postgres://@:?#[]%&=+;/a1 \u{e9}\n\"".utf8)
        for _ in 0..<5_000 {
            var bytes = Array("postgres://".utf8)
            for _ in 0..<20 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                bytes.append(alphabet[Int(state >> 33) % alphabet.count])
            }
            let text = String(decoding: bytes, as: UTF8.self)
            _ = DatabaseURL.redacted(text)
            _ = try? DatabaseURL(text)
            _ = try? GoURL(text)
        }
    }
}

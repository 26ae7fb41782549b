import Foundation
import PostgresCluster
import Testing

@Suite struct MigrationSetTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent()
        .deletingLastPathComponent().path

    private func run(_ sandbox: Sandbox, _ set: String, _ arguments: String...) async throws
        -> ChildProcess.Ending
    {
        try await sandbox.raw(["-path", "\(Self.root)/\(set)", "-database", sandbox.url()] + arguments)
    }

    @Test(
        "each set goes up, down and up again",
        arguments: [
            ("Sources/Services/Users/Migrations", "4"), ("Sources/Services/Projects/Migrations", "5"),
        ])
    func sets(_ set: String, _ version: String) async throws {
        let sandbox = try await Sandbox()
        for command in [["up"], ["down", "-all"], ["up"]] {
            let ending = try await sandbox.raw(
                ["-path", "\(Self.root)/\(set)", "-database", sandbox.url()] + command)
            #expect(ending.status == 0, "\(ending.error)")
            if command[0] == "down" {
                let tables = try await sandbox.tables()
                #expect(tables == "")
            }
        }
        let last = try await run(sandbox, set, "version")
        #expect(last.lines == [version])
    }

    @Test(
        "the broker's functions keep positions, move forward only, and find other ids; down gives the original's back"
    )
    func broker() async throws {
        let set = "nats/migrations"
        let sandbox = try await Sandbox()
        _ = try await run(sandbox, set, "up", "3")
        _ = try await sandbox.sql(
            """
            INSERT INTO channels (id, name) VALUES (1, 'identity.abc'), (2, 'identity.command'), (3, 'identity.command.x'),
              (4, 'identity_x.abc'), (5, 'identity.gone');
            UPDATE channels SET deleted = true WHERE id = 5;
            INSERT INTO messages SELECT c, s, s * 10 + c, 1, 'x' FROM generate_series(1, 5) c, generate_series(1, 20) s
            """)
        for command in [["up"], ["down", "1"], ["up"]] {
            let ending = try await sandbox.raw(
                ["-path", "\(Self.root)/\(set)", "-database", sandbox.url()] + command)
            #expect(ending.status == 0, "\(ending.error)")
        }
        let shape =
            "AS r(id integer, seq bigint, timestamp bigint, size integer, data bytea, global_position bigint)"
        let category = try await sandbox.sql(
            "SELECT id, count(*), min(global_position) FROM get_category_stream('identity') \(shape) GROUP BY id"
        )
        #expect(category == "1|20|1")
        let paged = try await sandbox.sql(
            "SELECT global_position FROM get_category_stream('identity', 50, 2) \(shape)")
        #expect(paged == "51\n56")
        let stream = try await sandbox.sql("SELECT seq FROM get_stream('identity.command', 52, 2) \(shape)")
        #expect(stream == "11\n12")
        let beyond = try await sandbox.sql("SELECT count(*) FROM get_stream('identity.abc', 999) \(shape)")
        #expect(beyond == "0")
        let before = try await sandbox.sql(
            "SELECT min(global_position) FROM get_stream('identity.abc', -5) \(shape)")
        #expect(before == "1")
        _ = try await sandbox.sql(
            "DELETE FROM messages WHERE seq <= 10; INSERT INTO messages VALUES (1, 21, 999, 1, 'y')")
        let stable = try await sandbox.sql(
            "SELECT min(global_position), max(global_position) FROM get_stream('identity.abc') \(shape)")
        #expect(stable == "51|101")
        let position = try await sandbox.sql(
            "SELECT write_read_position('r', 9); SELECT write_read_position('r', 5); SELECT seq FROM get_last_read_position('r')"
        )
        #expect(position.hasSuffix("9"))
        let far = try await sandbox.sql(
            "PREPARE p AS SELECT write_read_position($1, $2); EXECUTE p('r', 5000000000); SELECT seq FROM get_last_read_position('r')"
        )
        #expect(far.hasSuffix("5000000000"))
        let down = try await run(sandbox, set, "down", "1")
        #expect(down.status == 0, "\(down.error)")
        let original = try await sandbox.sql("SELECT count(*) FROM get_stream('identity.abc', 999) \(shape)")
        // The original passes over the position that it was asked for.
        #expect(original != "0")
    }

    @Test(
        "the original's rows migrate: duplicate memberships merge, keys count on, doubled addresses are named"
    )
    func originalRows() async throws {
        let users = try await Sandbox()
        let set = "Sources/Services/Users/Migrations"
        _ = try await run(users, set, "up", "1")
        _ = try await users.sql(
            """
            INSERT INTO users (user_id, auth0_id, email) VALUES ('u1', 'a1', 'A@x.io'), ('u2', 'a2', 'a@X.io');
            INSERT INTO teams (team_id, user_id, name) VALUES ('t', 'u1', 'T');
            INSERT INTO memberships (membership_id, user_id, team_id, role)
              VALUES ('m1', 'u1', 't', 'viewer'), ('m2', 'u1', 't', 'administrator');
            INSERT INTO projects (project_id, name, prefix, user_id, team_id) VALUES ('p', 'P', 'P-', 'u1', '')
            """)
        let doubled = try await run(users, set, "up")
        #expect(doubled.status == 1)
        #expect(doubled.error.contains("several users have the same e-mail address: a@x.io (u1, u2)"))
        _ = try await users.sql("UPDATE users SET email = 'b@x.io' WHERE user_id = 'u2'")
        _ = try await run(users, set, "repair", "-retry")
        let repaired = try await run(users, set, "up")
        #expect(repaired.status == 0, "\(repaired.error)")
        let kept = try await users.sql("SELECT membership_id FROM memberships")
        #expect(kept == "m2")
        let projects = try await Sandbox()
        let other = "Sources/Services/Projects/Migrations"
        _ = try await run(projects, other, "up", "1")
        _ = try await projects.sql(
            """
            INSERT INTO projects (project_id, name, prefix, user_id, team_id) VALUES ('p', 'P', 'Tes-', 'u', '');
            INSERT INTO tasks (task_id, project_id, key, title) VALUES ('a', 'p', 'Tes-7', 'A'), ('b', 'p', 'Tes-2', 'B');
            INSERT INTO columns (column_id, project_id, title, column_name) VALUES ('c', 'p', 'C', 'column-1'), ('d', 'p', 'D', 'column-1')
            """)
        for command in [["up"], ["down", "3"], ["up"]] {
            let ending = try await projects.raw(
                ["-path", "\(Self.root)/\(other)", "-database", projects.url()] + command)
            #expect(ending.status == 0, "\(ending.error)")
        }
        let next = try await projects.sql("SELECT next_task_seq FROM projects")
        #expect(next == "8")
    }
}

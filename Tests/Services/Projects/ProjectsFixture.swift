import ServicesCore
import ServicesTesting

@testable import ProjectsService

/// Users of the tests, and what they do first.
enum People {
    static let ann = "a0000000-0000-4000-8000-000000000001"
    static let bob = "b0000000-0000-4000-8000-000000000002"
    static let cid = "c0000000-0000-4000-8000-000000000003"
    static let unknown = "f0000000-0000-4000-8000-00000000000f"
}

extension TestService {
    /// A projects service, lent.
    static func projects(
        broker: TestBroker? = nil, environment: [String: String] = [:],
        _ body: (TestService) async throws -> Void
    ) async throws {
        try await run(Projects.self, folder: "Projects", broker: broker, environment: environment, body)
    }

    /// Creates a project and returns its id.
    func makeProject(_ name: String = "Testing", team: String = "", as user: String = People.ann) async throws
        -> String
    {
        try await send("POST", "/api/v1/projects", as: user, #"{"name":"\#(name)","teamId":"\#(team)"}"#)
            .text("id")
    }

    /// The ids of a project's columns in order.
    func columnIDs(_ project: String, as user: String = People.ann) async throws -> [String] {
        try await send("GET", "/api/v1/projects/\(project)/columns", as: user).array.map {
            $0["id"] as? String ?? ""
        }
    }

    /// Creates a task and returns its id.
    func makeTask(
        _ title: String, in column: String, of project: String, as user: String = People.ann
    ) async throws -> String {
        try await send(
            "POST", "/api/v1/projects/\(project)/columns/\(column)/tasks", as: user, #"{"title":"\#(title)"}"#
        ).text("id")
    }

    /// The tasks that a column holds.
    func taskIDs(_ column: String) async throws -> [String] {
        try await database.query("SELECT task_ids FROM columns WHERE column_id = \(column)").first?
            .decode(0, as: [String].self) ?? []
    }

    /// Writes a membership into the copy and returns its team.
    func join(_ user: String, _ team: String, as role: Role) async throws {
        try await database.query(
            """
            INSERT INTO memberships (membership_id, user_id, team_id, role)
            VALUES (\(String.makeUUID()), \(user), \(team), \(role)::role)
            """)
    }

    /// Every row of every table, to see that nothing has changed.
    func snapshot() async throws -> [String] {
        var rows: [String] = []
        for table in ["projects", "columns", "tasks", "comments", "memberships", "tombstones"] {
            rows += try await database.rows("SELECT t::text FROM \(identifier: table) t ORDER BY 1")
        }
        // The relay counts its attempts there; the events themselves are what matters.
        return rows + (try await database.rows("SELECT event_id FROM outbox ORDER BY seq"))
    }
}

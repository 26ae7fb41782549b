import Postgres
import ServicesCore

/// Takes over teams that the users service has given to a project: the one thing of a project that both services write.
/// The last writer wins; nothing is published again (services.md 2.6).
enum ProjectListener {
    static let all = [
        EventListener(ProjectUpdated.self) { event, transaction in
            let id = event.data.projectID
            let rows = try await transaction.query(
                "SELECT user_id FROM projects WHERE project_id = \(id) FOR UPDATE")
            guard let owner = try rows.first?.decode(0, as: String.self) else {
                if try await transaction.isBuried("project", id) { return .ignored }
                return .waiting("the project \(id) is not there")
            }
            // Without a team it says nothing that is not known here: this service's own event, read again.
            guard let teamID = event.data.teamID else { return .ignored }
            guard owner == event.source.userID else { return .refused("not authorised") }
            guard teamID.isEmpty || teamID.canonicalUUID != nil else {
                return .refused("undecodable: the team's id is no UUID")
            }
            let isNewer = try await assign(teamID, to: id, at: event.data.updatedAt, transaction)
            return isNewer ? .applied : .ignored
        }
    ]

    /// Gives a project to a team, unless it was given to one later; true when it was done.
    @discardableResult
    static func assign(
        _ teamID: String, to projectID: String, at time: Timestamp, _ transaction: Transaction
    ) async throws -> Bool {
        try await transaction.query(
            """
            UPDATE projects SET team_id = \(teamID), team_updated_at = \(time)
            WHERE project_id = \(projectID) AND coalesce(team_updated_at, created_at) <= \(time)
            """
        ).affectedRows > 0
    }
}

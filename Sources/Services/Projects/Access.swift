import Postgres
import ServicesCore

/// What a user may do with a project (services.md 2.4).
struct Access: Hashable, Sendable {
    /// What a request asks for.
    enum Right: Sendable {
        /// Read the project, its columns, tasks and comments.
        case read
        /// Write comments.
        case comment
        /// Create, change, move and delete tasks, reorder columns, rename the project.
        case edit
        /// Set `active` and `public`, add and remove columns.
        case administer
        /// Change the team, delete the project.
        case own
    }

    let isOwner: Bool
    /// The role in the project's team; nil for none.
    let role: Role?

    /// The two columns that `init(row:at:)` reads, from `projects p LEFT JOIN memberships m`, where `$1` is the user.
    ///
    /// A membership without a role (the column may be null) is the least one.
    static let columns = """
        p.user_id = $1, CASE WHEN m.membership_id IS NOT NULL THEN coalesce(m.role, 'viewer') END
        """
    /// The join that goes with `columns`.
    static let join = "LEFT JOIN memberships m ON m.team_id = p.team_id AND m.user_id = $1"

    init(isOwner: Bool, role: Role?) {
        self.isOwner = isOwner
        self.role = role
    }

    init(row: PostgresRow, at index: Int) throws {
        isOwner = try row.decode(index, as: Bool.self)
        role = try row.decode(index + 1, as: Role?.self)
    }

    func allows(_ right: Right) -> Bool {
        if isOwner { return true }
        guard let role else { return false }
        return switch right {
        case .read: true
        case .comment: role >= .commenter
        case .edit: role >= .editor
        case .administer: role >= .administrator
        case .own: false
        }
    }

    /// Refuses what is not allowed: 403 to a member, and to everybody else the 404 that an unknown id has, so that the
    /// existence of `what` is not revealed.
    func require(_ right: Right, to what: String) throws(RequestError) {
        guard isOwner || role != nil else { throw .notFound(what) }
        guard allows(right) else { throw .wrongRole }
    }
}

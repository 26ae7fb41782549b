import Postgres

/// What a member of a team may do; the strongest first, as the type ROLE of the databases has them.
public enum Role: String, Sendable, CaseIterable, Comparable {
    /// Everything but deleting a project and giving it to another team.
    case administrator
    /// Works on the board.
    case editor
    /// Writes comments.
    case commenter
    /// Reads.
    case viewer

    private var strength: Int {
        switch self {
        case .administrator: 3
        case .editor: 2
        case .commenter: 1
        case .viewer: 0
        }
    }

    /// The weaker role comes first: `role >= .editor` asks for an editor or more.
    public static func < (left: Role, right: Role) -> Bool { left.strength < right.strength }
}

extension Role: PostgresEncodable, PostgresDecodable {
    /// The label; the server infers the type.
    public var postgresParameter: PostgresParameter { .text(rawValue) }

    /// Reads the type ROLE.
    public init(postgresCell cell: PostgresCell) throws {
        guard let text = cell.text, let role = Role(rawValue: text) else {
            throw cell.mismatch("it is no role")
        }
        self = role
    }
}

extension JSONFields {
    /// The member `name`, which must be a role.
    ///
    /// - Throws: When it is absent or none.
    public mutating func requiredRole(_ name: String) throws(JSONFailure) -> Role {
        let text = try requiredString(name)
        guard let role = Role(rawValue: text) else {
            throw JSONFailure("json: field \"\(name)\" is no role: \"\(text.prefix(64))\"")
        }
        return role
    }
}

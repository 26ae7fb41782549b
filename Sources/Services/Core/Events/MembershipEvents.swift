import BrokerProtocol

/// A user has become a member of a team by an invitation.
public struct MembershipCreated: EventData, Hashable {
    /// As the protocol says.
    public static let type = "MembershipCreated"
    /// The membership.
    public var membershipID: String
    /// The team.
    public var teamID: String
    /// The member.
    public var userID: String
    /// What he may do.
    public var role: Role
    /// When the membership was changed last.
    public var updatedAt: Timestamp
    /// When it began.
    public var createdAt: Timestamp

    /// A membership.
    public init(
        membershipID: String, teamID: String, userID: String, role: Role, updatedAt: Timestamp,
        createdAt: Timestamp
    ) {
        self.membershipID = membershipID
        self.teamID = teamID
        self.userID = userID
        self.role = role
        self.updatedAt = updatedAt
        self.createdAt = createdAt
    }

    /// As the protocol says.
    public init(_ fields: inout JSONFields) throws(JSONFailure) {
        membershipID = try fields.requiredEventID("membershipId")
        teamID = try fields.requiredEventID("teamId")
        userID = try fields.requiredEventID("userId")
        role = try fields.requiredRole("role")
        updatedAt = try fields.requiredEventTime("updatedAt")
        createdAt = try fields.requiredEventTime("createdAt")
    }

    /// The membership.
    public var entityID: String { membershipID }

    /// As the protocol says.
    public func writeFields(to json: inout JSONWriter) {
        json.field("membershipId", membershipID)
        json.field("teamId", teamID)
        json.field("userId", userID)
        json.field("role", role.rawValue)
        json.field("updatedAt", updatedAt.eventText)
        json.field("createdAt", createdAt.eventText)
    }
}

/// A team was made for a project, with its first member.
public struct MembershipCreatedForProject: EventData, Hashable {
    /// As the protocol says.
    public static let type = "MembershipCreatedForProject"
    /// The first membership.
    public var membership: MembershipCreated
    /// The project that the team takes over.
    public var projectID: String

    /// A membership with its project.
    public init(membership: MembershipCreated, projectID: String) {
        self.membership = membership
        self.projectID = projectID
    }

    /// As the protocol says.
    public init(_ fields: inout JSONFields) throws(JSONFailure) {
        membership = try MembershipCreated(&fields)
        projectID = try fields.requiredEventID("projectId")
    }

    /// The membership.
    public var entityID: String { membership.membershipID }

    /// As the protocol says.
    public func writeFields(to json: inout JSONWriter) {
        membership.writeFields(to: &json)
        json.field("projectId", projectID)
    }
}

/// A member has another role.
public struct MembershipUpdated: EventData, Hashable {
    /// As the protocol says.
    public static let type = "MembershipUpdated"
    /// The membership.
    public var membershipID: String
    /// What the member may do now.
    public var role: Role
    /// Since when.
    public var updatedAt: Timestamp

    /// A change.
    public init(membershipID: String, role: Role, updatedAt: Timestamp) {
        self.membershipID = membershipID
        self.role = role
        self.updatedAt = updatedAt
    }

    /// As the protocol says.
    public init(_ fields: inout JSONFields) throws(JSONFailure) {
        membershipID = try fields.requiredEventID("membershipId")
        role = try fields.requiredRole("role")
        updatedAt = try fields.requiredEventTime("updatedAt")
    }

    /// The membership.
    public var entityID: String { membershipID }

    /// As the protocol says.
    public func writeFields(to json: inout JSONWriter) {
        json.field("membershipId", membershipID)
        json.field("role", role.rawValue)
        json.field("updatedAt", updatedAt.eventText)
    }
}

/// A member has left a team, or was removed.
public struct MembershipDeleted: EventData, Hashable {
    /// As the protocol says.
    public static let type = "MembershipDeleted"
    /// The membership.
    public var membershipID: String

    /// A removal.
    public init(membershipID: String) { self.membershipID = membershipID }

    /// As the protocol says.
    public init(_ fields: inout JSONFields) throws(JSONFailure) {
        membershipID = try fields.requiredEventID("membershipId")
    }

    /// The membership.
    public var entityID: String { membershipID }

    /// As the protocol says.
    public func writeFields(to json: inout JSONWriter) { json.field("membershipId", membershipID) }
}

import BrokerProtocol

/// A project was created.
public struct ProjectCreated: EventData, Hashable {
    /// As the protocol says.
    public static let type = "ProjectCreated"
    /// The project.
    public var projectID: String
    /// Its name.
    public var name: String
    /// What its tasks' keys begin with.
    public var prefix: String
    /// A text about it.
    public var description: String
    /// Its owner.
    public var userID: String
    /// Its team; empty for none.
    public var teamID: String
    /// Whether it is not archived.
    public var active: Bool
    /// Whether it is public.
    public var isPublic: Bool
    /// Its columns' names in order.
    public var columnOrder: [String]
    /// When it was changed last.
    public var updatedAt: Timestamp
    /// When it was created.
    public var createdAt: Timestamp

    /// A project.
    public init(
        projectID: String, name: String, prefix: String, description: String, userID: String, teamID: String,
        active: Bool, isPublic: Bool, columnOrder: [String], updatedAt: Timestamp, createdAt: Timestamp
    ) {
        self.projectID = projectID
        self.name = name
        self.prefix = prefix
        self.description = description
        self.userID = userID
        self.teamID = teamID
        self.active = active
        self.isPublic = isPublic
        self.columnOrder = columnOrder
        self.updatedAt = updatedAt
        self.createdAt = createdAt
    }

    /// As the protocol says.
    public init(_ fields: inout JSONFields) throws(JSONFailure) {
        projectID = try fields.requiredEventID("projectId")
        name = try fields.requiredString("name")
        prefix = try fields.requiredString("prefix")
        description = try fields.requiredString("description")
        userID = try fields.requiredEventID("userId")
        teamID = try fields.requiredString("teamId")
        active = try fields.requiredBoolean("active")
        isPublic = try fields.requiredBoolean("public")
        guard fields.contains("columnOrder") else {
            throw JSONFailure("json: field \"columnOrder\" is missing")
        }
        // Go writes null for an empty list.
        columnOrder = try fields.strings("columnOrder") ?? []
        updatedAt = try fields.requiredEventTime("updatedAt")
        createdAt = try fields.requiredEventTime("createdAt")
    }

    /// The project.
    public var entityID: String { projectID }

    /// As the protocol says.
    public func writeFields(to json: inout JSONWriter) {
        json.field("projectId", projectID)
        json.field("name", name)
        json.field("prefix", prefix)
        json.field("description", description)
        json.field("userId", userID)
        json.field("teamId", teamID)
        json.field("active", active)
        json.field("public", isPublic)
        json.field("columnOrder", columnOrder)
        json.field("updatedAt", updatedAt.eventText)
        json.field("createdAt", createdAt.eventText)
    }
}

/// A project was changed; what is nil is unchanged.
public struct ProjectUpdated: EventData, Hashable {
    /// As the protocol says.
    public static let type = "ProjectUpdated"
    /// The project.
    public var projectID: String
    /// Its name.
    public var name: String?
    /// A text about it.
    public var description: String?
    /// Its team.
    public var teamID: String?
    /// Whether it is not archived.
    public var active: Bool?
    /// Whether it is public.
    public var isPublic: Bool?
    /// Its columns' names in order.
    public var columnOrder: [String]?
    /// When the change was made.
    public var updatedAt: Timestamp

    /// A change.
    public init(projectID: String, updatedAt: Timestamp) {
        self.projectID = projectID
        self.updatedAt = updatedAt
    }

    /// As the protocol says.
    public init(_ fields: inout JSONFields) throws(JSONFailure) {
        projectID = try fields.requiredEventID("projectId")
        name = try fields.string("name")
        description = try fields.string("description")
        teamID = try fields.string("teamId")
        active = try fields.boolean("active")
        isPublic = try fields.boolean("public")
        // Null is an empty list (services.md 5.1); absent is unchanged.
        columnOrder =
            fields.contains("columnOrder") ? try fields.strings("columnOrder") ?? [] : nil
        updatedAt = try fields.requiredEventTime("updatedAt")
    }

    /// The project.
    public var entityID: String { projectID }

    /// As the protocol says. The empty list is written too, unlike in Go's writer: who reads it must not keep the order
    /// that was.
    public func writeFields(to json: inout JSONWriter) {
        json.field("projectId", projectID)
        if let name { json.field("name", name) }
        if let description { json.field("description", description) }
        if let teamID { json.field("teamId", teamID) }
        if let active { json.field("active", active) }
        if let isPublic { json.field("public", isPublic) }
        if let columnOrder { json.field("columnOrder", columnOrder) }
        json.field("updatedAt", updatedAt.eventText)
    }
}

/// A project was deleted.
public struct ProjectDeleted: EventData, Hashable {
    /// As the protocol says.
    public static let type = "ProjectDeleted"
    /// The project.
    public var projectID: String

    /// A deletion.
    public init(projectID: String) { self.projectID = projectID }

    /// As the protocol says.
    public init(_ fields: inout JSONFields) throws(JSONFailure) {
        projectID = try fields.requiredEventID("projectId")
    }

    /// The project.
    public var entityID: String { projectID }

    /// As the protocol says.
    public func writeFields(to json: inout JSONWriter) { json.field("projectId", projectID) }
}

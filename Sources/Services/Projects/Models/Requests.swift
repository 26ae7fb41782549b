import ServicesCore

/// The bodies of the requests (services.md 2.2): each names its members, and refuses others.
enum Limits {
    /// Characters of a project's name and of a column's title: the columns are VARCHAR(36).
    static let name = 1...36
    /// Characters of a task's title: VARCHAR(48).
    static let taskTitle = 1...48
    /// Characters of a project's description: it travels in events, which have room for 1 MiB.
    static let description = 0...10_000
    /// Columns of a project.
    static let columns = 100
}

struct NewProject: RequestModel {
    let name: String
    let teamID: String

    init(_ fields: inout JSONFields) throws {
        let (name, team) = (try fields.string("name"), try fields.string("teamId"))
        try fields.finish()
        var validation = Validation()
        self.name = validation.text("name", name, Limits.name)
        teamID = validation.id("teamId", team, mayBeEmpty: true)
        try validation.finish()
    }
}

struct UpdateProject: RequestModel {
    let name: String?
    let isActive: Bool?
    let isPublic: Bool?
    let teamID: String?
    let description: String?
    let columnOrder: [String]?

    init(_ fields: inout JSONFields) throws {
        let (name, team) = (try fields.string("name"), try fields.string("teamId"))
        let description = try fields.string("description")
        isActive = try fields.boolean("active")
        isPublic = try fields.boolean("public")
        columnOrder = try fields.strings("columnOrder")
        try fields.finish()
        var validation = Validation()
        self.name = validation.optionalText("name", name, Limits.name)
        teamID = team.map { validation.id("teamId", $0, mayBeEmpty: true) }
        if let description, description.unicodeScalars.count > Limits.description.upperBound {
            validation.refuse(
                "description",
                "description must be a maximum of \(Limits.description.upperBound) characters in length")
        }
        self.description = description
        try validation.finish()
    }
}

struct NewTask: RequestModel {
    let title: String

    init(_ fields: inout JSONFields) throws {
        let title = try fields.string("title")
        try fields.finish()
        var validation = Validation()
        self.title = validation.text("title", title, Limits.taskTitle)
        try validation.finish()
    }
}

struct UpdateTask: RequestModel {
    let title: String?
    let points: Int?
    let content: String?
    let assignedTo: String?
    let attachments: [String]?
    let comments: [String]?

    init(_ fields: inout JSONFields) throws {
        let title = try fields.string("title")
        let (points, assignedTo) = (try fields.integer("points"), try fields.string("assignedTo"))
        attachments = try fields.strings("attachments")
        comments = try fields.strings("comments")
        content = try fields.string("content")
        // Accepted and without effect: the key never changes, and the time is the server's.
        _ = try fields.string("key")
        _ = try fields.string("updatedAt")
        try fields.finish()
        var validation = Validation()
        self.title = validation.optionalText("title", title, Limits.taskTitle)
        self.points = validation.range("points", points, 0...Int(Int32.max))
        self.assignedTo = assignedTo.map { validation.id("assignedTo", $0, mayBeEmpty: true) }
        try validation.finish()
    }
}

struct MoveTask: RequestModel {
    let to: String
    let from: String
    /// The order that `to` shall have; empty when the task goes to its end.
    let taskIDs: [String]

    init(_ fields: inout JSONFields) throws {
        let (to, from) = (try fields.string("to"), try fields.string("from"))
        taskIDs = try fields.strings("taskIds") ?? []
        try fields.finish()
        var validation = Validation()
        self.to = validation.id("to", to)
        self.from = validation.id("from", from)
        try validation.finish()
    }
}

struct NewColumn: RequestModel {
    let title: String

    init(_ fields: inout JSONFields) throws {
        let title = try fields.string("title")
        try fields.finish()
        var validation = Validation()
        self.title = validation.text("title", title, Limits.name)
        try validation.finish()
    }
}

struct UpdateColumn: RequestModel {
    let title: String?
    let taskIDs: [String]?

    init(_ fields: inout JSONFields) throws {
        let title = try fields.string("title")
        taskIDs = try fields.strings("taskIds")
        _ = try fields.string("updatedAt")
        try fields.finish()
        var validation = Validation()
        self.title = validation.optionalText("title", title, Limits.name)
        try validation.finish()
    }
}

struct NewComment: RequestModel {
    let content: String

    init(_ fields: inout JSONFields) throws {
        let content = try fields.string("content")
        try fields.finish()
        var validation = Validation()
        self.content = validation.text("content", content, 1...Int.max)
        try validation.finish()
    }
}

struct UpdateComment: RequestModel {
    let content: String?
    let likes: Int?

    init(_ fields: inout JSONFields) throws {
        let (content, likes) = (try fields.string("content"), try fields.integer("likes"))
        try fields.finish()
        var validation = Validation()
        self.content = validation.optionalText("content", content, 1...Int.max)
        self.likes = validation.range("likes", likes, 0...Int(Int32.max))
        try validation.finish()
    }
}

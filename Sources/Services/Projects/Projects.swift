import ServicesCore

/// The projects service: boards with their columns, tasks and comments.
///
/// Source: services.md 2.
public struct Projects: BackendService {
    /// As the protocol says.
    public static let name = "projects"
    /// As the protocol says.
    public static var openAPI: [UInt8] { PackageResources.openapi_yaml }

    private let projects: ProjectStore
    private let columns: ColumnStore
    private let tasks: TaskStore
    private let comments: CommentStore

    /// As the protocol says.
    public init(_ resources: ServiceResources) {
        projects = ProjectStore(database: resources.database)
        columns = ColumnStore(database: resources.database)
        tasks = TaskStore(database: resources.database)
        comments = CommentStore(database: resources.database)
    }

    /// As the protocol says.
    public var listeners: [EventListener] { MembershipListeners.all + ProjectListener.all }

    /// As the protocol says.
    public func addRoutes(to router: ServiceRouter) {
        addProjectRoutes(to: router, at: "/api/v1/projects")
        addColumnRoutes(to: router, at: "/api/v1/projects/:pid/columns")
        addTaskRoutes(to: router, at: "/api/v1/projects/tasks/:tid")
        addCommentRoutes(to: router)
    }

    private func addProjectRoutes(to router: ServiceRouter, at path: String) {
        router.get(path, for: .registeredUser) { call in
            try .ok(await projects.list(for: call.userID), as: Project.list)
        }
        router.post(path, for: .registeredUser) { call in
            .created(try await projects.create(call.body(), by: call.source))
        }
        router.get("\(path)/:pid", for: .registeredUser) { call in
            .ok(try await projects.find(call.id("pid"), for: call.userID))
        }
        router.patch("\(path)/:pid", for: .registeredUser) { call in
            .ok(try await projects.update(call.id("pid"), call.body(), by: call.source))
        }
        router.delete("\(path)/:pid", for: .registeredUser) { call in
            try await projects.delete(call.id("pid"), by: call.source)
            return .null()
        }
        router.get("\(path)/:pid/tasks", for: .registeredUser) { call in
            .ok(try await tasks.list(of: call.id("pid"), for: call.userID))
        }
    }

    private func addColumnRoutes(to router: ServiceRouter, at path: String) {
        router.get(path, for: .registeredUser) { call in
            .ok(try await columns.list(of: call.id("pid"), for: call.userID))
        }
        router.post(path, for: .registeredUser) { call in
            .created(try await columns.create(call.body(), in: call.id("pid"), by: call.source))
        }
        router.get("\(path)/:cid", for: .registeredUser) { call in
            .ok(try await columns.find(call.id("cid"), of: call.id("pid"), for: call.userID))
        }
        router.patch("\(path)/:cid", for: .registeredUser) { call in
            .ok(try await columns.update(call.id("cid"), of: call.id("pid"), call.body(), by: call.source))
        }
        router.delete("\(path)/:cid", for: .registeredUser) { call in
            try await columns.delete(call.id("cid"), of: call.id("pid"), by: call.source)
            return .null()
        }
        router.post("\(path)/:cid/tasks", for: .registeredUser) { call in
            .created(
                try await tasks.create(
                    call.body(), in: call.id("cid"), of: call.id("pid"), by: call.source))
        }
    }

    private func addTaskRoutes(to router: ServiceRouter, at path: String) {
        router.get(path, for: .registeredUser) { call in
            .ok(try await tasks.find(call.id("tid"), for: call.userID))
        }
        router.patch(path, for: .registeredUser) { call in
            .ok(try await tasks.update(call.id("tid"), call.body(), by: call.source))
        }
        router.patch("\(path)/move", for: .registeredUser) { call in
            try await tasks.move(call.id("tid"), call.body(), by: call.source)
            return .null()
        }
        router.delete("/api/v1/projects/columns/:cid/tasks/:tid", for: .registeredUser) { call in
            try await tasks.delete(call.id("tid"), in: call.id("cid"), by: call.source)
            return .null()
        }
    }

    private func addCommentRoutes(to router: ServiceRouter) {
        router.get("/api/v1/projects/tasks/:tid/comments", for: .registeredUser) { call in
            .ok(try await comments.list(of: call.id("tid"), for: call.userID))
        }
        router.post("/api/v1/projects/tasks/:tid/comments", for: .registeredUser) { call in
            .created(try await comments.create(call.body(), on: call.id("tid"), by: call.source))
        }
        router.patch("/api/v1/projects/comments/:commentId", for: .registeredUser) { call in
            .ok(try await comments.update(call.id("commentId"), call.body(), by: call.source))
        }
        router.delete("/api/v1/projects/comments/:commentId", for: .registeredUser) { call in
            try await comments.delete(call.id("commentId"), by: call.source)
            return .null()
        }
    }
}

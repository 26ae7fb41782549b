import ServicesCore

/// The users service: accounts, teams, memberships and invitations.
public struct Users: BackendService {
    /// As the protocol says.
    public static let name = "users"
    /// As the protocol says.
    public static var openAPI: [UInt8] { PackageResources.openapi_yaml }

    /// As the protocol says.
    public init(_ resources: ServiceResources) {}

    /// As the protocol says.
    public func addRoutes(to router: ServiceRouter) {}
}

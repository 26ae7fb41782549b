import Hummingbird

/// Finds out who asks.
struct Authenticator: Sendable {
    let verifier: TokenVerifier

    nonisolated(nonsending)
        func identity(of request: Request, for access: ServiceRouter.Access) async throws -> Identity
    {
        if case .anyone = access { return Identity(subject: "", userID: nil) }
        let identity = try await verifier.identity(authorization: request.headers.value(of: .authorization))
        if case .registeredUser = access {
            guard let userID = identity.userID, !userID.isEmpty else {
                throw RequestError.forbidden("user not registered")
            }
            guard let id = userID.canonicalUUID else { throw RequestError.invalidID }
            return Identity(subject: identity.subject, userID: id)
        }
        return identity
    }
}

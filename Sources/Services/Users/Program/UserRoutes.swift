import ServicesCore

/// Every route of the users service (services.md 3.2).
struct UserRoutes: Sendable {
    let accounts: Accounts
    let teams: Teams
    let members: Members
    let invites: Invites
    /// Told when there are mails to send.
    let delivery: MailDelivery?
    /// Why nobody can be invited.
    let invitesAreOff: RequestError?

    /// Adds the routes.
    func add(to router: ServiceRouter) {
        addAccounts(to: router)
        addTeams(to: router)
        addMembers(to: router)
        addInvites(to: router)
    }

    private func addAccounts(to router: ServiceRouter) {
        router.post("/api/v1/users", for: .token) { call in
            let new = try await call.body(NewUser.self)
            guard new.auth0ID == call.identity.subject else {
                throw RequestError.forbidden("auth0Id must be the subject of the token")
            }
            let (user, isNew) = try await IdentityProviderFailure.told(to: call) {
                try await accounts.register(new, subject: call.identity.subject)
            }
            return Reply(isNew ? .created : .accepted, body: user.jsonBytes)
        }
        router.get("/api/v1/users/me", for: .token) { call in
            // Without the claim the front end registers the user; so this is no 403.
            guard let id = call.identity.userID, !id.isEmpty else { throw RequestError.notFound("user") }
            guard let id = id.canonicalUUID else { throw RequestError.invalidID }
            return .ok(try await accounts.find(id))
        }
        router.patch("/api/v1/users/me", for: .registeredUser) { call in
            .ok(try await accounts.update(call.userID, call.body()))
        }
    }

    private func addTeams(to router: ServiceRouter) {
        router.get("/api/v1/users/teams", for: .registeredUser) { call in
            .ok(try await teams.all(of: call.userID))
        }
        router.post("/api/v1/users/teams", for: .registeredUser) { call in
            .created(try await teams.create(call.body(), by: call.source))
        }
        router.get("/api/v1/users/teams/:tid", for: .registeredUser) { call in
            let teamID = try call.id("tid")
            return .ok(
                try await withVerifiedAddress(call) {
                    try await teams.find(teamID, for: call.userID)
                })
        }
        router.post("/api/v1/users/teams/:tid/project/:pid", for: .registeredUser) { call in
            try await teams.assign(call.id("tid"), to: call.id("pid"), by: call.source)
            return .null()
        }
    }

    private func addMembers(to router: ServiceRouter) {
        router.post("/api/v1/users/teams/:tid/leave", for: .registeredUser) { call in
            try await members.leave(call.id("tid"), by: call.source)
            return .null()
        }
        router.get("/api/v1/users/teams/:tid/members", for: .registeredUser) { call in
            .ok(try await members.all(of: call.id("tid"), for: call.userID))
        }
        router.patch("/api/v1/users/teams/:tid/members/:mid", for: .registeredUser) { call in
            let (teamID, membershipID) = (try call.id("tid"), try call.id("mid"))
            let change = try await call.body(RoleChange.self)
            return .ok(try await members.change(membershipID, of: teamID, to: change.role, by: call.source))
        }
        router.delete("/api/v1/users/teams/:tid/members/:mid", for: .registeredUser) { call in
            try await members.remove(call.id("mid"), from: call.id("tid"), by: call.source)
            return .null()
        }
    }

    private func addInvites(to router: ServiceRouter) {
        router.get("/api/v1/users/teams/invites", for: .registeredUser) { call in
            .ok(
                try await withVerifiedAddress(call) {
                    try await invites.open(for: call.userID)
                })
        }
        router.post("/api/v1/users/teams/:tid/invites", for: .registeredUser) { call in
            let teamID = try call.id("tid")
            let new = try await call.body(NewInvites.self)
            if let invitesAreOff { throw invitesAreOff }
            try await invites.create(new.addresses, for: teamID, by: call.source)
            delivery?.mailIsWaiting()
            return .null(.created)
        }
        router.patch("/api/v1/users/teams/:tid/invites/:iid", for: .registeredUser) { call in
            let (teamID, inviteID) = (try call.id("tid"), try call.id("iid"))
            let answer = try await call.body(InviteAnswer.self)
            return .ok(
                try await withVerifiedAddress(call) {
                    try await invites.answer(
                        inviteID, into: teamID, accepted: answer.accepted, by: call.source)
                })
        }
        router.delete("/api/v1/users/teams/:tid/invites/:iid", for: .registeredUser) { call in
            try await invites.withdraw(call.id("iid"), from: call.id("tid"), by: call.source)
            return .null()
        }
    }

    private func withVerifiedAddress<Value: Sendable>(
        _ call: Call, _ body: () async throws -> Value
    ) async throws -> Value {
        try await IdentityProviderFailure.told(to: call) {
            try await accounts.withVerifiedAddress(of: call.userID, body)
        }
    }
}

extension IdentityProviderFailure {
    /// Answers 502 for it, and leaves the cause to the log.
    fileprivate static func told<Value>(
        to call: Call, _ body: () async throws -> Value
    ) async throws -> Value {
        do {
            return try await body()
        } catch let failure as IdentityProviderFailure {
            call.logger.error("Auth0 is needed and fails", metadata: ["reason": "\(failure.cause)"])
            throw answer
        }
    }
}

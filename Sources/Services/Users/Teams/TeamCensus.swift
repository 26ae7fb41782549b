import ServicesCore

/// How many members a team has, counted while its row is locked, and what may change without leaving it headless.
struct TeamCensus: Sendable, Equatable {
    /// All members.
    let members: Int
    /// Those of them who are administrators.
    let administrators: Int

    /// Whether a member of this role may go: the last administrator only as the last member.
    func canLose(_ role: Role) -> Bool { role != .administrator || administrators > 1 || members == 1 }

    /// Whether a member may change from one role to another: the last administrator remains one.
    func canChange(_ role: Role, to newRole: Role) -> Bool {
        role != .administrator || newRole == .administrator || administrators > 1
    }
}

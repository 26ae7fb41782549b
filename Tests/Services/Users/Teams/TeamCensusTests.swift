import ServicesCore
import Testing

@testable import UsersService

@Suite("the last administrator") struct TeamCensusTests {
    @Test("goes only as the last member")
    func leaving() {
        #expect(!TeamCensus(members: 2, administrators: 1).canLose(.administrator))
        #expect(TeamCensus(members: 1, administrators: 1).canLose(.administrator))
        #expect(TeamCensus(members: 3, administrators: 2).canLose(.administrator))
        for role in Role.allCases where role != .administrator {
            #expect(TeamCensus(members: 2, administrators: 1).canLose(role))
        }
    }

    @Test("stays one, even alone")
    func demoting() {
        for members in 1...3 {
            let census = TeamCensus(members: members, administrators: 1)
            #expect(!census.canChange(.administrator, to: .editor))
            #expect(census.canChange(.administrator, to: .administrator))
            #expect(census.canChange(.viewer, to: .administrator))
            #expect(census.canChange(.editor, to: .viewer))
        }
        #expect(TeamCensus(members: 2, administrators: 2).canChange(.administrator, to: .viewer))
    }
}

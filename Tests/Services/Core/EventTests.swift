import Testing

@testable import ServicesCore

@Suite("Events")
struct EventTests {
    private static let source = EventSource(
        traceID: "0af76519-16cd-43dd-8448-eb211c80319c", userID: "a4b54ec1-57f9-4c39-ab53-d936dbb6c177")

    @Test("are written byte for byte as Go's writer orders them")
    func golden() {
        var change = ProjectUpdated(projectID: "p", updatedAt: TimestampTests.moment)
        change.teamID = ""
        let event = Event(change, by: Self.source, id: "e")
        #expect(
            String(decoding: event.payload, as: UTF8.self)
                == #"{"data":{"projectId":"p","teamId":"","updatedAt":"2021-05-16 20:36:42.105449 +0000 UTC"},"#
                + #""id":"e","metadata":{"traceId":"0af76519-16cd-43dd-8448-eb211c80319c","#
                + #""userId":"a4b54ec1-57f9-4c39-ab53-d936dbb6c177"},"type":"ProjectUpdated"}"#)
    }

    @Test("of changes tell an empty column order from one that is unchanged")
    func emptyOrder() throws {
        var change = ProjectUpdated(projectID: "p", updatedAt: TimestampTests.moment)
        for order in [nil, [], ["column-1"]] {
            change.columnOrder = order
            let event = Event(change, by: Self.source)
            #expect(try Event<ProjectUpdated>(payload: event.payload).data.columnOrder == order)
        }
        let null =
            #"{"id":"1","type":"ProjectUpdated","metadata":{"traceId":"t","userId":"u"},"#
            + #""data":{"projectId":"p","columnOrder":null,"updatedAt":"2021-05-16T20:36:42Z"}}"#
        #expect(try Event<ProjectUpdated>(payload: Array(null.utf8)).data.columnOrder == [])
    }

    @Test("of Go and of TypeScript are read, unknown members passed over")
    func interop() throws {
        let go = """
            {"data":{"active":true,"columnOrder":null,"createdAt":"2021-05-16 20:36:42.105449 +0000 +0000",\
            "description":"","name":"Testing","prefix":"Tes-","projectId":"p","public":false,"teamId":"",\
            "updatedAt":"2021-05-16 20:36:42.105449 +0000 +0000","userId":"u"},"id":"1",\
            "metadata":{"traceId":"t","userId":"u","more":1},"type":"ProjectCreated","version":2}
            """
        let event = try Event<ProjectCreated>(payload: Array(go.utf8))
        #expect(event.data.columnOrder == [])
        #expect(event.data.createdAt == TimestampTests.moment)
        let typescript = """
            {"id":"1","type":"MembershipDeleted","metadata":{"traceId":"t","userId":""},"data":{"membershipId":"m"}}
            """
        #expect(try Event<MembershipDeleted>(payload: Array(typescript.utf8)).data.membershipID == "m")
    }

    @Test("survive being written and read")
    func roundTrip() throws {
        let membership = MembershipCreated(
            membershipID: "m", teamID: "t", userID: "u", role: .commenter, updatedAt: TimestampTests.moment,
            createdAt: TimestampTests.moment)
        let event = Event(
            MembershipCreatedForProject(membership: membership, projectID: "p"), by: Self.source)
        let again = try Event<MembershipCreatedForProject>(payload: event.payload)
        #expect(again.data == event.data)
        #expect(again.id == event.id)
        #expect(again.source == event.source)
    }

    @Test(
        "are undecodable when something is missing or of the wrong type",
        arguments: [
            "", "garbage", "[]", "{}",
            #"{"id":"1","type":"MembershipDeleted","metadata":{"traceId":"t","userId":"u"}}"#,
            #"{"id":"1","type":"Other","metadata":{"traceId":"t","userId":"u"},"data":{"membershipId":"m"}}"#,
            #"{"id":1,"type":"MembershipDeleted","metadata":{"traceId":"t","userId":"u"},"data":{"membershipId":"m"}}"#,
            #"{"id":"","type":"MembershipDeleted","metadata":{"traceId":"t","userId":"u"},"data":{"membershipId":"m"}}"#,
            #"{"id":"1","type":"MembershipDeleted","metadata":{"traceId":"t","userId":"u"},"data":{"membershipId":7}}"#,
            #"{"id":"1","type":"MembershipDeleted","metadata":{"traceId":"t","userId":"u"},"data":{"membershipId":""}}"#,
            #"{"id":"1","type":"MembershipDeleted","data":{"membershipId":"m"}}"#,
            #"{"id":"1234567890123456789012345678901234567","type":"MembershipDeleted","metadata":{"traceId":"t","userId":"u"},"data":{"membershipId":"m"}}"#,
        ])
    func undecodable(_ text: String) {
        #expect(throws: JSONFailure.self) { try Event<MembershipDeleted>(payload: Array(text.utf8)) }
    }
}

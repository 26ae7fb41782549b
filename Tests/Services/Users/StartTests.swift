import ServicesTesting
import Testing

@testable import UsersService

@Suite("The users service")
struct StartTests {
    @Test("answers health without a token while its database answers")
    func health() async throws {
        try await TestService.run(Users.self, folder: "Users") { test in
            let reply = try await test.send("GET", "/api/v1/health")
            #expect(reply.status == 200)
            #expect(reply.body == #"{"status":"ok"}"#)
        }
    }
}

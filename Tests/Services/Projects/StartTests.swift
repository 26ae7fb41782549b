import ServicesTesting
import Testing

@testable import ProjectsService

@Suite("The projects service")
struct StartTests {
    @Test("answers health without a token while its database answers")
    func health() async throws {
        try await TestService.run(Projects.self, folder: "Projects") { test in
            let reply = try await test.send("GET", "/api/v1/health")
            #expect(reply.status == 200)
            #expect(reply.body == #"{"status":"ok"}"#)
        }
    }
}

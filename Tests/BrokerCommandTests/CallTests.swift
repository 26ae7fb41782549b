import Testing

@testable import BrokerCommand

@Suite("What a call of broker means")
struct CallTests {
    @Test("a bare call and one that begins with a dash serve; the others are commands")
    func calls() {
        #expect(Program.Call([]) == .serve([]))
        #expect(Program.Call(["-p", "1"]) == .serve(["-p", "1"]))
        #expect(Program.Call(["--help"]) == .serve(["--help"]))
        #expect(Program.Call(["serve", "-p", "1"]) == .serve(["-p", "1"]))
        #expect(Program.Call(["pub", "a"]) == .tool(["pub", "a"]))
        #expect(Program.Call(["req", "a"]) == .tool(["req", "a"]))
        #expect(Program.Call(["channel"]) == .tool(["channel"]))
        #expect(Program.Call(["help"]) == .help)
        #expect(Program.Call(["help", "pub"]) == .tool(["help", "pub"]))
        #expect(Program.Call(["version"]) == .version)
        #expect(Program.Call(["stream", "ls"]) == .unknown("stream"))
    }
}

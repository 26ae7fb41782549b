import Foundation
import PostgresCluster
import Testing

@Suite struct TerminalTests {
    private let failing = [
        "1_one.up.sql": "CREATE TABLE one ()", "2_a.up.sql": "CREATE TABLE a ();\nCREATE TABLEE b ();\n",
    ]

    /// The lines on the terminal.
    private func lines(_ ending: ChildProcess.Ending) -> [String] {
        ending.output.split(separator: "\r\n").map(String.init)
    }

    @Test("on a terminal durations are dim, errors red, and the place and the ways out are shown")
    func colour() async throws {
        let sandbox = try await Sandbox(failing)
        let ending = try await sandbox.onTerminal("up", environment: ["TERM": "xterm", "NO_COLOR": ""])
        #expect(ending.status == 1)
        let lines = lines(ending)
        #expect(lines.first?.hasPrefix("1/u one \u{1B}[2m(") == true, "\(lines)")
        #expect(lines.first?.hasSuffix(")\u{1B}[0m") == true)
        #expect(lines.contains { $0.hasPrefix("\u{1B}[31merror:\u{1B}[0m migration failed: syntax error") })
        let place = try #require(
            lines.firstIndex(of: "\(sandbox.path)/2_a.up.sql:2:8: syntax error at or near \"TABLEE\""))
        #expect(lines[place + 1] == "    CREATE TABLEE b ();")
        #expect(lines[place + 2] == "           ^")
        #expect(lines.contains { $0.contains("repair -retry") })
        let dirty = try await sandbox.onTerminal("up", environment: ["TERM": "xterm", "NO_COLOR": ""])
        #expect(dirty.output.contains("Dirty database version 2. Fix and force version."))
        #expect(dirty.output.contains("repair"))
    }

    @Test("NO_COLOR and a dumb terminal take the colour away and leave the hints")
    func noColour() async throws {
        for environment in [["TERM": "xterm", "NO_COLOR": "1"], ["TERM": "dumb"]] {
            let sandbox = try await Sandbox(failing)
            let ending = try await sandbox.onTerminal("up", environment: environment)
            #expect(!ending.output.contains("\u{1B}"), "\(environment): \(ending.output)")
            #expect(ending.output.contains("repair -retry"))
            #expect(lines(ending).contains { $0.hasPrefix("error: migration failed: ") })
        }
    }

    @Test("the question is asked and answered on a terminal")
    func question() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        _ = try await sandbox.migrate("up")
        let refused = try await sandbox.onTerminal("down", input: "n\n")
        #expect(refused.status == 1)
        #expect(refused.output.contains("Not applying all down migrations"))
        let accepted = try await sandbox.onTerminal("down", input: "y\n")
        #expect(accepted.status == 0, "\(accepted.output)")
        #expect(accepted.output.contains("Applying all down migrations"))
        let row = try await sandbox.row()
        #expect(row == "")
    }

    @Test("status on a terminal and in a pipe is the same")
    func status() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        _ = try await sandbox.migrate("up", "2")
        let shown = try await sandbox.onTerminal("status")
        let piped = try await sandbox.migrate("status")
        #expect(shown.output.replacing("\r\n", with: "\n") == piped.output)
    }
}

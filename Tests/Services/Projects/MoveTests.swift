import ServicesCore
import Testing

@testable import ProjectsService

@Suite("A move")
struct MoveTests {
    @Test("puts the task at the end, or where the order says")
    func between() throws {
        let end = try Move("b", from: ["a", "b"], to: ["c"], isSame: false, [])
        #expect(end.from == ["a"])
        #expect(end.to == ["c", "b"])
        let ordered = try Move("b", from: ["a", "b"], to: ["c"], isSame: false, ["b", "c"])
        #expect(ordered.to == ["b", "c"])
    }

    @Test("within one column reorders it")
    func within() throws {
        #expect(try Move("a", from: ["a", "b"], to: ["a", "b"], isSame: true, []).to == ["b", "a"])
        #expect(
            try Move("a", from: ["a", "b"], to: ["a", "b"], isSame: true, ["a", "b"]).to == ["a", "b"])
    }

    @Test("is refused when the task is elsewhere, or the order is not what the column will hold")
    func refused() {
        #expect(throws: RequestError.conflict("task is not in column")) {
            try Move("x", from: ["a"], to: [], isSame: false, [])
        }
        for order in [["a"], ["a", "b", "c"], ["b", "b"], ["b", "x"]] {
            #expect(throws: RequestError.self) { try Move("b", from: ["b"], to: ["c"], isSame: false, order) }
        }
    }

    @Test("names and prefixes")
    func names() {
        #expect(Column.freeName(among: []) == "column-1")
        #expect(Column.freeName(among: ["column-1", "column-3", "other"]) == "column-2")
        #expect(Project.prefix(of: "Testing") == "Tes-")
        #expect(Project.prefix(of: "é\u{301}x😀").unicodeScalars.count == 4)
    }
}

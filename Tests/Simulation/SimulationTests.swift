import BrokerLog
import Testing

@Test("a seed repeats its numbers")
func seedRepeats() {
    var first = SeededGenerator(seed: 7)
    var second = SeededGenerator(seed: 7)
    for _ in 0..<100 { #expect(first.next() == second.next()) }
}

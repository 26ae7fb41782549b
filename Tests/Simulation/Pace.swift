import BrokerLog
import Dispatch
import Synchronization

/// Syncs that take long: each returns after the loop went round a number of times that a seed says.
final class Pace: Sendable {
    private struct State {
        var random: SeededGenerator
        var waiting = 0
        var isOver = false
        var slowed = 0
    }
    private let state: Mutex<State>
    private let turns = DispatchSemaphore(value: 0)

    init(seed: UInt64) { state = Mutex(State(random: SeededGenerator(seed: seed))) }

    /// Syncs that had to wait.
    var slowed: Int { state.withLock { $0.slowed } }

    /// The loop went round once.
    func turn() { for _ in 0..<state.withLock({ $0.waiting }) { turns.signal() } }

    /// Nothing is slow any more.
    func end() {
        let waiting = state.withLock { state in
            state.isOver = true
            return state.waiting
        }
        for _ in 0..<(waiting * 10) { turns.signal() }
    }

    /// On the thread that makes the call.
    func wait(for call: SimulatedFileSystem.Call) {
        guard [.sync, .syncAll, .syncDirectory].contains(call) else { return }
        let drawn = state.withLock { state -> Int? in
            if state.isOver { return nil }
            state.waiting += 1
            state.slowed += 1
            return Int(state.random.next() % 10)
        }
        guard var left = drawn else { return }
        while left > 0, !state.withLock({ $0.isOver }) {
            turns.wait()
            left -= 1
        }
        state.withLock { $0.waiting -= 1 }
    }
}

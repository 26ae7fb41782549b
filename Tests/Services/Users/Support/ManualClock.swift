import ServicesCore
import Synchronization

/// A clock that stands still until a test moves it. Its wall clock begins at 2026-01-01.
final class ManualClock: Sendable {
    private struct Sleeper {
        let id: Int
        let deadline: Duration
        let continuation: CheckedContinuation<Void, any Error>
    }

    private struct State {
        var now = Duration.zero
        var lastID = 0
        var sleepers: [Sleeper] = []
        var watchers: [(duration: Duration, continuation: CheckedContinuation<Void, Never>)] = []
    }

    private let state = Mutex(State())

    /// This clock as a service takes it.
    var service: ServiceClock {
        ServiceClock(
            now: { Timestamp(microseconds: 1_767_225_600_000_000) + self.state.withLock { $0.now } },
            monotonic: { self.state.withLock { $0.now } }, sleep: { try await self.wait(for: $0) })
    }

    private func wait(for duration: Duration) async throws {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation {
                (continuation: CheckedContinuation<Void, any Error>) in
                let watchers = state.withLock { state -> [CheckedContinuation<Void, Never>] in
                    guard !Task.isCancelled else {
                        continuation.resume(throwing: CancellationError())
                        return []
                    }
                    state.sleepers.append(
                        Sleeper(id: id, deadline: state.now + duration, continuation: continuation))
                    let met = state.watchers.filter { $0.duration == duration }
                    state.watchers.removeAll { $0.duration == duration }
                    return met.map(\.continuation)
                }
                for watcher in watchers { watcher.resume() }
            }
        } onCancel: {
            let sleeper = state.withLock { state in
                state.sleepers.firstIndex { $0.id == id }.map { state.sleepers.remove(at: $0) }
            }
            sleeper?.continuation.resume(throwing: CancellationError())
        }
    }

    /// Waits until somebody sleeps for exactly so long, and moves the clock to the end of it.
    func finishSleep(of duration: Duration) async {
        await withCheckedContinuation { continuation in
            let isMet = state.withLock { state in
                if state.sleepers.contains(where: { $0.deadline - state.now == duration }) { return true }
                state.watchers.append((duration, continuation))
                return false
            }
            if isMet { continuation.resume() }
        }
        let due = state.withLock { state -> [Sleeper] in
            state.now += duration
            defer { state.sleepers.removeAll { $0.deadline <= state.now } }
            return state.sleepers.filter { $0.deadline <= state.now }
        }
        for sleeper in due { sleeper.continuation.resume() }
    }
}

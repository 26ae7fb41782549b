import NIOCore
import Synchronization

/// The publishes of a session that wait for their acknowledgement: how many there may be, since when, and who is told.
///
/// Publishers reserve a place and enter from any task; acknowledgements, losses and timeouts come from the event loop.
final class PublishWindow: Sendable {
    typealias Outcome = Result<Void, StreamingError>

    private struct Pending {
        let report: @Sendable (Outcome) -> Void
        /// End of the message in the stream of all bytes appended, once it is known.
        var end: UInt64?
    }

    private struct State {
        var pending: [UInt64: Pending] = [:]
        /// Ids in the order of their deadlines; those acknowledged meanwhile are skipped.
        var deadlines = CircularBuffer<(id: UInt64, at: NIODeadline)>()
        var nextID: UInt64 = 1
        var waiting = CircularBuffer<Completion<Void>>()
        /// Those who wait until nothing is pending.
        var flushing: [Completion<Void>] = []
        /// Publishes that are not pending any more, whose callers are being told.
        var reporting = 0
        /// Those for whom nothing is pending any more, but somebody is still being told.
        var emptied: [Completion<Void>] = []
        /// Everything up to here went to a connection that is lost.
        var lostEnd: UInt64 = 0
        var closed: StreamingError?

        /// Takes a publish out, if it is there, for a caller that makes its report next.
        mutating func take(_ id: UInt64) -> (@Sendable (Outcome) -> Void)? {
            guard let report = pending.removeValue(forKey: id)?.report else { return nil }
            reporting += 1
            guard pending.isEmpty else { return report }
            deadlines.removeAll(keepingCapacity: true)
            // What enters from now on is not theirs to wait for.
            emptied += flushing
            flushing.removeAll()
            return report
        }
    }
    private let state = Mutex(State())
    private let limit: Int

    init(limit: Int) { self.limit = max(limit, 1) }

    /// Takes a place for a publish; waits while all are taken.
    ///
    /// - Returns: The number of the publish. From now on `report` is called exactly once, unless `withdraw` is.
    func enter(
        deadline: NIODeadline, report: @escaping @Sendable (Outcome) -> Void
    ) async throws(StreamingError) -> UInt64 {
        while true {
            let attempt = state.withLock { state -> Result<UInt64, Refusal> in
                if let closed = state.closed { return .failure(.closed(closed)) }
                guard state.pending.count < limit else {
                    let completion = Completion<Void>()
                    state.waiting.append(completion)
                    return .failure(.full(completion))
                }
                let id = state.nextID
                state.nextID += 1
                state.pending[id] = Pending(report: report)
                state.deadlines.append((id, deadline))
                return .success(id)
            }
            switch attempt {
            case .success(let id): return id
            case .failure(.closed(let error)): throw error
            case .failure(.full(let completion)):
                do throws(ClientError) {
                    try await completion.value()
                } catch {
                    throw StreamingError(error)
                }
            }
        }
    }

    private enum Refusal: Error {
        case closed(StreamingError)
        case full(Completion<Void>)
    }

    /// The message of publish `id` was appended and ends at `end`.
    func sent(_ id: UInt64, end: UInt64) {
        let isLost = state.withLock { state -> Bool in
            // The acknowledgement may have come before.
            guard state.pending[id] != nil else { return false }
            state.pending[id]?.end = end
            return end <= state.lostEnd
        }
        if isLost { finish(id, .failure(.acknowledgementLost)) }
    }

    /// The publish was not sent: its caller gets the error. False when it was reported already, and the caller has that.
    func withdraw(_ id: UInt64) -> Bool {
        finish(id, nil)
    }

    /// The acknowledgement of publish `id` came. Unknown ids are ignored: they timed out.
    func acknowledged(_ id: UInt64, _ outcome: Outcome) {
        finish(id, outcome)
    }

    /// Takes a publish out and reports its outcome, if it has one; false when it is out already.
    @discardableResult
    private func finish(_ id: UInt64, _ outcome: Outcome?) -> Bool {
        let (report, next) = state.withLock { state -> ((@Sendable (Outcome) -> Void)?, Completion<Void>?) in
            guard let report = state.take(id) else { return (nil, nil) }
            return (report, state.waiting.popFirst())
        }
        guard let report else { return false }
        if let next, !next.complete(.success(())) { release(places: 1) }
        if let outcome { report(outcome) }
        reported(1)
        return true
    }

    /// A connection was lost: what had been handed to it is not acknowledged any more.
    func connectionLost(takenEnd: UInt64) {
        fail(.acknowledgementLost) { state in
            state.lostEnd = max(state.lostEnd, takenEnd)
            return state.pending.filter { $0.value.end.map { $0 <= takenEnd } ?? false }.map(\.key)
        }
    }

    /// Fails what is due.
    func expire(now: NIODeadline) {
        fail(.publishTimeout) { state in
            var due: [UInt64] = []
            while let first = state.deadlines.first, first.at <= now || state.pending[first.id] == nil {
                state.deadlines.removeFirst()
                if state.pending[first.id] != nil { due.append(first.id) }
            }
            return due
        }
    }

    /// Fails everything, also from now on.
    func close(_ error: StreamingError) {
        let waiting = state.withLock { state -> CircularBuffer<Completion<Void>> in
            if state.closed == nil { state.closed = error }
            defer { state.waiting.removeAll() }
            return state.waiting
        }
        fail(error) { Array($0.pending.keys) }
        // They look again and find it closed.
        for completion in waiting { completion.complete(.success(())) }
    }

    private func fail(_ error: StreamingError, _ select: (inout State) -> [UInt64]) {
        let reports = state.withLock { state in select(&state).sorted().compactMap { state.take($0) } }
        release(places: reports.count)
        for report in reports { report(.failure(error)) }
        reported(reports.count)
    }

    /// So many of those that were taken out have been told; whoever waited for that goes on. Outside the lock, because
    /// completing resumes a task.
    private func reported(_ count: Int) {
        let emptied = state.withLock { state -> [Completion<Void>] in
            state.reporting -= count
            guard state.reporting == 0, !state.emptied.isEmpty else { return [] }
            defer { state.emptied = [] }
            return state.emptied
        }
        for completion in emptied { completion.complete(.success(())) }
    }

    /// Lets as many waiting publishers try again; one that was cancelled passes its turn on. Outside the lock, because
    /// completing resumes a task.
    private func release(places: Int) {
        for _ in 0..<places {
            while let first = state.withLock({ $0.waiting.popFirst() }), !first.complete(.success(())) {}
        }
    }

    /// Publishes without an acknowledgement.
    var count: Int { state.withLock { $0.pending.count } }

    /// Returns when no publish waits for its acknowledgement and every caller has been told of its own.
    func empty() async throws(StreamingError) {
        let completion = Completion<Void>()
        let isEmpty = state.withLock { state in
            if !state.pending.isEmpty {
                state.flushing.append(completion)
            } else if state.reporting > 0 {
                state.emptied.append(completion)
            } else {
                return true
            }
            return false
        }
        if isEmpty { return }
        do throws(ClientError) {
            try await completion.value()
        } catch {
            throw StreamingError(error)
        }
    }
}

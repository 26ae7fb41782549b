import Synchronization

/// One result that one task waits for. Whoever completes it first wins; cancelling the waiting task completes it too.
final class Completion<Value: Sendable>: Sendable {
    private enum State {
        case pending
        case waiting(CheckedContinuation<Result<Value, ClientError>, Never>)
        case completed(Result<Value, ClientError>)
    }
    private let state = Mutex(State.pending)

    /// Completes it; false when it already was.
    @discardableResult
    func complete(_ result: Result<Value, ClientError>) -> Bool {
        let (isFirst, waiting) = state.withLock {
            state -> (Bool, CheckedContinuation<Result<Value, ClientError>, Never>?) in
            switch state {
            case .pending:
                state = .completed(result)
                return (true, nil)
            case .waiting(let continuation):
                state = .completed(result)
                return (true, continuation)
            case .completed:
                return (false, nil)
            }
        }
        waiting?.resume(returning: result)
        return isFirst
    }

    /// Waits for the result. One task only.
    func value() async throws(ClientError) -> Value {
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let result = state.withLock { state -> Result<Value, ClientError>? in
                    if case .completed(let result) = state { return result }
                    state = .waiting(continuation)
                    return nil
                }
                if let result { continuation.resume(returning: result) }
            }
        } onCancel: {
            complete(.failure(.cancelled))
        }
        return try result.get()
    }
}

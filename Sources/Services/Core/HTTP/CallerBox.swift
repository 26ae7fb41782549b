import Synchronization

/// Carries the user id from the handler out to the request's log line.
final class CallerBox: Sendable {
    private let id = Mutex<String?>(nil)

    /// The internal user id.
    var userID: String? {
        get { id.withLock { $0 } }
        set { id.withLock { $0 = newValue } }
    }
}

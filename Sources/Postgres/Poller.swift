import CLibPQ
import Glibc
import Synchronization

/// Waits for all connections of the process at once, and for the time: on a thread of its own, or on the one of a
/// `ThreadLoop`.
///
/// That thread alone calls `epoll_wait`. Registering, changing and removing a descriptor are system calls that any thread may
/// make. Sessions are found by a number that is never used twice, so an event for a session that is gone is dropped.
final class Poller: Sendable {
    /// The one of this process; a thread of its own starts with the first use and stays.
    static let shared = Poller()
    private static let threadOfProgram = Mutex<pthread_t?>(nil)

    private struct Timer {
        let deadline: UInt64
        let fire: @Sendable () -> Void
    }

    private struct State: Sendable {
        var sessions: [UInt64: Session] = [:]
        var timers: [UInt64: Timer] = [:]
        /// No timer is due before; it may be too early after a timer was called off.
        var earliest = UInt64.max
        var lastID: UInt64 = 0
    }

    private let state = Mutex(State())
    private let epoll: Int32
    /// An `eventfd` under the number 0: a write makes the thread look at its timers again.
    private let bell: Int32
    /// The thread of the program that calls `turn`; `nil` where a thread of the poller's own does.
    private let owner: pthread_t?

    private init() {
        owner = Self.threadOfProgram.withLock { $0 }
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        bell = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        precondition(
            epoll >= 0 && bell >= 0, "no file descriptors left: raise the limit of open files (ulimit -n)")
        control(EPOLL_CTL_ADD, bell, reading: true, writing: false, id: 0)
        if owner == nil { WorkerThread.start(named: "postgres-poll") { self.run() } }
    }

    /// Has the calling thread take the place of the poller's own: it must call `turn` from then on. Comes before every other
    /// use of the library.
    static func takeOver() -> Poller {
        threadOfProgram.withLock { $0 = pthread_self() }
        precondition(shared.isOnOwner, "the library was used before a thread of the program took it over")
        return shared
    }

    /// The caller is on the thread of the program that calls `turn`.
    var isOnOwner: Bool { owner.map { pthread_equal($0, pthread_self()) != 0 } ?? false }

    // MARK: Descriptors

    /// A number for a new session.
    func add(_ session: Session) -> UInt64 {
        state.withLock { state in
            state.lastID += 1
            state.sessions[state.lastID] = session
            return state.lastID
        }
    }

    /// Forgets a session; its descriptor must have been unwatched or closed before.
    func remove(_ id: UInt64) {
        state.withLock { _ = $0.sessions.removeValue(forKey: id) }
    }

    /// Begins to watch a descriptor that is not watched.
    func watch(_ descriptor: Int32, reading: Bool, writing: Bool, id: UInt64) {
        control(EPOLL_CTL_ADD, descriptor, reading: reading, writing: writing, id: id)
    }

    /// Changes what is waited for.
    func rewatch(_ descriptor: Int32, reading: Bool, writing: Bool, id: UInt64) {
        control(EPOLL_CTL_MOD, descriptor, reading: reading, writing: writing, id: id)
    }

    /// Stops watching; the descriptor must still be open and be the one that was watched.
    func unwatch(_ descriptor: Int32) {
        control(EPOLL_CTL_DEL, descriptor, reading: false, writing: false, id: 0)
    }

    private func control(_ operation: Int32, _ descriptor: Int32, reading: Bool, writing: Bool, id: UInt64) {
        var event = unsafe epoll_event()
        unsafe event.events = (reading ? EPOLLIN.rawValue : 0) | (writing ? EPOLLOUT.rawValue : 0)
        unsafe event.data.u64 = id
        let status = unsafe epoll_ctl(epoll, operation, descriptor, &event)
        precondition(
            status == 0 || errno == ENOMEM || errno == ENOSPC,
            "descriptor \(descriptor) is open and watched as the session believes (errno \(errno))")
        precondition(status == 0, "the kernel has no room to watch another socket (errno \(errno))")
    }

    // MARK: Time

    /// Calls `fire` on this thread at `deadline` (nanoseconds of `MonotonicClock`), unless called off before.
    func schedule(at deadline: UInt64, _ fire: @escaping @Sendable () -> Void) -> UInt64 {
        let (id, isEarliest) = state.withLock { state in
            state.lastID += 1
            state.timers[state.lastID] = Timer(deadline: deadline, fire: fire)
            let isEarliest = deadline < state.earliest
            if isEarliest { state.earliest = deadline }
            return (state.lastID, isEarliest)
        }
        if isEarliest, !isOnOwner { ring() }
        return id
    }

    /// Calls a timer off; nothing happens when it has fired.
    func callOff(_ timer: UInt64) {
        // The closure is released outside the lock: it may hold the last reference to a session.
        _ = state.withLock { $0.timers.removeValue(forKey: timer) }
    }

    /// Ends the wait of `turn`, or the next one.
    func ring() {
        var one: UInt64 = 1
        // A full counter means that the bell rings already.
        _ = unsafe write(bell, &one, 8)
    }

    /// - Returns: Whether one was due.
    private func fireTimers() -> Bool {
        let now = MonotonicClock.now
        let due: [Timer] = state.withLock { state in
            guard state.earliest <= now else { return [] }
            let due = state.timers.filter { $0.value.deadline <= now }
            for id in due.keys { state.timers.removeValue(forKey: id) }
            state.earliest = state.timers.values.map(\.deadline).min() ?? .max
            return due.values.sorted { $0.deadline < $1.deadline }
        }
        for timer in due { timer.fire() }
        return !due.isEmpty
    }

    /// Milliseconds until the next timer, rounded up; -1 without one.
    private var patience: Int32 {
        let earliest = state.withLock { $0.earliest }
        guard earliest != .max else { return -1 }
        let now = MonotonicClock.now
        return earliest <= now ? 0 : Int32(min((earliest - now + 999_999) / 1_000_000, 1_000_000))
    }

    // MARK: The thread

    private func run() {
        while true { turn() }
    }

    /// Waits until a descriptor is ready, a timer is due or the bell rings, and serves what there is.
    ///
    /// - Parameter mayWait: Without, it serves what is there already.
    /// - Returns: Whether there was something.
    @discardableResult
    func turn(mayWait: Bool = true) -> Bool {
        let patience = mayWait ? self.patience : 0
        let isReady = unsafe withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: 64) { events in
            let count = unsafe epoll_wait(epoll, events.baseAddress, Int32(events.count), patience)
            for index in 0..<Int(max(count, 0)) {
                let id = unsafe events[index].data.u64
                if id == 0 {
                    var counter: UInt64 = 0
                    _ = unsafe read(bell, &counter, 8)
                } else if let session = state.withLock({ $0.sessions[id] }) {
                    session.becameReady()
                }
            }
            return count > 0
        }
        return fireTimers() || isReady
    }
}

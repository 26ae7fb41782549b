import Glibc

/// A mutex with a condition: the lock of what two threads share, and the way one waits for the other.
@safe
// Sendable: both pointers are set once, and what they point to is made for many threads; the rest is touched inside `locked`.
final class Monitor: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    /// Whether who is inside has signalled.
    private var isSignalled = false

    init() {
        unsafe mutex = .allocate(capacity: 1)
        unsafe condition = .allocate(capacity: 1)
        unsafe mutex.initialize(to: pthread_mutex_t())
        unsafe condition.initialize(to: pthread_cond_t())
        unsafe pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        unsafe pthread_condattr_init(&attributes)
        unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        unsafe pthread_cond_init(condition, &attributes)
        unsafe pthread_condattr_destroy(&attributes)
    }

    deinit {
        unsafe pthread_cond_destroy(condition)
        unsafe pthread_mutex_destroy(mutex)
        unsafe condition.deallocate()
        unsafe mutex.deallocate()
    }

    /// Runs `body` while no other thread is inside.
    func locked<T, E: Error>(_ body: () throws(E) -> T) throws(E) -> T {
        unsafe pthread_mutex_lock(mutex)
        defer {
            let wakes = isSignalled
            isSignalled = false
            unsafe pthread_mutex_unlock(mutex)
            // Not while inside: a thread that wakes up would find the door closed and go to sleep again.
            if wakes { unsafe pthread_cond_broadcast(condition) }
        }
        return try body()
    }

    /// Inside `locked`: lets others in until `signal`, at most `nanoseconds`.
    func wait(nanoseconds: UInt64? = nil) {
        // Who signals and then waits lets others in before `locked` is left.
        if isSignalled {
            isSignalled = false
            unsafe pthread_cond_broadcast(condition)
        }
        guard let nanoseconds else {
            unsafe pthread_cond_wait(condition, mutex)
            return
        }
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        let total = UInt64(time.tv_nsec) + nanoseconds % 1_000_000_000
        time.tv_sec += Int(nanoseconds / 1_000_000_000) + Int(total / 1_000_000_000)
        time.tv_nsec = Int(total % 1_000_000_000)
        unsafe pthread_cond_timedwait(condition, mutex, &time)
    }

    /// Inside `locked`: wakes every thread that waits, once `locked` is left or `wait` is called.
    func signal() { isSignalled = true }
}

import Glibc

/// A counting semaphore of the system.
// @unchecked: the semaphore is made for concurrent use; its memory is fixed and never freed while in use.
@safe package final class Semaphore: @unchecked Sendable {
    private let pointer: UnsafeMutablePointer<sem_t>

    package init() {
        unsafe pointer = .allocate(capacity: 1)
        unsafe sem_init(pointer, 0, 0)
    }

    deinit {
        unsafe sem_destroy(pointer)
        unsafe pointer.deallocate()
    }

    package func signal() { unsafe sem_post(pointer) }

    package func wait() { while unsafe sem_wait(pointer) != 0 {} }
}

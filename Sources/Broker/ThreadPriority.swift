import Glibc

/// The scheduling priority of the broker's threads.
enum ThreadPriority {
    /// Gives the calling thread the nice value of the process, which is that of its first thread.
    ///
    /// Swift's executor gives its threads values of its own, 0 for most, whatever the process was started with, and threads
    /// inherit the value of the one that starts them. A value below the thread's own needs `CAP_SYS_NICE` or a limit that
    /// allows it (`LimitNICE=`); without, the thread keeps its own.
    static func followProcess() {
        let process = __priority_which_t(PRIO_PROCESS.rawValue)
        // -1 is a value too, so the error is told by `errno`.
        errno = 0
        let value = getpriority(process, id_t(getpid()))
        // Process 0 is the calling thread, on Linux.
        if errno == 0 { setpriority(process, 0, value) }
    }
}

import Glibc

/// Asks the kernel to let no processor sleep so deeply that it takes longer than this to wake up
/// (Linux, Documentation/power/pm_qos_interface.rst). The request ends with the process at the latest.
final class CPULatencyRequest {
    /// Where the kernel takes such requests; open to root alone unless the machine says otherwise.
    static let device = "/dev/cpu_dma_latency"

    /// Whether the kernel is asked at present.
    private(set) var isHeld = false
    /// Whether there was work since this was last set to false.
    var hasSeenWork = false
    private let microseconds: Int32
    private let descriptor: Int32

    /// Opens the kernel's interface and asks for nothing yet.
    ///
    /// - Throws: a sentence for the person who starts the broker, when it cannot be opened.
    init(microseconds: Int32, device: String = device) throws(BrokerStartError) {
        let opened = unsafe open(device, O_WRONLY | O_CLOEXEC)
        guard opened >= 0 else {
            let code = errno
            let remedy =
                code == ENOENT
                ? "Give the broker's container the device"
                : "Start as root, let the broker's user write to it"
            throw BrokerStartError(
                "--cpu-latency needs \(device), which cannot be opened: \(unsafe String(cString: strerror(code))). \(remedy), or leave the flag out"
            )
        }
        descriptor = opened
        self.microseconds = microseconds
    }

    deinit { close(descriptor) }

    /// From now on processors keep to it.
    func hold() {
        isHeld = true
        write(microseconds)
    }

    /// From now on they may sleep as the system lets them.
    func release() {
        isHeld = false
        // What the kernel itself takes for "no request" (PM_QOS_CPU_LATENCY_DEFAULT_VALUE).
        write(2_000_000_000)
    }

    private func write(_ value: Int32) {
        // Once open, the kernel refuses no such number; if it did, processors would be as slow as without the request.
        unsafe withUnsafeBytes(of: value) { unsafe _ = Glibc.write(descriptor, $0.baseAddress, $0.count) }
    }
}

extension LoopCore {
    /// Called at every tick but those of timers: processors stay ready until 100 ms have passed without one, 200 ms at
    /// the most.
    func noteWork(_ request: CPULatencyRequest) {
        request.hasSeenWork = true
        guard !request.isHeld else { return }
        request.hold()
        releaseAfterWork(request)
    }

    private func releaseAfterWork(_ request: CPULatencyRequest) {
        request.hasSeenWork = false
        eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(100)) {
            if request.hasSeenWork { self.releaseAfterWork(request) } else { request.release() }
        }
    }
}

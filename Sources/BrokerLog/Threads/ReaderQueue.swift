import Glibc

/// Blocks that are read from disk for the loop: one thread, or stepped by hand.
final class ReaderQueue: @unchecked Sendable {
    // Sendable: what is shared is touched under `monitor`; `reader` and `isUnavailable` belong to whoever steps.

    private let monitor = Monitor()
    private var requests: [BlockRequest] = []
    private var results: [(BlockRequest, BlockReader.Outcome)] = []
    /// Channels whose files must not stay open: what is removed of them takes space until it is closed.
    private var closing: [UInt32] = []
    private var closesAll = false
    private var stops = false
    private let reader: BlockReader
    /// No file could be opened just now.
    private var isUnavailable = false
    /// Microseconds that the thread rests then.
    private static let rest: useconds_t = 10_000
    private let wake: @Sendable () -> Void

    init(reader: BlockReader, wake: @escaping @Sendable () -> Void) {
        self.reader = reader
        self.wake = wake
    }

    /// Asks for a block.
    func add(_ request: BlockRequest) {
        monitor.locked {
            requests.append(request)
            monitor.signal()
        }
    }

    /// Closes the files of a channel, of which some are about to go.
    func closeFiles(of channel: UInt32) {
        monitor.locked {
            closing.append(channel)
            monitor.signal()
        }
    }

    /// Closes every file: one that was removed takes space until then.
    func closeFiles() {
        monitor.locked {
            closesAll = true
            monitor.signal()
        }
    }

    /// What was read since it was asked before.
    func takeResults() -> [(BlockRequest, BlockReader.Outcome)] {
        monitor.locked {
            if results.isEmpty { return [] }
            defer { results = [] }
            return results
        }
    }

    /// Works until `stop`.
    func run() {
        while true {
            let goesOn = monitor.locked { () -> Bool in
                while requests.isEmpty && closing.isEmpty && !closesAll && !stops { monitor.wait() }
                return !stops
            }
            guard goesOn else { return }
            _ = step()
            // Whoever waits for the block asks again at once, and would as often as two threads can.
            if isUnavailable { usleep(Self.rest) }
        }
    }

    /// Lets `run` return.
    func stop() {
        monitor.locked {
            stops = true
            monitor.signal()
        }
    }

    /// Lets go of the files; after the thread ended.
    func finish() { reader.close() }

    /// Reads one block; false when none was asked for.
    func step() -> Bool {
        let (channels, all) = monitor.locked { () -> ([UInt32], Bool) in
            defer {
                closing.removeAll()
                closesAll = false
            }
            return (closing, closesAll)
        }
        if all {
            reader.close()
        } else if !channels.isEmpty {
            reader.close(channels: channels)
        }
        guard let request = monitor.locked({ requests.isEmpty ? nil : requests.removeFirst() }) else {
            return false
        }
        let outcome = reader.read(request)
        isUnavailable = if case .unavailable = outcome { true } else { false }
        monitor.locked { results.append((request, outcome)) }
        wake()
        return true
    }
}

import CBroker
import Glibc

/// Durable writes by the kernel's asynchronous I/O (io_submit(2)) of files opened with `O_DIRECT`.
final class AsynchronousWrites: DurableWrites {
    private let context: UInt64
    private let descriptor: Int32
    /// Bytes of those under way, and their files, by number.
    private var underWay: [(number: UInt64, file: OpenFile, count: Int)] = []

    var events: Int32? { descriptor }

    /// Nil where the kernel has no such thing, or does not let this process have it.
    init?(depth: Int) {
        descriptor = cbroker_eventfd()
        guard descriptor >= 0 else { return nil }
        var context: UInt64 = 0
        guard unsafe cbroker_writes_open(UInt32(depth), descriptor, &context) == 0 else {
            _ = Glibc.close(descriptor)
            return nil
        }
        self.context = context
    }

    func begin(
        _ number: UInt64, _ file: OpenFile, _ bytes: UnsafeRawBufferPointer, at offset: Int
    ) -> WriteRefusal? {
        // Through the page cache the kernel would do all of it within the call.
        let flags = fcntl(file.descriptor, F_GETFL)
        guard flags >= 0, flags & cbroker_o_direct != 0 else { return .unsupported }
        let code = unsafe cbroker_writes_begin(
            context, descriptor, number, file.descriptor, bytes.baseAddress, bytes.count, Int64(offset))
        guard code == 0 else { return Self.refusal(code) ?? .unsupported }
        underWay.append((number, file, bytes.count))
        return nil
    }

    /// What an errno says that is no failure of the disk; nil for one that is.
    private static func refusal(_ code: Int32) -> WriteRefusal? {
        switch code {
        // A lock, or one of the kernel's requests.
        case EAGAIN, EINTR: .wouldWait
        // Memory or place that no direct write may have; a file system that cannot do without waiting.
        case EINVAL, EOPNOTSUPP, ENOSYS: .unsupported
        default: nil
        }
    }

    func takeEnded(waits: Bool) -> (number: UInt64, outcome: DurableWriteOutcome)? {
        guard !underWay.isEmpty else { return nil }
        var number: UInt64 = 0
        var result: Int64 = 0
        let ended = unsafe cbroker_writes_end(context, waits ? 1 : 0, &number, &result)
        precondition(ended >= 0, "asking for writes that ended fails for a context alone that was never made")
        guard ended == 1, let index = underWay.firstIndex(where: { $0.number == number }) else { return nil }
        let write = underWay.remove(at: index)
        return (number, outcome(of: write.file, result, of: write.count))
    }

    private func outcome(of file: OpenFile, _ result: Int64, of count: Int) -> DurableWriteOutcome {
        if result == count { return .durable }
        // What a short count leaves out tells by itself what is wrong with it, when it is written another way.
        if result >= 0 { return .refused(.wouldWait) }
        let code = Int32(-result)
        if let refusal = Self.refusal(code) { return .refused(refusal) }
        return .failed(
            FileError(call: "pwritev2 with RWF_DSYNC", path: RealFileSystem.path(of: file), code: code))
    }

    func close() {
        cbroker_writes_close(context)
        _ = Glibc.close(descriptor)
        underWay = []
    }
}

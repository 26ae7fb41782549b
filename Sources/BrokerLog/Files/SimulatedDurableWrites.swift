import Glibc
import Synchronization

/// Durable writes to a simulated disk. Each ends when it is asked whether one has, at the earliest; which, chance says. When the
/// machine dies, each sector of those under way is there or not, as of every other write that was not synced.
final class SimulatedDurableWrites: DurableWrites {
    private let fileSystem: SimulatedFileSystem
    private var underWay: [(number: UInt64, token: Int)] = []

    var events: Int32? { nil }

    init(_ fileSystem: SimulatedFileSystem) { self.fileSystem = fileSystem }

    func begin(
        _ number: UInt64, _ file: OpenFile, _ bytes: UnsafeRawBufferPointer, at offset: Int
    ) -> WriteRefusal? {
        let (token, refusal) = unsafe fileSystem.beginWrite(file, bytes, at: offset)
        if let token { underWay.append((number, token)) }
        return refusal
    }

    /// Where it is not waited for, chance says whether one has ended.
    func takeEnded(waits: Bool) -> (number: UInt64, outcome: DurableWriteOutcome)? {
        let draw = fileSystem.draw()
        guard !underWay.isEmpty, waits || draw % 2 == 0 else { return nil }
        let write = underWay.remove(at: Int(draw >> 1) % underWay.count)
        return (write.number, fileSystem.endWrite(write.token))
    }

    func close() {
        for write in underWay { _ = fileSystem.endWrite(write.token) }
        underWay = []
    }
}

extension SimulatedFileSystem {
    /// A durable write that was begun.
    struct WriteUnderWay {
        var node: Int
        var path: String
        var offset: Int
        var bytes: [UInt8]
        /// Where the caller has them, who keeps them as they are until the write has ended.
        var address: UInt

        /// Whether he did.
        var isUnchanged: Bool {
            unsafe UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: address), count: bytes.count)
                .elementsEqual(bytes)
        }
    }

    package func makeDurableWrites(depth: Int) -> (any DurableWrites)? { SimulatedDurableWrites(self) }

    fileprivate func draw() -> UInt64 { state.withLock { $0.random.next() } }

    /// A number for a write that was begun, or how it was refused.
    fileprivate func beginWrite(
        _ file: OpenFile, _ bytes: UnsafeRawBufferPointer, at offset: Int
    ) -> (token: Int?, refusal: WriteRefusal?) {
        let address = UInt(bitPattern: bytes.baseAddress)
        let content = unsafe Array(bytes)
        guard
            let (node, path, isDirect) = state.withLock({ state in
                state.descriptors[file.descriptor].map {
                    ($0.node, $0.path, state.direct.contains(file.descriptor))
                }
            }), isDirect
        else { return (nil, .unsupported) }
        if let code = hookFault(.beginWrite, path) {
            return (nil, code == EINVAL ? .unsupported : .wouldWait)
        }
        return state.withLock { state in
            let end = offset + content.count
            precondition(
                offset % Self.sector == 0 && content.count % Self.sector == 0 && address % 4096 == 0,
                "a direct write is of whole sectors, from memory that begins at a page")
            precondition(
                end <= state.nodes[node]?.durable.count ?? 0,
                "a file does not grow by writes that are not waited for")
            precondition(
                !state.writes.values.contains {
                    $0.node == node && $0.offset < end && offset < $0.offset + $0.bytes.count
                },
                "of two writes to the same sectors at once either may be the last")
            state.nextWrite += 1
            state.writes[state.nextWrite] = WriteUnderWay(
                node: node, path: path, offset: offset, bytes: content, address: address)
            return (state.nextWrite, nil)
        }
    }

    /// Ends a write, one way or the other.
    fileprivate func endWrite(_ token: Int) -> DurableWriteOutcome {
        guard let write = state.withLock({ $0.writes[token] }) else {
            return .failed(FileError(call: Call.endWrite.rawValue, path: "", code: Self.machineIsOff))
        }
        let code = hookFault(.endWrite, write.path)
        return state.withLock { state in
            // What the machine left half done is for `crash` to settle.
            if code == Self.machineIsOff {
                return .failed(
                    FileError(call: Call.endWrite.rawValue, path: write.path, code: Self.machineIsOff))
            }
            precondition(write.isUnchanged, "memory that is the disk's was changed")
            state.writes[token] = nil
            guard let code else {
                state.putDurably(write.bytes, write.node, at: write.offset)
                return .durable
            }
            // Some sectors may have been written, even durably.
            let draw = state.random.next()
            let sectors = Int(draw % UInt64(write.bytes.count / Self.sector + 1))
            let some = Array(write.bytes.prefix(sectors * Self.sector))
            if draw >> 63 == 1 {
                state.putDurably(some, write.node, at: write.offset)
            } else {
                unsafe some.withUnsafeBytes { unsafe state.put($0, write.node, at: write.offset) }
            }
            switch code {
            case EAGAIN: return .refused(.wouldWait)
            case EINVAL: return .refused(.unsupported)
            default: return .failed(FileError(call: Call.endWrite.rawValue, path: write.path, code: code))
            }
        }
    }
}

extension SimulatedFileSystem.State {
    /// What a write with `RWF_DSYNC` does when it works.
    mutating func putDurably(_ bytes: [UInt8], _ node: Int, at offset: Int) {
        let range = offset..<(offset + bytes.count)
        unsafe bytes.withUnsafeBytes { unsafe put($0, node, at: offset) }
        nodes[node]?.durable.replaceSubrange(range, with: bytes)
        for sector
            in (range.lowerBound / SimulatedFileSystem.sector)..<(range.upperBound
            / SimulatedFileSystem.sector)
        {
            nodes[node]?.dirty.remove(sector)
        }
    }

    /// The machine or the process dies: the disk may have been given any part of the writes under way.
    mutating func settleWrites() {
        for token in writes.keys.sorted() {
            guard let write = writes[token] else { continue }
            unsafe write.bytes.withUnsafeBytes { unsafe put($0, write.node, at: write.offset) }
        }
        writes = [:]
    }
}

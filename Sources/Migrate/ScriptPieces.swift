import Glibc

/// The text of a large file in pieces of whole statements, read as they are asked for: at any time some hundred KiB of it
/// are in memory, or one statement.
struct ScriptPieces: ~Copyable {
    private let descriptor: Int32
    private let readLength: Int
    private var buffer: [UInt8] = []
    private var isAtEnd = false
    /// Whether all statements so far are such that it makes no difference to them whether they come alone, in a
    /// transaction that is open, or with others in one message.
    private(set) var isPlain = true
    /// How many statements there are in the pieces so far.
    private(set) var statementCount = 0

    /// - Parameter readLength: How much to read at least before a piece is cut off.
    init(_ path: String, readLength: Int = 64 << 10) throws(Directory.Failure) {
        descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Directory.Failure(errno: errno) }
        self.readLength = readLength
    }

    deinit { close(descriptor) }

    /// The next piece, as long as what was read allows; `nil` at the end. All pieces together are the file.
    mutating func next() throws(Directory.Failure) -> [UInt8]? {
        while true {
            // A statement that is longer than what was read is looked at again when twice as much is there.
            try fill(upTo: max(readLength, 2 * buffer.count))
            let survey = StatementSplitter.survey(buffer, isWhole: isAtEnd)
            isPlain = isPlain && survey.isPlain
            guard survey.end > 0 else {
                if isAtEnd { return nil }
                continue
            }
            statementCount += survey.count
            let piece = Array(buffer[..<survey.end])
            buffer.removeFirst(survey.end)
            return piece
        }
    }

    private mutating func fill(upTo count: Int) throws(Directory.Failure) {
        while !isAtEnd, buffer.count < count {
            let start = buffer.count
            buffer.append(contentsOf: repeatElement(0, count: count - start))
            let length = unsafe buffer.withUnsafeMutableBytes { bytes in
                unsafe Glibc.read(descriptor, bytes.baseAddress?.advanced(by: start), count - start)
            }
            let failure = errno
            buffer.removeLast(count - start - max(length, 0))
            guard length >= 0 || failure == EINTR else { throw Directory.Failure(errno: failure) }
            isAtEnd = length == 0
        }
    }
}

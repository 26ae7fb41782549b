/// Why a log could not be opened. `description` is a sentence for the person who must act.
public struct LogError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The kinds of failure that callers tell apart.
    public enum Code: Equatable, Sendable {
        /// Another process holds the lock of the directory.
        case inUse
        /// The directory cannot be created, read or written.
        case notWritable
        /// The store was written by a newer version.
        case newerVersion
        /// The directory holds a store of NATS Streaming.
        case foreignStore
        /// The store belongs to the named cluster.
        case otherCluster(String)
        /// A file without which nothing can be read is damaged or missing.
        case damaged
        /// A call of the file system failed.
        case fileSystem
        /// The directory holds no store; only tools that read one say so, a log makes one there.
        case noStore
        /// The store has no channel of that name.
        case noChannel
        /// The configuration cannot be.
        case invalidConfiguration
    }

    /// What kind of failure this is.
    public let code: Code
    /// What is wrong and what would be right.
    public let description: String

    /// An error with its sentence.
    public init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}

/// Why a record was not taken. It took no sequence.
public enum AppendRefused: Error, Equatable, Sendable, CustomStringConvertible {
    /// The channel does not exist (any more).
    case unknownChannel
    /// The record is larger than the log takes: bytes of it, and the limit.
    case tooLarge(bytes: Int, limit: Int)
    /// The disk is full; it is tried again when there is space.
    case full(reason: String)
    /// The log is closed for writing.
    case closed(reason: String)

    /// A sentence for the publisher.
    public var description: String {
        switch self {
        case .unknownChannel: "the channel does not exist"
        case .tooLarge(let bytes, let limit):
            "message of \(bytes) bytes exceeds the store's limit of \(limit) bytes"
        case .full(let reason): "the disk is full: \(reason)"
        case .closed(let reason): "the store is closed for writing: \(reason)"
        }
    }
}

import BrokerLog
import Glibc

/// A data directory that no broker runs on, open for reading. Nothing in it is changed.
final class OfflineStore {
    /// The log, which works only when it is asked to.
    let log: Log
    /// The cluster id that the directory belongs to.
    let clusterID: String
    private let fileSystem = ReadOnlyFileSystem()

    /// Opens a directory and recovers what is there, in memory.
    ///
    /// - Throws: `CommandFailure` when it is no data directory, a broker runs on it, or it cannot be read.
    init(_ directory: String) throws {
        guard unsafe access(directory + "/store", F_OK) == 0 else {
            throw unsafe CommandFailure(
                access(directory + "/server.dat", F_OK) == 0
                    ? "\(directory) holds a store of NATS Streaming (server.dat), which cannot be read"
                    : "\(directory) is no data directory of the broker: it has no file \"store\"")
        }
        var configuration = LogConfiguration(storage: .file(directory: directory))
        configuration.execution = .manual
        do throws(LogError) {
            do throws(LogError) {
                log = try Log.open(configuration, fileSystem: fileSystem, wake: {})
                clusterID = configuration.clusterID
            } catch {
                // The directory says whose it is: that is not known before.
                guard case .otherCluster(let stored) = error.code else { throw error }
                configuration.clusterID = stored
                log = try Log.open(configuration, fileSystem: fileSystem, wake: {})
                clusterID = stored
            }
        } catch {
            throw CommandFailure(error.description)
        }
    }

    // The log is not closed, which would write; nothing of it is left but the lock.
    deinit { fileSystem.release() }

    /// Reads the messages of a channel from `sequence` on until `body` returns false.
    func forEachMessage(
        of channel: ChannelID, from sequence: UInt64 = 1, _ body: (StoredMessage) throws -> Bool
    ) throws {
        var sequence = sequence
        var fruitless = 0
        while true {
            switch log.read(channel, at: sequence) {
            case .messages(let batch):
                fruitless = 0
                for index in 0..<batch.count {
                    guard unsafe try body(batch.message(at: index)) else { return }
                }
                sequence = batch.lastSequence + 1
            case .loading:
                while log.stepReader() {}
                _ = log.poll()
                fruitless += 1
                if fruitless > 1_000 { throw CommandFailure("sequence \(sequence) cannot be read") }
            case .missing(let next):
                // A message that is gone is followed by one above it; anything else would go round for ever.
                guard next > sequence else { throw CommandFailure("sequence \(sequence) cannot be read") }
                sequence = next
            case .end: return
            }
        }
    }
}

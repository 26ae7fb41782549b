/// A block that is to be read.
struct BlockRequest: Equatable, Sendable {
    var channel: UInt32
    var firstSequence: UInt64
    var count: UInt32
    var location: BlockLocation
}

/// Reads blocks from segments, verified.
final class BlockReader {
    private let fileSystem: any FileSystem
    private let directory: String
    private let storeMark: UInt32
    /// Files kept open, the longest unused first.
    private var files: [(channel: UInt32, segment: UInt64, file: OpenFile)] = []
    private static let mostOpen = 32

    init(fileSystem: any FileSystem, directory: String, storeID: UInt64) {
        self.fileSystem = fileSystem
        self.directory = directory
        storeMark = UInt32(truncatingIfNeeded: storeID)
    }

    /// What reading a block gave.
    enum Outcome {
        case block(BlockStorage)
        /// The bytes on disk are not the block: why.
        case damaged(String)
        /// The file could not be opened just now (too many open files): asking again is right.
        case unavailable
    }

    /// Reads one block.
    func read(_ request: BlockRequest) -> Outcome {
        do throws(FileError) {
            let file = try open(request)
            let bytes = try FileBytes(
                file, at: Int(request.location.offset), length: Int(request.location.size),
                fileSystem: fileSystem)
            guard let header = BlockHeader(bytes, at: 0), header.channel == request.channel,
                header.segment == request.location.segment, header.storeMark == storeMark,
                header.summary.firstSequence == request.firstSequence, header.summary.count == request.count
            else { return .damaged("a block's checksum is wrong") }
            guard let storage = header.records(bytes, at: 0) else {
                return .damaged("a block does not hold the records it should")
            }
            return .block(storage)
        } catch {
            if error.isMissing { return .damaged("the file is missing") }
            return error.mayPass ? .unavailable : .damaged("\(error)")
        }
    }

    /// Closes every file.
    func close() {
        for entry in files { fileSystem.close(entry.file) }
        files = []
    }

    /// Closes the files of these channels.
    func close(channels: [UInt32]) {
        for entry in files where channels.contains(entry.channel) { fileSystem.close(entry.file) }
        files.removeAll { channels.contains($0.channel) }
    }

    private func open(_ request: BlockRequest) throws(FileError) -> OpenFile {
        if let index = files.firstIndex(where: {
            $0.channel == request.channel && $0.segment == request.location.segment
        }) {
            let entry = files.remove(at: index)
            files.append(entry)
            return entry.file
        }
        let path = SegmentFile.path(directory, request.channel, request.location.segment)
        let file = try fileSystem.open(path, .read)
        if files.count >= Self.mostOpen { fileSystem.close(files.removeFirst().file) }
        files.append((request.channel, request.location.segment, file))
        return file
    }
}

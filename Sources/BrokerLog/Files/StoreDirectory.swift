import CBroker

/// The data directory: its lock, and the file that says what it is.
///
///     lock               locked (flock) while a broker has the store open; no content
///     store              what follows
///     journal/           `JournalFile`
///     channels/ID/       `SegmentFile`
///     checkpoints/       `CheckpointFile`
///     space              `SpareSpace`: zeros, given up when the disk is full
///
/// `store`, little endian, written once and never changed:
///
///      0  u64  magic "DEVPIEBR"
///      8  u32  version of the formats of the whole directory: 1
///     12  u32  length of the cluster id
///     16  u64  store id, random
///     24       cluster id
///      +  u32  CRC32C of all before it
///
/// A reader that finds a version above its own touches nothing.
struct StoreDirectory {
    static let magic: UInt64 = 0x5242_4549_5056_4544
    static let version: UInt32 = 1

    let path: String
    let storeID: UInt64
    let clusterID: String
    let isNew: Bool
    let lock: OpenFile

    var journal: String { path + "/journal" }
    var channels: String { path + "/channels" }
    var checkpoints: String { path + "/checkpoints" }

    /// Locks the directory, which it creates if absent, and reads or writes its `store` file.
    static func open(
        _ path: String, clusterID: String, newStoreID: UInt64?, fileSystem: any FileSystem
    ) throws(LogError) -> StoreDirectory {
        do {
            try makePath(path, fileSystem)
        } catch {
            throw LogError(
                .notWritable,
                "the data directory \(path) cannot be created (\(error)); "
                    + "name one that the broker may write to with -dir")
        }
        let names: [String]
        do {
            names = try fileSystem.list(path)
        } catch {
            throw LogError(
                .notWritable,
                "the data directory \(path) cannot be read (\(error)); "
                    + "give the broker's user the right to, or name another with -dir")
        }
        if names.contains("server.dat") {
            throw LogError(
                .foreignStore,
                "\(path) holds a store of NATS Streaming (server.dat), "
                    + "which this broker cannot read; name an empty directory with -dir")
        }
        if names.contains("store") {
            // Nothing is written before the version is known.
            _ = try readStore(path, fileSystem)
        }
        let lock = try takeLock(path, fileSystem)
        do throws(LogError) {
            if names.contains("store") {
                let (storeID, stored) = try readStore(path, fileSystem)
                if stored != clusterID {
                    throw LogError(
                        .otherCluster(stored),
                        "the store in \(path) belongs to the cluster id "
                            + "\"\(stored)\", not \"\(clusterID)\"; start with -cid \(stored) or name another directory"
                    )
                }
                return StoreDirectory(
                    path: path, storeID: storeID, clusterID: stored, isNew: false, lock: lock)
            }
            let storeID = newStoreID ?? fileSystem.randomIdentity()
            try create(path, names, clusterID, storeID, fileSystem)
            return StoreDirectory(path: path, storeID: storeID, clusterID: clusterID, isNew: true, lock: lock)
        } catch {
            fileSystem.close(lock)
            throw error
        }
    }

    private static func takeLock(_ path: String, _ fileSystem: any FileSystem) throws(LogError) -> OpenFile {
        do {
            let lock = try fileSystem.open(path + "/lock", .writeOrCreate)
            if try fileSystem.lock(lock) { return lock }
            fileSystem.close(lock)
        } catch {
            throw LogError(
                .notWritable,
                "the data directory \(path) cannot be written (\(error)); "
                    + "give the broker's user the right to, or name another with -dir")
        }
        throw LogError(
            .inUse,
            "the data directory \(path) is in use by another broker; "
                + "stop that one first, or name another with -dir")
    }

    /// Writes everything that a store has from the first moment, and syncs each name on the way, so
    /// that a power cut leaves either no store or a whole one.
    private static func create(
        _ path: String, _ names: [String], _ clusterID: String, _ storeID: UInt64,
        _ fileSystem: any FileSystem
    ) throws(LogError) {
        do {
            for name in ["journal", "channels", "checkpoints"] {
                if names.contains(name) {
                    guard try fileSystem.list(path + "/" + name).isEmpty else {
                        throw LogError(
                            .damaged,
                            "\(path)/store is missing but \(path)/\(name) is not empty; "
                                + "restore the file \"store\" from a copy of this directory")
                    }
                } else {
                    try fileSystem.makeDirectory(path + "/" + name)
                }
            }
            var bytes: [UInt8] = []
            bytes.appendInteger(magic)
            bytes.appendInteger(version)
            bytes.appendInteger(UInt32(clusterID.utf8.count))
            bytes.appendInteger(storeID)
            bytes.append(contentsOf: clusterID.utf8)
            bytes.appendInteger(checksum(bytes))
            try fileSystem.replace(path + "/store", with: bytes)
        } catch let error as LogError {
            throw error
        } catch {
            throw LogError(.notWritable, "the data directory \(path) cannot be written (\(error))")
        }
    }

    /// The store id and cluster id of a directory.
    static func readStore(
        _ path: String, _ fileSystem: any FileSystem
    ) throws(LogError) -> (storeID: UInt64, clusterID: String) {
        let bytes: [UInt8]
        do {
            bytes = try fileSystem.contents(path + "/store", limit: 1 << 20)
        } catch {
            throw LogError(.notWritable, "\(path)/store cannot be read (\(error))")
        }
        var reader = ByteReader(bytes)
        guard reader.integer(UInt64.self) == magic, let found = reader.integer(UInt32.self) else {
            throw LogError(
                .damaged, "\(path)/store is not a file of this broker or is damaged; restore it from a copy")
        }
        guard found <= version else {
            throw LogError(
                .newerVersion,
                "the store in \(path) has format version \(found), and this broker knows "
                    + "versions up to \(version); start the version that wrote it. Nothing was changed")
        }
        guard let length = reader.integer(UInt32.self), let storeID = reader.integer(UInt64.self),
            let cluster = reader.bytes(Int(length)),
            reader.integer(UInt32.self) == checksum(Array(bytes.dropLast(4))),
            reader.remaining == 0
        else { throw LogError(.damaged, "\(path)/store is damaged; restore it from a copy") }
        return (storeID, String(decoding: cluster, as: UTF8.self))
    }

    /// A sentence when what is acknowledged in `path` may not outlive a power cut.
    static func volumeWarning(_ path: String, _ fileSystem: any FileSystem) -> String? {
        switch fileSystem.volume(of: path) {
        case .disk: nil
        case .memory:
            "the data directory \(path) is in memory (tmpfs): acknowledged messages end with the machine"
        case .network(let kind):
            "the data directory \(path) is on a network file system (\(kind)), whose syncs and locks may not hold "
                + "what they promise; use a local disk"
        }
    }

    private static func makePath(_ path: String, _ fileSystem: any FileSystem) throws(FileError) {
        var missing: [String] = []
        var parts = path.split(separator: "/", omittingEmptySubsequences: true).map(String.init)
        let root = path.hasPrefix("/") ? "/" : ""
        while !parts.isEmpty {
            do {
                _ = try fileSystem.list(root + parts.joined(separator: "/"))
                break
            } catch {
                guard error.isMissing else { throw error }
                missing.append(parts.removeLast())
            }
        }
        while let next = missing.popLast() {
            let parent = parts.isEmpty ? (root.isEmpty ? "." : root) : root + parts.joined(separator: "/")
            parts.append(next)
            do {
                try fileSystem.makeDirectory(root + parts.joined(separator: "/"))
            } catch {
                guard error.exists else { throw error }
            }
            try fileSystem.syncDirectory(parent)
        }
    }
}

/// CRC-32C of an array.
func checksum(_ bytes: [UInt8]) -> UInt32 {
    unsafe bytes.withUnsafeBytes { buffer in
        guard let base = buffer.baseAddress else { return 0 }
        return unsafe cbroker_crc32c(0, base, buffer.count)
    }
}

extension FileSystem {
    /// Makes `path` a file of these bytes, durably and at once: after a crash it is the old or the new.
    func replace(_ path: String, with bytes: [UInt8]) throws(FileError) {
        let file = try open(path + ".tmp", .create)
        do throws(FileError) {
            unsafe try bytes.span.withUnsafeBytes { buffer throws(FileError) in
                try unsafe write(file, buffer, at: 0)
            }
            try sync(file)
        } catch {
            close(file)
            throw error
        }
        close(file)
        try rename(path + ".tmp", to: path)
        let directory = path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(
            separator: "/")
        try syncDirectory(directory.isEmpty ? "/" : directory)
    }

    /// All bytes of a file of at most `limit` bytes; more are left out.
    func contents(_ path: String, limit: Int) throws(FileError) -> [UInt8] {
        let file = try open(path, .read)
        defer { close(file) }
        let size = min(limit, try size(file))
        var bytes = [UInt8](repeating: 0, count: size)
        var span = bytes.mutableSpan
        let count = unsafe try span.withUnsafeMutableBytes { buffer throws(FileError) in
            try unsafe read(file, into: buffer, at: 0)
        }
        return count == size ? bytes : Array(bytes.prefix(count))
    }
}

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
/// `store`, little endian, never changed, but written again by a repair:
///
///      0  u64  magic "DEVPIEBR"
///      8  u32  version of the formats of the whole directory: 1
///     12  u32  length of the cluster id
///     16  u64  store id, random
///     24       cluster id
///      +  u32  CRC32C of all before it
///
/// Magic, version and a checksum at the end are there in every version; a reader that finds a version above its own
/// touches nothing.
struct StoreDirectory {
    static let magic: UInt64 = 0x5242_4549_5056_4544
    static let version: UInt32 = 1

    let path: String
    let storeID: UInt64
    let clusterID: String
    let isNew: Bool
    let lock: OpenFile
    /// What is wrong with the file `store`, if the journal took its place.
    var damage: Damage?

    var journal: String { path + "/journal" }
    var channels: String { path + "/channels" }
    var checkpoints: String { path + "/checkpoints" }

    /// Locks the directory, which it creates if absent, and reads or writes its `store` file.
    ///
    /// - Parameter lock: the lock, where the caller has taken it; it is closed when this throws.
    static func open(
        _ path: String, clusterID: String, newStoreID: UInt64?, lock held: OpenFile? = nil,
        fileSystem: any FileSystem
    ) throws(LogError) -> StoreDirectory {
        var lock = held
        do throws(LogError) {
            return try open(path, clusterID, newStoreID, &lock, fileSystem)
        } catch {
            if let lock { fileSystem.close(lock) }
            throw error
        }
    }

    private static func open(
        _ path: String, _ clusterID: String, _ newStoreID: UInt64?, _ held: inout OpenFile?,
        _ fileSystem: any FileSystem
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
        // Nothing is written before the version is known.
        _ = try identity(path, names, fileSystem)
        let lock: OpenFile
        if let held { lock = held } else { lock = try takeLock(path, fileSystem) }
        held = lock
        if let (storeID, known, damage) = try identity(path, names, fileSystem) {
            let stored = known ?? clusterID
            if stored != clusterID {
                throw LogError(
                    .otherCluster(stored),
                    "the store in \(path) belongs to the cluster id "
                        + "\"\(stored)\", not \"\(clusterID)\"; start with -cid \(stored) or name another directory"
                )
            }
            do {
                // Who wrote the file may have died before its name was durable.
                try fileSystem.syncDirectory(path)
            } catch {
                throw LogError(.notWritable, "the data directory \(path) cannot be synced (\(error))")
            }
            return StoreDirectory(
                path: path, storeID: storeID, clusterID: stored, isNew: false, lock: lock, damage: damage)
        }
        let storeID = newStoreID ?? fileSystem.randomIdentity()
        try create(path, names, clusterID, storeID, lock, fileSystem)
        return StoreDirectory(path: path, storeID: storeID, clusterID: clusterID, isNew: true, lock: lock)
    }

    /// Who the store is; nil when there is none yet. Where the file `store` is damaged or missing the journal's files say
    /// it too, but for the cluster id, which is nil then.
    static func identity(
        _ path: String, _ names: [String], _ fileSystem: any FileSystem
    ) throws(LogError) -> (storeID: UInt64, clusterID: String?, damage: Damage?)? {
        do throws(LogError) {
            if names.contains("store") {
                let (storeID, stored) = try readStore(path, fileSystem)
                return (storeID, stored, nil)
            }
        } catch {
            guard error.code == .damaged, let storeID = storeIDOfJournal(path, fileSystem) else {
                throw error
            }
            return (storeID, nil, Self.damage("the file is damaged"))
        }
        return storeIDOfJournal(path, fileSystem).map { ($0, nil, Self.damage("the file is missing")) }
    }

    private static func damage(_ what: String) -> Damage {
        Damage(
            file: "store", offset: 0,
            reason:
                "\(what); the journal says which store this is, and the cluster id is not verified. Restore the file "
                + "from a copy of the directory, or repair the store")
    }

    /// The store id that the headers of the journal's files agree on.
    private static func storeIDOfJournal(_ path: String, _ fileSystem: any FileSystem) -> UInt64? {
        var found: Set<UInt64> = []
        do throws(FileError) {
            for name in try fileSystem.list(path + "/journal") where JournalFileHeader.number(name) != nil {
                let file = try fileSystem.open("\(path)/journal/\(name)", .read)
                defer { fileSystem.close(file) }
                let page = try FileBytes(
                    file, length: min(try fileSystem.size(file), JournalFileHeader.pageSize),
                    fileSystem: fileSystem, skipsUnreadable: true)
                found.formUnion(JournalFileHeader.storeIDs(page.array(0..<page.count)))
            }
        } catch {
            return nil
        }
        return found.count == 1 ? found.first : nil
    }

    static func takeLock(_ path: String, _ fileSystem: any FileSystem) throws(LogError) -> OpenFile {
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
        _ path: String, _ names: [String], _ clusterID: String, _ storeID: UInt64, _ lock: OpenFile,
        _ fileSystem: any FileSystem
    ) throws(LogError) {
        do {
            try syncParents(of: path, lock, fileSystem)
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
            // Where a crash keeps the file's name and not theirs there would be a store without its parts.
            try fileSystem.syncDirectory(path)
            try writeStore(path, storeID, clusterID, fileSystem)
        } catch let error as LogError {
            throw error
        } catch {
            throw LogError(.notWritable, "the data directory \(path) cannot be written (\(error))")
        }
    }

    /// Writes the file `store`, durably and at once.
    static func writeStore(
        _ path: String, _ storeID: UInt64, _ clusterID: String, _ fileSystem: any FileSystem
    ) throws(FileError) {
        var bytes: [UInt8] = []
        bytes.appendInteger(magic)
        bytes.appendInteger(version)
        bytes.appendInteger(UInt32(clusterID.utf8.count))
        bytes.appendInteger(storeID)
        bytes.append(contentsOf: clusterID.utf8)
        bytes.appendInteger(checksum(bytes))
        try fileSystem.replace(path + "/store", with: bytes)
    }

    /// The store id and cluster id of a directory.
    static func readStore(
        _ path: String, _ fileSystem: any FileSystem
    ) throws(LogError) -> (storeID: UInt64, clusterID: String) {
        let bytes: [UInt8]
        do {
            bytes = try fileSystem.contents(path + "/store", limit: 1 << 20)
        } catch {
            throw LogError(
                error.isUnreadable ? .damaged : .notWritable, "\(path)/store cannot be read (\(error))")
        }
        var reader = ByteReader(bytes)
        var end = ByteReader(Array(bytes.suffix(4)))
        guard reader.integer(UInt64.self) == magic, let found = reader.integer(UInt32.self),
            end.integer(UInt32.self) == checksum(Array(bytes.dropLast(4)))
        else {
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
            let cluster = reader.bytes(Int(length)), reader.remaining == 4
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

    /// Makes the names durable that lead to `path`, whoever made them.
    private static func syncParents(
        of path: String, _ lock: OpenFile, _ fileSystem: any FileSystem
    ) throws(FileError) {
        let root = path.hasPrefix("/") ? "/" : "./"
        var parts = path.split(separator: "/", omittingEmptySubsequences: true)
        while parts.popLast() != nil {
            do throws(FileError) {
                try fileSystem.syncDirectory(root + parts.joined(separator: "/"))
            } catch {
                // A directory that the broker's user may pass through and not read, or of a file system without such a call.
                guard error.isRefused else { throw error }
                return try fileSystem.syncAll(path, by: lock)
            }
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
            parts.append(next)
            do {
                try fileSystem.makeDirectory(root + parts.joined(separator: "/"))
            } catch {
                guard error.exists else { throw error }
            }
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
        try replace(path, with: bytes) { file throws(FileError) in try sync(file) }
    }

    /// The same, with another way to make the new file durable before it gets its name.
    func replace(
        _ path: String, with bytes: [UInt8], syncedBy makeDurable: (OpenFile) throws(FileError) -> Void
    ) throws(FileError) {
        let file = try open(path + ".tmp", .create)
        do throws(FileError) {
            unsafe try bytes.span.withUnsafeBytes { buffer throws(FileError) in
                try unsafe write(file, buffer, at: 0)
            }
            try makeDurable(file)
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

    /// The bytes of a file; nil where the disk cannot read it any more.
    func readableContents(_ path: String, limit: Int = .max) throws(FileError) -> [UInt8]? {
        do throws(FileError) {
            return try contents(path, limit: limit)
        } catch {
            guard error.isUnreadable else { throw error }
            return nil
        }
    }
}

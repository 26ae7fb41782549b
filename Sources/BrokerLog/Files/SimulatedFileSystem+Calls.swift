import Glibc
import Synchronization

extension SimulatedFileSystem {
    package func open(_ path: String, _ mode: OpenMode) throws(FileError) -> OpenFile {
        try call(.open, path) { state throws(FileError) in
            let (directory, name) = try state.parent(of: path, .open)
            var node = state.directories[directory]?.names[name]
            if let existing = node, state.directories[existing] != nil {
                throw FileError(call: "open", path: path, code: EISDIR)
            }
            if node == nil {
                if [.read, .write, .writeDirect].contains(mode) {
                    throw FileError(call: "open", path: path, code: ENOENT)
                }
                let created = state.newNode()
                state.nodes[created] = Node()
                state.change(directory, [(name, created)])
                node = created
            }
            guard let node else { throw FileError(call: "open", path: path, code: ENOENT) }
            if mode == .create { state.resize(node, to: 0) }
            let descriptor = state.nextDescriptor
            state.nextDescriptor += 1
            state.descriptors[descriptor] = (node, path, mode != .read)
            if mode == .writeDirect { state.direct.insert(descriptor) }
            return OpenFile(descriptor: descriptor)
        }
    }

    package func close(_ file: OpenFile) {
        state.withLock { state in
            guard let entry = state.descriptors.removeValue(forKey: file.descriptor) else { return }
            if !state.descriptors.values.contains(where: { $0.node == entry.node }) {
                state.nodes[entry.node]?.isLocked = false
            }
        }
    }

    package func size(_ file: OpenFile) throws(FileError) -> Int {
        try onFile(.size, file) { state, node, _ throws(FileError) in state.nodes[node]?.current.count ?? 0 }
    }

    package func isUnlinked(_ file: OpenFile) throws(FileError) -> Bool {
        try onFile(.size, file) { state, node, _ throws(FileError) in
            !state.directories.values.contains { $0.names.values.contains(node) }
        }
    }

    package func read(
        _ file: OpenFile, into buffer: UnsafeMutableRawBufferPointer, at offset: Int
    ) throws(FileError) -> Int {
        // Not shared: the buffer is the caller's for the length of this call, under the lock.
        nonisolated(unsafe) let target = unsafe buffer
        return try onFile(.read, file) { state, node, path throws(FileError) in
            let content = state.nodes[node]?.current ?? []
            let count = unsafe max(0, min(target.count, content.count - offset))
            if state.unreadable[path]?.overlaps(offset..<(offset + count)) == true {
                throw FileError(call: "pread", path: path, code: EIO)
            }
            if count > 0 {
                unsafe content.withUnsafeBytes { source in
                    unsafe target.copyMemory(
                        from: UnsafeRawBufferPointer(rebasing: source[offset..<(offset + count)]))
                }
            }
            return count
        }
    }

    package func write(_ file: OpenFile, _ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileError) {
        // Not shared: the bytes are the caller's for the length of this call, under the lock.
        nonisolated(unsafe) let source = unsafe bytes
        do {
            try onFile(.write, file) { state, node, path throws(FileError) in
                // Descriptors are not used again. A real file system would go on through the page cache, unnoticed.
                precondition(
                    unsafe !state.direct.contains(file.descriptor)
                        || offset % Self.sector == 0 && source.count % Self.sector == 0
                            && Int(bitPattern: source.baseAddress) % 4096 == 0,
                    "a file that is written directly is written in whole sectors, from memory that begins at a page"
                )
                // A page that is written anew can be read again: the disk puts it elsewhere.
                if let range = state.unreadable[path], offset <= range.lowerBound,
                    unsafe offset + source.count >= range.upperBound
                {
                    state.unreadable[path] = nil
                }
                let size = state.nodes[node]?.current.count ?? 0
                let growth = unsafe max(0, offset + source.count - size)
                let free = growth == 0 ? 0 : max(0, state.capacity - state.used)
                if growth <= free { return unsafe state.put(source, node, at: offset) }
                let fits = max(0, size + free - offset)
                unsafe state.put(UnsafeRawBufferPointer(rebasing: source[0..<fits]), node, at: offset)
                throw FileError(call: "pwrite", path: path, code: ENOSPC)
            }
        } catch {
            if error.call == Call.write.rawValue, error.code != Self.machineIsOff {
                unsafe writeSome(source, file, at: offset, error)
            }
            throw error
        }
    }

    /// A call that the hook failed may have written some of its bytes; where the disk is full the file does not grow.
    private func writeSome(
        _ bytes: UnsafeRawBufferPointer, _ file: OpenFile, at offset: Int, _ error: FileError
    ) {
        // Not shared: the bytes are the caller's for the length of this call, under the lock.
        nonisolated(unsafe) let source = unsafe bytes
        let body = { (state: inout State) in
            guard let node = state.descriptors[file.descriptor]?.node else { return }
            let size = state.nodes[node]?.current.count ?? 0
            let most = unsafe error.isNoSpace ? max(0, min(source.count, size - offset)) : source.count
            let count = Int(state.random.next() % UInt64(most + 1))
            unsafe state.put(UnsafeRawBufferPointer(rebasing: source[0..<count]), node, at: offset)
        }
        state.withLock { state in body(&state) }
    }

    package func truncate(_ file: OpenFile, to size: Int) throws(FileError) {
        try onFile(.truncate, file) { state, node, _ throws(FileError) in state.resize(node, to: size) }
    }

    package func sync(_ file: OpenFile) throws(FileError) {
        do {
            try onFile(.sync, file) { state, node, _ throws(FileError) in state.sync(node) }
        } catch {
            // As Linux: after a failed sync the pages count as clean. Where the machine is off nothing is.
            state.withLock { state in
                if error.code == Self.machineIsOff { return }
                if let node = state.descriptors[file.descriptor]?.node { state.nodes[node]?.dirty = [] }
            }
            throw error
        }
    }

    /// Whether it was done or not, chance decides over every sector that is not synced.
    package func beginWriteBack(_ file: OpenFile, at offset: Int, count: Int) throws(FileError) {
        try onFile(.beginWriteBack, file) { _, _, _ throws(FileError) in }
    }

    package func awaitWriteBack(_ file: OpenFile, at offset: Int, count: Int) throws(FileError) {
        try onFile(.awaitWriteBack, file) { _, _, _ throws(FileError) in }
    }

    package func dropCache(_ file: OpenFile) {
        state.withLock { state in
            guard let number = state.descriptors[file.descriptor]?.node, let node = state.nodes[number] else {
                return
            }
            guard node.durable.count == node.current.count else { return }
            var content = node.durable
            for sector in node.dirty {
                let range = (sector * Self.sector)..<min((sector + 1) * Self.sector, content.count)
                content.replaceSubrange(range, with: node.current[range])
            }
            state.nodes[number]?.current = content
        }
    }

    package func lock(_ file: OpenFile) throws(FileError) -> Bool {
        try onFile(.lock, file) { state, node, _ throws(FileError) in
            if state.nodes[node]?.isLocked == true { return false }
            state.nodes[node]?.isLocked = true
            return true
        }
    }

    package func rename(_ path: String, to target: String) throws(FileError) {
        try call(.rename, path) { state throws(FileError) in
            let (directory, name) = try state.parent(of: path, .rename)
            let (_, newName) = try state.parent(of: target, .rename)
            guard let node = state.directories[directory]?.names[name] else {
                throw FileError(call: "rename", path: path, code: ENOENT)
            }
            state.change(directory, [(name, nil), (newName, node)])
        }
    }

    package func remove(_ path: String) throws(FileError) {
        try call(.remove, path) { state throws(FileError) in
            let (directory, name) = try state.parent(of: path, .remove)
            guard state.directories[directory]?.names[name] != nil else {
                throw FileError(call: "unlink", path: path, code: ENOENT)
            }
            state.change(directory, [(name, nil)])
        }
    }

    package func makeDirectory(_ path: String) throws(FileError) {
        try call(.makeDirectory, path) { state throws(FileError) in
            let (directory, name) = try state.parent(of: path, .makeDirectory)
            if state.directories[directory]?.names[name] != nil {
                throw FileError(call: "mkdir", path: path, code: EEXIST)
            }
            let created = state.newNode()
            state.directories[created] = Directory()
            state.change(directory, [(name, created)])
        }
    }

    package func removeDirectory(_ path: String) throws(FileError) {
        try call(.removeDirectory, path) { state throws(FileError) in
            let number = try state.directory(path, .removeDirectory)
            if state.directories[number]?.names.isEmpty == false {
                throw FileError(call: "rmdir", path: path, code: ENOTEMPTY)
            }
            let (directory, name) = try state.parent(of: path, .removeDirectory)
            state.change(directory, [(name, nil)])
        }
    }

    package func list(_ path: String) throws(FileError) -> [String] {
        try call(.list, path) { state throws(FileError) in
            let number = try state.directory(path, .list)
            return (state.directories[number]?.names.keys).map { $0.sorted() } ?? []
        }
    }

    package func syncDirectory(_ path: String) throws(FileError) {
        try call(.syncDirectory, path) { state throws(FileError) in
            let number = try state.directory(path, .syncDirectory)
            state.syncNames(number)
        }
    }

    package func syncAll(_ path: String, by file: OpenFile) throws(FileError) { try syncAll(path) }

    package func syncAll(_ path: String) throws(FileError) {
        try call(.syncAll, path) { state throws(FileError) in
            for node in state.nodes.keys { state.sync(node) }
            for number in state.directories.keys {
                state.syncNames(number)
            }
        }
    }

    package func volume(of path: String) -> VolumeKind { state.withLock { $0.volume } }

    package func randomIdentity() -> UInt64 { state.withLock { $0.random.next() } }

    private func call<T: Sendable>(
        _ kind: Call, _ path: String, _ body: (inout State) throws(FileError) -> T
    ) throws(FileError) -> T {
        if let code = hookFault(kind, path) { throw FileError(call: kind.rawValue, path: path, code: code) }
        return try state.withLock { state throws(FileError) in try body(&state) }
    }

    private func onFile<T: Sendable>(
        _ kind: Call, _ file: OpenFile, _ body: (inout State, Int, String) throws(FileError) -> T
    ) throws(FileError) -> T {
        let entry = state.withLock { $0.descriptors[file.descriptor] }
        guard let (node, path, _) = entry else {
            throw FileError(call: kind.rawValue, path: "descriptor \(file.descriptor)", code: EBADF)
        }
        if let code = hookFault(kind, path) { throw FileError(call: kind.rawValue, path: path, code: code) }
        return try state.withLock { state throws(FileError) in try body(&state, node, path) }
    }

    /// What the hook says of a call. It is asked outside the lock: it may take as long as a disk that stalls.
    func hookFault(_ kind: Call, _ path: String) -> Int32? {
        state.withLock { $0.onCall }?(kind, path)
    }
}

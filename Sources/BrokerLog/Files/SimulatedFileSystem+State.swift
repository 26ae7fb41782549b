import Glibc
import Synchronization

extension SimulatedFileSystem.State {
    typealias Call = SimulatedFileSystem.Call

    /// Bytes of all files that a name or a descriptor leads to.
    var used: Int {
        var live = Set(descriptors.values.map(\.node))
        for directory in directories.values { live.formUnion(directory.names.values) }
        return live.reduce(0) { $0 + (nodes[$1]?.current.count ?? 0) }
    }

    mutating func newNode() -> Int {
        nextNode += 1
        return nextNode
    }

    func directory(_ path: String, _ call: Call) throws(FileError) -> Int {
        var number = 0
        for part in path.split(separator: "/") where part != "." {
            guard let next = directories[number]?.names[String(part)], directories[next] != nil else {
                throw FileError(call: call.rawValue, path: path, code: ENOENT)
            }
            number = next
        }
        return number
    }

    func parent(of path: String, _ call: Call) throws(FileError) -> (directory: Int, name: String) {
        let parts = path.split(separator: "/")
        guard let name = parts.last else { throw FileError(call: call.rawValue, path: path, code: EINVAL) }
        return (try directory(parts.dropLast().joined(separator: "/"), call), String(name))
    }

    /// Changes names of a directory, all or none at a crash.
    mutating func change(_ directory: Int, _ group: [(name: String, node: Int?)]) {
        for (name, node) in group { directories[directory]?.names[name] = node }
        directories[directory]?.changes.append(group)
    }

    mutating func resize(_ node: Int, to size: Int) {
        guard let old = nodes[node]?.current.count, old != size else { return }
        if size < old {
            nodes[node]?.current.removeLast(old - size)
        } else {
            nodes[node]?.current.append(contentsOf: repeatElement(0, count: size - old))
        }
        // The sector at the old or new end differs from what is durable.
        for sector
            in (min(old, size) / SimulatedFileSystem.sector)...(max(old, size) / SimulatedFileSystem.sector)
        {
            nodes[node]?.dirty.insert(sector)
        }
    }

    /// Writes bytes into a file, which grows as needed.
    mutating func put(_ bytes: UnsafeRawBufferPointer, _ node: Int, at offset: Int) {
        guard bytes.count > 0 else { return }
        let end = offset + bytes.count
        if end > nodes[node]?.current.count ?? 0 { resize(node, to: end) }
        unsafe nodes[node]?.current.withUnsafeMutableBytes { target in
            unsafe UnsafeMutableRawBufferPointer(rebasing: target[offset..<end]).copyMemory(from: bytes)
        }
        let sector = SimulatedFileSystem.sector
        for dirty in (offset / sector)...((end - 1) / sector) { nodes[node]?.dirty.insert(dirty) }
    }

    /// What `fdatasync` does when it works: dirty sectors and the length.
    mutating func sync(_ number: Int) {
        guard let node = nodes[number], !node.dirty.isEmpty || node.durable.count != node.current.count else {
            return
        }
        var settled = node
        settled.durable = settle(node, size: node.current.count) { _, new in new }
        settled.dirty = []
        nodes[number] = settled
    }

    /// What a sync of a directory does when it works.
    mutating func syncNames(_ number: Int) {
        guard var directory = directories[number] else { return }
        directory.durable = directory.names
        directory.changes = []
        directories[number] = directory
    }

    /// The durable content with dirty sectors replaced by what `choose` makes of old and new.
    func settle(
        _ node: SimulatedFileSystem.Node, size: Int, _ choose: (_ old: [UInt8], _ new: [UInt8]) -> [UInt8]
    ) -> [UInt8] {
        var content = node.durable
        if content.count > size { content.removeLast(content.count - size) }
        if content.count < size { content.append(contentsOf: repeatElement(0, count: size - content.count)) }
        for sector in node.dirty.sorted() {
            let start = sector * SimulatedFileSystem.sector
            let end = min(start + SimulatedFileSystem.sector, size)
            guard start < end else { continue }
            var new =
                start < node.current.count ? Array(node.current[start..<min(end, node.current.count)]) : []
            new.append(contentsOf: repeatElement(0, count: end - start - new.count))
            content.replaceSubrange(start..<end, with: choose(Array(content[start..<end]), new))
        }
        return content
    }
}

extension SimulatedFileSystem {
    /// The machine or the process dies: open files and locks are gone, and of what was not synced what
    /// `kind` leaves.
    package func crash(_ kind: Crash) {
        state.withLock { state in
            state.descriptors = [:]
            state.onCall = nil
            state.settleWrites()
            for number in state.nodes.keys.sorted() { state.nodes[number]?.isLocked = false }
            if kind == .process { return }
            for number in state.directories.keys.sorted() {
                guard let directory = state.directories[number] else { continue }
                var names = directory.durable
                if kind == .random {
                    for group in directory.changes where state.random.next() % 2 == 0 {
                        for (name, node) in group { names[name] = node }
                    }
                }
                state.directories[number]?.names = names
                state.directories[number]?.durable = names
                state.directories[number]?.changes = []
            }
            for number in state.nodes.keys.sorted() {
                guard let node = state.nodes[number] else { continue }
                var content = node.durable
                if kind == .random {
                    let keepsLength = state.random.next() % 2 == 0
                    let bias = state.random.next() % 4
                    var random = state.random
                    content = state.settle(node, size: keepsLength ? node.current.count : node.durable.count)
                    {
                        old, new in
                        let draw = random.next() % 16
                        if draw == 0 { return old.map { _ in UInt8(truncatingIfNeeded: random.next()) } }
                        return draw < 4 + bias * 3 ? new : old
                    }
                    state.random = random
                }
                state.nodes[number]?.current = content
                state.nodes[number]?.durable = content
                state.nodes[number]?.dirty = []
            }
            state.forgetUnreachable()
        }
    }

    /// The process that held locks is gone, the machine is not.
    package func dropLocks() {
        state.withLock { state in
            for number in state.nodes.keys { state.nodes[number]?.isLocked = false }
        }
    }

    /// The bytes of a file, nil if it does not exist.
    package func content(_ path: String) -> [UInt8]? {
        state.withLock { state in
            guard let (directory, name) = try? state.parent(of: path, .open),
                let node = state.directories[directory]?.names[name]
            else { return nil }
            return state.nodes[node]?.current
        }
    }

    /// Replaces the bytes of a file that exists, durably: damage.
    package func overwrite(_ path: String, with content: [UInt8]) {
        state.withLock { state in
            guard let (directory, name) = try? state.parent(of: path, .open),
                let node = state.directories[directory]?.names[name]
            else { return }
            state.nodes[node]?.current = content
            state.nodes[node]?.durable = content
            state.nodes[node]?.dirty = []
        }
    }

    /// Flips one bit of a file that exists, durably.
    package func flipBit(_ path: String, byte: Int, bit: Int) {
        guard var bytes = content(path), byte < bytes.count else { return }
        bytes[byte] ^= 1 << UInt8(bit)
        overwrite(path, with: bytes)
    }

    /// Bytes of a file that the disk cannot read any more.
    package func makeUnreadable(_ path: String, _ range: Range<Int>) {
        state.withLock { $0.unreadable[path] = range }
    }

    /// Every file below `/` with its bytes, by path.
    package func everything() -> [String: [UInt8]] {
        state.withLock { state in
            var found: [String: [UInt8]] = [:]
            var open = [("", 0)]
            while let (path, number) = open.popLast() {
                for (name, node) in state.directories[number]?.names ?? [:] {
                    if let file = state.nodes[node] {
                        found[path + "/" + name] = file.current
                    } else {
                        open.append((path + "/" + name, node))
                    }
                }
            }
            return found
        }
    }
}

extension SimulatedFileSystem.State {
    /// Frees nodes that no name leads to.
    mutating func forgetUnreachable() {
        var live: Set<Int> = [0]
        var open = [0]
        while let number = open.popLast() {
            for node in (directories[number]?.names ?? [:]).values where live.insert(node).inserted {
                open.append(node)
            }
        }
        nodes = nodes.filter { live.contains($0.key) }
        directories = directories.filter { live.contains($0.key) }
    }
}

/// One interest as a route has it, with everything that a delivery needs side by side.
@safe struct Target {
    let interest: InterestPointer
    /// The connection of this loop that takes it; nil when another loop does.
    let connection: UnsafeMutablePointer<Connection>?
    /// `HMSG <subject> <sid> `; from its second byte on it is the beginning of a `MSG`.
    let prefix: UnsafePointer<UInt8>
    let prefixCount: Int
    /// The interest's name on the loop that delivers to it.
    let id: InterestID
}

/// Who gets a message on one subject, resolved once and kept until interests change.
///
/// A route has a fixed address as long as the router's cache epoch lasts. Its `generation` tells whether
/// its contents hold: only then do its pointers lead to living interests and connections.
@safe struct Route {
    /// The router's generation at which it was resolved; 0 = never, or no more.
    var generation: UInt64 = 0
    let hash: UInt64
    /// The subject, in memory of the route's own.
    let subject: UnsafeRawBufferPointer
    /// The next route of the same bucket.
    var next: UnsafeMutablePointer<Route>?

    /// Subscriptions outside queue groups: those of this loop, then the others', ordered by loop.
    var plain: UnsafeMutableBufferPointer<Target>
    /// How many of `plain` are of this loop.
    var localCount = 0
    /// Members of queue groups, group after group.
    var members: UnsafeMutableBufferPointer<Target>
    /// Where each group ends in `members`.
    var groupEnds: UnsafeMutableBufferPointer<Int>
    /// The engine's tags on this loop.
    var tags: UnsafeMutableBufferPointer<UInt64>
    /// All prefixes, one after the other.
    var prefixes: UnsafeMutableRawPointer?
    /// Bytes that the contents take, for the bound of the cache.
    var size = 0

    init(subject: UnsafeRawBufferPointer, hash: UInt64) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: subject.count, alignment: 1)
        unsafe copy.copyMemory(from: subject)
        unsafe self.subject = UnsafeRawBufferPointer(copy)
        self.hash = hash
        unsafe plain = unsafe UnsafeMutableBufferPointer(start: nil, count: 0)
        unsafe members = unsafe UnsafeMutableBufferPointer(start: nil, count: 0)
        unsafe groupEnds = unsafe UnsafeMutableBufferPointer(start: nil, count: 0)
        unsafe tags = unsafe UnsafeMutableBufferPointer(start: nil, count: 0)
    }

    /// Nobody gets a message on this subject.
    var isEmpty: Bool { unsafe plain.count == 0 && members.count == 0 && tags.count == 0 }

    /// Frees the contents; the route can be resolved again.
    mutating func clear() {
        unsafe plain.deallocate()
        unsafe members.deallocate()
        unsafe groupEnds.deallocate()
        unsafe tags.deallocate()
        unsafe prefixes?.deallocate()
        unsafe plain = unsafe UnsafeMutableBufferPointer(start: nil, count: 0)
        unsafe members = unsafe UnsafeMutableBufferPointer(start: nil, count: 0)
        unsafe groupEnds = unsafe UnsafeMutableBufferPointer(start: nil, count: 0)
        unsafe tags = unsafe UnsafeMutableBufferPointer(start: nil, count: 0)
        unsafe prefixes = nil
        localCount = 0
        size = 0
        generation = 0
    }

    /// Fills the contents from all interests that match.
    mutating func resolve(_ interests: [InterestPointer], loop: Int, generation: UInt64) {
        clear()
        self.generation = generation
        var plainOnes: [InterestPointer] = unsafe []
        var queued: [[UInt8]: [InterestPointer]] = unsafe [:]
        var engineTags: [UInt64] = []
        var prefixBytes = 0
        for index in unsafe interests.indices {
            let interest = unsafe interests[index]
            unsafe prefixBytes += subject.count + interest.pointee.sid.count + 7
            if case .engine(let tag) = unsafe interest.pointee.taker {
                engineTags.append(tag)
            } else if unsafe interest.pointee.queue.isEmpty {
                unsafe plainOnes.append(interest)
            } else {
                unsafe queued[interest.pointee.queue, default: []].append(interest)
            }
        }
        // This loop's come first, then one loop's after the other, so that a mailbox gets them in one piece.
        func rank(_ interest: InterestPointer) -> Int {
            unsafe interest.pointee.id.loop == loop ? -1 : interest.pointee.id.loop
        }
        unsafe plainOnes.sort { unsafe rank($0) < rank($1) }
        let memory = UnsafeMutableRawPointer.allocate(byteCount: max(prefixBytes, 1), alignment: 1)
        unsafe prefixes = unsafe memory
        var cursor = unsafe memory.assumingMemoryBound(to: UInt8.self)
        unsafe plain = unsafe .allocate(capacity: plainOnes.count)
        for index in unsafe plainOnes.indices {
            let interest = unsafe plainOnes[index]
            unsafe plain.initializeElement(at: index, to: target(interest, &cursor))
            if unsafe interest.pointee.id.loop == loop { localCount += 1 }
        }
        unsafe members = unsafe .allocate(capacity: queued.values.reduce(0) { unsafe $0 + $1.count })
        unsafe groupEnds = unsafe .allocate(capacity: queued.count)
        var member = 0
        let queues = unsafe Array(queued.values)
        for group in unsafe queues.indices {
            let interests = unsafe queues[group]
            for index in unsafe interests.indices {
                let interest = unsafe interests[index]
                unsafe members.initializeElement(at: member, to: target(interest, &cursor))
                member += 1
            }
            unsafe groupEnds.initializeElement(at: group, to: member)
        }
        unsafe tags = .allocate(capacity: engineTags.count)
        for (index, tag) in engineTags.enumerated() { unsafe tags.initializeElement(at: index, to: tag) }
        size =
            unsafe prefixBytes + (plain.count + members.count) * MemoryLayout<Target>.stride
            + (groupEnds.count + tags.count) * 8
    }

    private func target(_ interest: InterestPointer, _ cursor: inout UnsafeMutablePointer<UInt8>) -> Target {
        let start = unsafe cursor
        for byte in "HMSG ".utf8 {
            unsafe cursor.pointee = byte
            unsafe cursor += 1
        }
        for index in unsafe subject.indices {
            let byte = unsafe subject[index]
            unsafe cursor.pointee = byte
            unsafe cursor += 1
        }
        unsafe cursor.pointee = UInt8(ascii: " ")
        unsafe cursor += 1
        for byte in unsafe interest.pointee.sid {
            unsafe cursor.pointee = byte
            unsafe cursor += 1
        }
        unsafe cursor.pointee = UInt8(ascii: " ")
        unsafe cursor += 1
        var connection: UnsafeMutablePointer<Connection>?
        if case .connection(let local) = unsafe interest.pointee.taker { unsafe connection = unsafe local }
        return unsafe Target(
            interest: interest, connection: connection, prefix: UnsafePointer(start),
            prefixCount: cursor - start, id: interest.pointee.id)
    }
}

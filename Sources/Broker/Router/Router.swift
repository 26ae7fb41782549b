import BrokerProtocol

/// Who wants what: all interests of the broker, and for each subject that is published to, the resolved
/// route (nats-core.md 3).
///
/// One per loop; each holds every interest of every loop. Literal subjects are looked up by hash, wildcards
/// in a tree, both only when no cached route holds. A change of a literal interest makes the one route of
/// its subject stale; a change of a wildcard makes all stale, by the generation number.
///
/// Invariant: a route whose generation is the router's names only interests that are registered. Interests
/// and routes are freed by `collectGarbage`, which the loop calls when no delivery is under way.
@safe struct Router: ~Copyable {
    /// Bounds of the cache. Beyond them all routes are dropped and resolved anew as they are needed.
    private static let maximumRoutes = 16_384
    private static let maximumBytes = 8 << 20

    let loop: Int
    private(set) var generation: UInt64 = 1
    /// Raised when cached routes are freed: a route remembered under another epoch must not be touched.
    private(set) var epoch: UInt64 = 1
    /// Interests of all loops.
    private(set) var count = 0

    private var literals = ByteKeyedTable<LiteralSubject>()
    private let wildcards = WildcardTree()
    private var buckets: UnsafeMutableBufferPointer<UnsafeMutablePointer<Route>?>
    private var routeCount = 0
    private var routeBytes = 0
    private let seed = UInt64.random(in: .min ... .max)
    private var garbage: [InterestPointer] = unsafe []
    private var droppedRoutes: [UnsafeMutablePointer<Route>] = unsafe []

    /// Not private: the compiler (6.3, debug) fails on the end of a router in another file if it is.
    final class LiteralSubject {
        var list = InterestList()
    }

    init(loop: Int) {
        self.loop = loop
        unsafe buckets = .allocate(capacity: 1024)
        unsafe buckets.initialize(repeating: nil)
    }

    /// Frees everything; the router must not be used again.
    mutating func deallocate() {
        dropRoutes()
        collectGarbage()
        unsafe buckets.deallocate()
    }

    // MARK: Interests

    /// Takes `interest` into account from the next route on.
    mutating func insert(_ interest: InterestPointer) {
        count += 1
        if unsafe Subject.kind(of: interest.pointee.subject) == .wildcard {
            unsafe wildcards.insert(interest)
            generation += 1
        } else {
            let literal = unsafe literals[interest.pointee.subject] ?? LiteralSubject()
            unsafe literals[interest.pointee.subject] = literal
            unsafe literal.list.add(interest)
            unsafe markStale(interest.pointee.subject)
        }
    }

    /// Forgets `interest` and frees it when no delivery can be looking at it any more.
    mutating func remove(_ interest: InterestPointer) {
        count -= 1
        if unsafe Subject.kind(of: interest.pointee.subject) == .wildcard {
            unsafe wildcards.remove(interest)
            generation += 1
        } else {
            guard let literal = unsafe literals[interest.pointee.subject] else {
                preconditionFailure("a registered interest has its subject's list")
            }
            unsafe literal.list.remove(interest)
            if literal.list.isEmpty { unsafe literals[interest.pointee.subject] = nil }
            unsafe markStale(interest.pointee.subject)
        }
        unsafe garbage.append(interest)
    }

    private func markStale(_ subject: [UInt8]) {
        unsafe subject.withUnsafeBytes { bytes in
            unsafe cachedRoute(bytes, hash(bytes))?.pointee.generation = 0
        }
    }

    /// Frees what `remove` and a full cache left behind. Must not be called during a delivery.
    mutating func collectGarbage() {
        for index in unsafe garbage.indices {
            let interest = unsafe garbage[index]
            unsafe interest.deinitialize(count: 1)
            unsafe interest.deallocate()
        }
        unsafe garbage.removeAll(keepingCapacity: true)
        for index in unsafe droppedRoutes.indices {
            let route = unsafe droppedRoutes[index]
            unsafe route.pointee.clear()
            unsafe route.pointee.subject.deallocate()
            unsafe route.deinitialize(count: 1)
            unsafe route.deallocate()
        }
        unsafe droppedRoutes.removeAll()
    }

    var hasGarbage: Bool { unsafe !garbage.isEmpty || !droppedRoutes.isEmpty }

    /// Every interest that matches `subject`; for rare questions, nothing is cached.
    func matches(_ subject: UnsafeRawBufferPointer) -> [InterestPointer] {
        guard unsafe !Subject.hasEmptyToken(subject), unsafe !Self.endsEarly(subject) else {
            return unsafe []
        }
        var found: [InterestPointer] = unsafe []
        if let literal = unsafe literals[subject] { unsafe found += literal.list.pointers }
        unsafe wildcards.forEachMatch(subject) { unsafe found += $0.pointers }
        return unsafe found
    }

    /// True when `subject` has a byte that ends a token in a line of the protocol, or a string in C. The engine
    /// publishes to what clients name in their requests, and what follows such a byte would be read as the rest of
    /// the delivery's line, or as the line after it.
    private static func endsEarly(_ subject: UnsafeRawBufferPointer) -> Bool {
        for index in 0..<subject.count {
            switch unsafe subject[index] {
            case 0x00, 0x09, 0x0A, 0x0D, 0x20: return true
            default: continue
            }
        }
        return false
    }

    // MARK: Routes

    /// The route of `subject`, valid until the next change of any interest.
    mutating func route(_ subject: UnsafeRawBufferPointer) -> UnsafeMutablePointer<Route> {
        let hash = unsafe hash(subject)
        let route: UnsafeMutablePointer<Route>
        if let cached = unsafe cachedRoute(subject, hash) {
            if unsafe cached.pointee.generation == generation { return unsafe cached }
            unsafe routeBytes -= cached.pointee.size
            unsafe route = unsafe cached
        } else {
            if routeCount >= Self.maximumRoutes || routeBytes >= Self.maximumBytes { dropRoutes() }
            if unsafe routeCount >= buckets.count { growBuckets() }
            unsafe route = .allocate(capacity: 1)
            unsafe route.initialize(to: Route(subject: subject, hash: hash))
            let bucket = unsafe Int(truncatingIfNeeded: hash) & (buckets.count - 1)
            unsafe route.pointee.next = unsafe buckets[bucket]
            unsafe buckets[bucket] = unsafe route
            routeCount += 1
            routeBytes += MemoryLayout<Route>.size + subject.count
        }
        unsafe route.pointee.resolve(matches(subject), loop: loop, generation: generation)
        unsafe routeBytes += route.pointee.size
        return unsafe route
    }

    /// Routes that are cached, for tests and monitoring.
    var cachedRoutes: Int { routeCount }

    @inline(__always)
    private func cachedRoute(_ subject: UnsafeRawBufferPointer, _ hash: UInt64) -> UnsafeMutablePointer<
        Route
    >? {
        var candidate = unsafe buckets[Int(truncatingIfNeeded: hash) & (buckets.count - 1)]
        while let route = unsafe candidate {
            if unsafe route.pointee.hash == hash, unsafe Self.isEqual(route.pointee.subject, subject) {
                return unsafe route
            }
            unsafe candidate = unsafe route.pointee.next
        }
        return nil
    }

    @inline(__always)
    static func isEqual(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        guard left.count == right.count else { return false }
        guard let l = left.baseAddress, let r = right.baseAddress else { return left.count == 0 }
        return unsafe compareMemory(l, r, left.count)
    }

    private mutating func dropRoutes() {
        for index in unsafe 0..<buckets.count {
            var next = unsafe buckets[index]
            while let route = unsafe next {
                unsafe next = unsafe route.pointee.next
                unsafe droppedRoutes.append(route)
            }
            unsafe buckets[index] = nil
        }
        routeCount = 0
        routeBytes = 0
        epoch += 1
    }

    private mutating func growBuckets() {
        let old = unsafe buckets
        unsafe buckets = .allocate(capacity: old.count * 2)
        unsafe buckets.initialize(repeating: nil)
        for index in old.indices {
            let head = unsafe old[index]
            var next = unsafe head
            while let route = unsafe next {
                unsafe next = unsafe route.pointee.next
                let bucket = unsafe Int(truncatingIfNeeded: route.pointee.hash) & (buckets.count - 1)
                unsafe route.pointee.next = unsafe buckets[bucket]
                unsafe buckets[bucket] = unsafe route
            }
        }
        unsafe old.deallocate()
    }

    /// Eight bytes a step, multiplied and folded, from a seed of this router: subjects come from clients.
    @inline(__always)
    private func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var hash = seed ^ UInt64(truncatingIfNeeded: bytes.count)
        var offset = 0
        while offset &+ 8 <= bytes.count {
            hash = unsafe Self.fold(hash ^ bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            offset &+= 8
        }
        var tail: UInt64 = 0
        while offset < bytes.count {
            tail = unsafe tail << 8 | UInt64(bytes[offset])
            offset &+= 1
        }
        return Self.fold(hash ^ tail)
    }

    @inline(__always)
    private static func fold(_ value: UInt64) -> UInt64 {
        let product = value.multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
        return product.high ^ product.low
    }
}

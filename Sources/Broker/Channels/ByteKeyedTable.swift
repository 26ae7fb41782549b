/// A hash table from bytes to a small value that is looked up with bytes lying in an input buffer,
/// without making a key object: channels by name and clients by id, once for every publish.
///
/// Slots and keys lie in memory of the table's own, so that a look-up counts no references: such a count
/// waits until all that was copied before it has reached memory. Invariants: `slots` has `mask + 1`
/// initialized slots, a power of two and at least a quarter of them free; a slot is taken exactly when it has a
/// value, and then its key is memory that the table allocated and frees when it removes the slot or ends.
@safe struct ByteKeyedTable<Value>: ~Copyable {
    @unsafe private struct Slot {
        var hash: UInt64 = 0
        var key = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        var value: Value?
    }

    private var slots: UnsafeMutablePointer<Slot>
    private var mask = 15
    private(set) var count = 0

    init() {
        unsafe slots = Self.allocate(16)
    }

    deinit {
        for index in 0...mask { unsafe slots[index].key.deallocate() }
        unsafe Self.free(slots, mask + 1)
    }

    private static func allocate(_ count: Int) -> UnsafeMutablePointer<Slot> {
        let slots = UnsafeMutablePointer<Slot>.allocate(capacity: count)
        unsafe slots.initialize(repeating: Slot(), count: count)
        return unsafe slots
    }

    private static func free(_ slots: UnsafeMutablePointer<Slot>, _ count: Int) {
        unsafe slots.deinitialize(count: count)
        unsafe slots.deallocate()
    }

    /// The value of `key`; nil if there is none.
    subscript(key: UnsafeRawBufferPointer) -> Value? {
        guard let index = unsafe slot(of: key) else { return nil }
        return unsafe slots[index].value
    }

    /// The value of `key`; nil if there is none. Assigning nil removes it.
    subscript(key: [UInt8]) -> Value? {
        get { unsafe key.withUnsafeBytes { unsafe self[$0] } }
        set {
            unsafe key.withUnsafeBytes { key in
                if let newValue {
                    unsafe insert(newValue, for: key)
                } else {
                    unsafe remove(key)
                }
            }
        }
    }

    /// Every value, in no order.
    var values: [Value] {
        unsafe UnsafeBufferPointer(start: slots, count: mask + 1).compactMap { unsafe $0.value }
    }

    private mutating func insert(_ value: Value, for key: UnsafeRawBufferPointer) {
        if let index = unsafe slot(of: key) {
            unsafe slots[index].value = value
            return
        }
        if (count + 1) * 4 > (mask + 1) * 3 { grow() }
        let own = UnsafeMutableRawBufferPointer.allocate(byteCount: key.count, alignment: 1)
        unsafe own.copyMemory(from: key)
        unsafe place(Slot(hash: Self.hash(key), key: UnsafeRawBufferPointer(own), value: value))
        count += 1
    }

    private mutating func place(_ slot: Slot) {
        var index = unsafe Int(truncatingIfNeeded: slot.hash) & mask
        while unsafe slots[index].value != nil { index = (index + 1) & mask }
        unsafe slots[index] = unsafe slot
    }

    private mutating func remove(_ key: UnsafeRawBufferPointer) {
        guard var hole = unsafe slot(of: key) else { return }
        unsafe slots[hole].key.deallocate()
        count -= 1
        var next = (hole + 1) & mask
        while unsafe slots[next].value != nil {
            let wanted = unsafe Int(truncatingIfNeeded: slots[next].hash) & mask
            if (next &- wanted) & mask >= (next &- hole) & mask {
                unsafe slots[hole] = unsafe slots[next]
                hole = next
            }
            next = (next + 1) & mask
        }
        unsafe slots[hole] = unsafe Slot()
    }

    private mutating func grow() {
        let (old, oldCount) = unsafe (slots, mask + 1)
        unsafe slots = Self.allocate(oldCount * 2)
        mask = oldCount * 2 - 1
        for index in 0..<oldCount where unsafe old[index].value != nil { unsafe place(old[index]) }
        unsafe Self.free(old, oldCount)
    }

    private func slot(of key: UnsafeRawBufferPointer) -> Int? {
        let hash = unsafe Self.hash(key)
        var index = Int(truncatingIfNeeded: hash) & mask
        while unsafe slots[index].value != nil {
            if unsafe slots[index].hash == hash, unsafe isEqual(slots[index].key, key) { return index }
            index = (index + 1) & mask
        }
        return nil
    }

    private func isEqual(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        guard left.count == right.count else { return false }
        guard let left = left.baseAddress, let start = right.baseAddress else { return true }
        return unsafe compareMemory(left, start, right.count)
    }

    /// Eight bytes a step, multiplied and folded; the names come from clients that may publish, so
    /// a seed of this process keeps them from choosing collisions.
    private static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var hash = hashSeed ^ UInt64(truncatingIfNeeded: bytes.count)
        var offset = 0
        while offset &+ 8 <= bytes.count {
            let word = unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            hash = fold(hash ^ word)
            offset &+= 8
        }
        var tail: UInt64 = 0
        while offset < bytes.count {
            tail = unsafe tail << 8 | UInt64(bytes[offset])
            offset &+= 1
        }
        return fold(hash ^ tail)
    }

    private static func fold(_ value: UInt64) -> UInt64 {
        let product = value.multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
        return product.high ^ product.low
    }
}

/// Chosen once a process.
private let hashSeed = UInt64.random(in: .min ... .max)

/// A hash table from bytes to a small value that is looked up with bytes lying in an input buffer,
/// without making a key object: channels by name and clients by id, once for every publish.
struct ByteKeyedTable<Value> {
    private struct Slot {
        var hash: UInt64
        var key: [UInt8]
        var value: Value
    }

    private var slots: [Slot?] = Array(repeating: nil, count: 16)
    private(set) var count = 0

    /// The value of `key`; nil if there is none.
    subscript(key: UnsafeRawBufferPointer) -> Value? {
        unsafe slot(of: key).flatMap { slots[$0]?.value }
    }

    /// The value of `key`; nil if there is none. Assigning nil removes it.
    subscript(key: [UInt8]) -> Value? {
        get { unsafe key.withUnsafeBytes { unsafe self[$0] } }
        set {
            if let newValue {
                insert(newValue, for: key)
            } else {
                remove(key)
            }
        }
    }

    /// Every value, in no order.
    var values: some Sequence<Value> { slots.lazy.compactMap { $0?.value } }

    private var mask: Int { slots.count - 1 }

    private mutating func insert(_ value: Value, for key: [UInt8]) {
        if let index = unsafe key.withUnsafeBytes({ unsafe slot(of: $0) }) {
            slots[index]?.value = value
            return
        }
        if (count + 1) * 4 > slots.count * 3 { grow() }
        let hash = unsafe key.withUnsafeBytes { unsafe Self.hash($0) }
        place(Slot(hash: hash, key: key, value: value))
        count += 1
    }

    private mutating func place(_ slot: Slot) {
        var index = Int(truncatingIfNeeded: slot.hash) & mask
        while slots[index] != nil { index = (index + 1) & mask }
        slots[index] = slot
    }

    private mutating func remove(_ key: [UInt8]) {
        guard var hole = unsafe key.withUnsafeBytes({ unsafe slot(of: $0) }) else { return }
        count -= 1
        var next = (hole + 1) & mask
        while let entry = slots[next] {
            let wanted = Int(truncatingIfNeeded: entry.hash) & mask
            if (next &- wanted) & mask >= (next &- hole) & mask {
                slots[hole] = entry
                hole = next
            }
            next = (next + 1) & mask
        }
        slots[hole] = nil
    }

    private mutating func grow() {
        let old = slots
        slots = Array(repeating: nil, count: old.count * 2)
        for case .some(let slot) in old { place(slot) }
    }

    private func slot(of key: UnsafeRawBufferPointer) -> Int? {
        let hash = unsafe Self.hash(key)
        var index = Int(truncatingIfNeeded: hash) & mask
        while let entry = slots[index] {
            if entry.hash == hash, entry.key.count == key.count,
                unsafe entry.key.withUnsafeBytes({ unsafe $0.elementsEqual(key) })
            {
                return index
            }
            index = (index + 1) & mask
        }
        return nil
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

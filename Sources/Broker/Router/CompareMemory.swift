#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// True when `count` bytes are the same in both places.
@inline(__always)
func compareMemory(_ left: UnsafeRawPointer, _ right: UnsafeRawPointer, _ count: Int) -> Bool {
    unsafe memcmp(left, right, count) == 0
}

/// True when `bytes` are exactly those of `name`.
@inline(__always)
func bytes(_ bytes: UnsafeRawBufferPointer, equal name: [UInt8]) -> Bool {
    guard bytes.count == name.count else { return false }
    guard let start = bytes.baseAddress else { return true }
    return unsafe name.withUnsafeBytes { name in
        guard let other = name.baseAddress else { return true }
        return unsafe compareMemory(start, other, name.count)
    }
}

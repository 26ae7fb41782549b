extension [UInt8] {
    /// Adds an integer, little endian.
    mutating func appendInteger<T: FixedWidthInteger>(_ value: T) {
        unsafe Swift.withUnsafeBytes(of: value.littleEndian) { bytes in unsafe append(contentsOf: bytes) }
    }

    /// Adds a length as u32 and then the bytes.
    mutating func appendCounted(_ bytes: [UInt8]) {
        appendInteger(UInt32(bytes.count))
        append(contentsOf: bytes)
    }
}

/// Reads little-endian values out of bytes that may be hostile: every read says nil when the bytes end.
struct ByteReader {
    private let source: [UInt8]
    private var offset: Int
    private let end: Int

    init(_ source: [UInt8]) {
        self.source = source
        offset = 0
        end = source.count
    }

    /// Bytes not read yet.
    var remaining: Int { end - offset }

    mutating func integer<T: FixedWidthInteger>(_: T.Type) -> T? {
        let size = MemoryLayout<T>.size
        guard remaining >= size else { return nil }
        let value = unsafe source.withUnsafeBytes { bytes in
            unsafe T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
        }
        offset += size
        return value
    }

    mutating func bytes(_ count: Int) -> [UInt8]? {
        guard count >= 0, count <= remaining else { return nil }
        defer { offset += count }
        return Array(source[offset..<(offset + count)])
    }

    /// A u32 length and that many bytes.
    mutating func counted() -> [UInt8]? {
        guard let count = integer(UInt32.self) else { return nil }
        return bytes(Int(count))
    }
}

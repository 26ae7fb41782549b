import Testing

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The bytes that protoc made for each case of `Fixtures/regenerate.sh`.
enum GoldenBytes {
    private static let lines: [String: [UInt8]] = {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let file = folder.appendingPathComponent("Fixtures/streaming.golden")
        let text = (try? String(contentsOf: file, encoding: .utf8)) ?? ""
        var lines: [String: [UInt8]] = [:]
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ", omittingEmptySubsequences: false)
            let hex = Array(fields[2].utf8)
            lines["\(fields[0]) \(fields[1])"] = stride(from: 0, to: hex.count, by: 2).map {
                UInt8(String(decoding: hex[$0..<$0 + 2], as: UTF8.self), radix: 16)!
            }
        }
        return lines
    }()

    /// The bytes of one case, such as "PubMsg full".
    static func bytes(of name: String) throws -> [UInt8] {
        try #require(lines[name], "no such case in streaming.golden: \(name)")
    }

    /// Every case: name and bytes.
    static var all: [(name: String, bytes: [UInt8])] { lines.map { ($0, $1) }.sorted { $0.0 < $1.0 } }
}

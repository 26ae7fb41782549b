/// Names that nobody else has: for inboxes, connection ids and guids.
package enum UniqueName {
    private static let alphabet = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)

    /// 22 random letters and digits: 131 bits.
    package static func make() -> String {
        var generator = SystemRandomNumberGenerator()
        let letters = (0..<22).map { _ in alphabet[Int.random(in: 0..<alphabet.count, using: &generator)] }
        return String(decoding: letters, as: UTF8.self)
    }
}

/// The id under which a server announces itself, new at each start.
enum ServerIdentity {
    /// 56 characters of base 32 that begin with `N`, as clients know them from nats-server.
    static func random() -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
        return "N" + String((0..<55).map { _ in alphabet[Int.random(in: 0..<32)] })
    }
}

/// What this program is.
enum Version {
    /// Its version.
    static let number = "0.1.0"
    /// What `broker --version` prints.
    static let line = "broker version \(number) (NATS core 2.12, NATS Streaming 0.25.6 protocols)"
}

import Synchronization

/// Something that has happened or not, told between tasks; once set it stays.
public final class Latch: Sendable {
    private let value = Atomic(false)

    /// Not set.
    public init() {}

    /// Whether it was set.
    public var isSet: Bool { value.load(ordering: .relaxed) }

    /// Sets it.
    public func set() { value.store(true, ordering: .relaxed) }
}

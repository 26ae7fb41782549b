/// A bar on standard error, drawn again at most ten times a second.
struct ProgressBar {
    private let total: Int
    private let isShown: Bool
    private let clock = ContinuousClock()
    private var next: ContinuousClock.Instant

    /// - Parameter isShown: Whether to draw at all: only on a terminal.
    init(total: Int, isShown: Bool) {
        self.total = max(total, 1)
        self.isShown = isShown
        next = clock.now
    }

    /// `done` of the total are done.
    mutating func advance(to done: Int) {
        guard isShown, clock.now >= next else { return }
        next = clock.now + .milliseconds(100)
        draw(done)
    }

    /// Draws the full bar and leaves it.
    mutating func finish() {
        guard isShown else { return }
        draw(total)
        Terminal.err("\n")
    }

    private func draw(_ done: Int) {
        let width = 40
        let filled = min(width, width * done / total)
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: width - filled)
        let percent = min(100, 100 * done / total)
        Terminal.err("\r\(bar) \(percent)% \(Figures.grouped(done)) of \(Figures.grouped(total))")
    }
}

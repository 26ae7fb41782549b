import BrokerLog
import Glibc
import Synchronization

/// Which calls of the simulated disk fail, and how many were made. Called from the log's threads too.
final class Faults: Sendable {
    typealias Call = SimulatedFileSystem.Call

    enum Plan {
        case none
        /// The machine dies at this call, counted from 0 over all kinds.
        case dies(at: Int)
        /// The call with this number fails; with `forever` every one of its kind from then on.
        case fails(at: Int, code: Int32, forever: Bool)
        /// The call with this number among those of a kind fails.
        case failsKind(Call, at: Int, code: Int32)
    }

    private struct State {
        var plan = Plan.none
        var calls: [Call] = []
        var failing: Call?
        var injected: [Call: Int] = [:]
        var isOff = false
    }
    private let state = Mutex(State())

    /// Arms a plan on a disk; the calls are counted from here.
    ///
    /// - Parameter began: called when the loop begins a write, which the simulated disk tells nobody the end of.
    func arm(
        _ plan: Plan, on disk: SimulatedFileSystem, pace: Pace? = nil, began: (@Sendable () -> Void)? = nil
    ) {
        state.withLock {
            let injected = $0.injected
            $0 = State(plan: plan)
            $0.injected = injected
        }
        disk.onCall { [self] call, _ in
            pace?.wait(for: call)
            if call == .beginWrite { began?() }
            return decide(call)
        }
    }

    /// Nothing fails any more.
    func clear() {
        state.withLock {
            $0.plan = .none
            $0.failing = nil
            $0.isOff = false
        }
    }

    /// Every call since `arm`.
    var calls: [Call] { state.withLock { $0.calls } }
    /// Calls that failed, by kind.
    var injected: [Call: Int] { state.withLock { $0.injected } }
    /// Every call of some kind fails from now on.
    var isFailing: Bool { state.withLock { $0.failing != nil } }
    /// The machine died.
    var isOff: Bool { state.withLock { $0.isOff } }

    private func decide(_ call: Call) -> Int32? {
        state.withLock { state in
            let number = state.calls.count
            state.calls.append(call)
            if state.isOff { return SimulatedFileSystem.machineIsOff }
            switch state.plan {
            case .none: return nil
            case .dies(let at):
                guard number >= at else { return nil }
                state.isOff = true
                state.injected[call, default: 0] += 1
                return SimulatedFileSystem.machineIsOff
            case .fails(let at, let code, let forever):
                if number == at {
                    if forever { state.failing = call }
                } else if state.failing != call {
                    return nil
                }
                state.injected[call, default: 0] += 1
                return code
            case .failsKind(let kind, let at, let code):
                guard call == kind, state.calls.count(where: { $0 == kind }) == at + 1 else { return nil }
                state.injected[call, default: 0] += 1
                return code
            }
        }
    }
}

/// The errors that are injected.
enum FaultCode: Int32, CaseIterable {
    case input = 5
    case again = 11
    case invalid = 22
    case openFiles = 24
    case noSpace = 28
    case quota = 122

    /// Those that a call of this kind can give.
    static func possible(_ call: SimulatedFileSystem.Call) -> [FaultCode] {
        switch call {
        case .open: [.input, .openFiles, .noSpace, .quota]
        case .write, .rename, .makeDirectory: [.input, .noSpace, .quota]
        case .list, .syncDirectory, .syncAll: [.input, .openFiles]
        case .sync: [.input, .noSpace]
        case .beginWrite, .endWrite: [.input, .again, .invalid]
        default: [.input]
        }
    }
}

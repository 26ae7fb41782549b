import Glibc

/// A place where a test lets the process die, as a crash or a power cut would.
///
/// It cannot be switched on by accident: it exists in debug builds only (a release build that finds the variables ends
/// with exit code 78), it needs two variables, of which the second says the danger out loud, and production refuses it.
///
/// ```
/// API_TEST_FAIL_POINT=relay-before-publish API_TEST_FAIL_POINT_CONFIRM=kill-this-process projects
/// ```
public enum FailPoint: String, Sendable, CaseIterable {
    /// Between the commit of a change and the publish of its event.
    case relayBeforePublish = "relay-before-publish"
    /// Between the broker's acknowledgement and the mark in the outbox.
    case relayBeforeMark = "relay-before-mark"
    /// Between the commit of an event's effect and its acknowledgement.
    case inboxBeforeAck = "inbox-before-ack"

    /// Why the variables are refused.
    struct Refusal: Error {
        let message: String
    }

    /// The word that `API_TEST_FAIL_POINT_CONFIRM` must have.
    static let confirmation = "kill-this-process"

    /// Reads the two variables; nil when neither is there.
    init?(environment: [String: String], isProduction: Bool) throws(Refusal) {
        let name = environment["API_TEST_FAIL_POINT"]
        let confirmation = environment["API_TEST_FAIL_POINT_CONFIRM"]
        guard let name else {
            if confirmation != nil {
                throw Refusal(
                    message: "API_TEST_FAIL_POINT_CONFIRM: it is for tests, and names no fail point")
            }
            return nil
        }
        guard Self.isCompiledIn, !isProduction else {
            throw Refusal(message: "API_TEST_FAIL_POINT: fail points are for tests of debug builds only")
        }
        guard confirmation == Self.confirmation else {
            throw Refusal(
                message:
                    "API_TEST_FAIL_POINT: it kills the process; API_TEST_FAIL_POINT_CONFIRM=\(Self.confirmation) is missing"
            )
        }
        guard let point = FailPoint(rawValue: name) else {
            let names = FailPoint.allCases.map(\.rawValue).joined(separator: ", ")
            throw Refusal(message: "API_TEST_FAIL_POINT: \"\(name)\" is no fail point; there are: \(names)")
        }
        self = point
    }

    private static var isCompiledIn: Bool {
        #if DEBUG
            true
        #else
            false
        #endif
    }

    /// Ends the process as a crash would, when `self` is the point that was switched on.
    func reach(_ switchedOn: FailPoint?) {
        #if DEBUG
            if self == switchedOn { kill(getpid(), SIGKILL) }
        #endif
    }
}

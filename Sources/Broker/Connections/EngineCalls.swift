/// The seam between the core and the streaming engine: what loop 0 calls, in the order that
/// `MessageTransport` and the engine agreed on. Set once, before the first connection is accepted.
///
/// A class, so that holding on to it during a call counts one reference, not one for each closure.
@safe final class EngineCalls {
    /// A message on a subject that the engine listens on: tag, subject, reply, payload without headers. The
    /// bytes are valid during the call, which may publish and listen.
    let receive: (UInt64, UnsafeRawBufferPointer, UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void
    /// All input of the tick was parsed, nothing is written yet. True: call again in the next tick.
    let endOfTick: () -> Bool
    /// The time (monotonic nanoseconds) is at or after `nextDeadline`.
    let timeReached: (UInt64) -> Void
    /// Monotonic nanoseconds at which `timeReached` is wanted; nil = never.
    let nextDeadline: () -> UInt64?
    /// A connection that was reported congested drained below 2 MiB, or another loop took over what it was sent.
    let congestionEnded: () -> Void

    init(
        receive:
            @escaping (UInt64, UnsafeRawBufferPointer, UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void,
        endOfTick: @escaping () -> Bool, timeReached: @escaping (UInt64) -> Void,
        nextDeadline: @escaping () -> UInt64?, congestionEnded: @escaping () -> Void
    ) {
        unsafe self.receive = unsafe receive
        self.endOfTick = endOfTick
        self.timeReached = timeReached
        self.nextDeadline = nextDeadline
        self.congestionEnded = congestionEnded
    }
}

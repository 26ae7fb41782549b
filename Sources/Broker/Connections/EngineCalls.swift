/// The seam between the core and the streaming engine: what loop 0 calls, in the order that
/// `MessageTransport` and the engine agreed on. Set once, before the first connection is accepted.
@safe struct EngineCalls {
    /// A message on a subject that the engine listens on: tag, subject, reply, payload without headers. The
    /// bytes are valid during the call, which may publish and listen.
    var receive: (UInt64, UnsafeRawBufferPointer, UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void
    /// All input of the tick was parsed, nothing is written yet. True: call again in the next tick.
    var endOfTick: () -> Bool
    /// The time (monotonic nanoseconds) is at or after `nextDeadline`.
    var timeReached: (UInt64) -> Void
    /// Monotonic nanoseconds at which `timeReached` is wanted; nil = never.
    var nextDeadline: () -> UInt64?
    /// A connection that was reported congested drained below 2 MiB.
    var congestionEnded: () -> Void
}

/// `CtrlMsg`, with which partitioned servers of the original talk (nats-streaming.md 2.3). We send none;
/// one that arrives where a publish is expected is ignored in place of being answered (3.3).
public enum ControlMessage {
    /// Whether the bytes are a well-formed `CtrlMsg`.
    public static func isControlMessage(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var reader = unsafe WireReader(bytes)
        var kind: UInt64 = 0
        var text = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        while let key = unsafe reader.key() {
            let understood =
                switch key.number {
                case 1: unsafe reader.read(key, into: &kind)
                case 2, 3, 4: unsafe reader.read(key, into: &text)
                default: unsafe reader.skip(key)
                }
            guard understood else { return false }
        }
        return unsafe reader.isAtEnd
    }
}

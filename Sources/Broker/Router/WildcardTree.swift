import BrokerProtocol

/// Interests with wildcards, found by walking the tokens of a subject (nats-core.md 3.1).
final class WildcardTree {
    private final class Node {
        var children = ByteKeyedTable<Node>()
        /// The child for `*`.
        var any: Node?
        /// Interests whose subject ends here.
        var here = InterestList()
        /// Interests whose subject ends here with `>`.
        var below = InterestList()

        var isEmpty: Bool { children.count == 0 && any == nil && here.isEmpty && below.isEmpty }
    }

    private let root = Node()
    private(set) var count = 0

    func insert(_ interest: InterestPointer) {
        count += 1
        var node = root
        for token in unsafe Self.tokens(interest.pointee.subject) {
            if token == [UInt8(ascii: ">")] {
                unsafe node.below.add(interest)
                return
            }
            if token == [UInt8(ascii: "*")] {
                let child = node.any ?? Node()
                node.any = child
                node = child
            } else {
                let key = Array(token)
                let child = node.children[key] ?? Node()
                node.children[key] = child
                node = child
            }
        }
        unsafe node.here.add(interest)
    }

    /// `interest` must be in the tree.
    func remove(_ interest: InterestPointer) {
        count -= 1
        unsafe remove(interest, from: root, Self.tokens(interest.pointee.subject)[...])
    }

    private func remove(_ interest: InterestPointer, from node: Node, _ tokens: ArraySlice<ArraySlice<UInt8>>)
    {
        guard let token = tokens.first else {
            unsafe node.here.remove(interest)
            return
        }
        if token == [UInt8(ascii: ">")] {
            unsafe node.below.remove(interest)
        } else if token == [UInt8(ascii: "*")] {
            guard let child = node.any else { preconditionFailure("an interest in the tree has its path") }
            unsafe remove(interest, from: child, tokens.dropFirst())
            if child.isEmpty { node.any = nil }
        } else {
            let key = Array(token)
            guard let child = node.children[key] else {
                preconditionFailure("an interest in the tree has its path")
            }
            unsafe remove(interest, from: child, tokens.dropFirst())
            if child.isEmpty { node.children[key] = nil }
        }
    }

    /// Calls `body` with the interests of each place that matches `subject`, which has no empty token.
    func forEachMatch(_ subject: UnsafeRawBufferPointer, _ body: (InterestList) -> Void) {
        guard count > 0 else { return }
        unsafe match(subject, from: 0, root, body)
    }

    private func match(
        _ subject: UnsafeRawBufferPointer, from start: Int, _ node: Node, _ body: (InterestList) -> Void
    ) {
        if start > subject.count {
            if !node.here.isEmpty { body(node.here) }
            return
        }
        if !node.below.isEmpty { body(node.below) }
        var end = start
        while end < subject.count, unsafe subject[end] != UInt8(ascii: ".") { end += 1 }
        if let any = node.any { unsafe match(subject, from: end + 1, any, body) }
        if node.children.count > 0,
            let child = unsafe node.children[UnsafeRawBufferPointer(rebasing: subject[start..<end])]
        {
            unsafe match(subject, from: end + 1, child, body)
        }
    }

    private static func tokens(_ subject: [UInt8]) -> [ArraySlice<UInt8>] {
        subject.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    }
}

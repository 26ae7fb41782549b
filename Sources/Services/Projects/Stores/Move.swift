import ServicesCore

/// What two columns hold after a task was moved (services.md 2.3).
struct Move: Hashable {
    let from: [String]
    let to: [String]

    /// Works out a move.
    ///
    /// - Parameters:
    ///   - isSame: Whether both are one column, which is then reordered.
    ///   - order: What `to` shall be, in its order; empty puts the task at the end.
    /// - Throws: 409 when the task is not in `from`; 400 when `order` is not exactly what `to` will hold.
    init(_ task: String, from: [String], to: [String], isSame: Bool, _ order: [String]) throws(RequestError) {
        guard from.contains(task) else { throw .conflict("task is not in column") }
        self.from = from.filter { $0 != task }
        let result = (isSame ? self.from : to.filter { $0 != task }) + [task]
        guard order.isEmpty || order.sorted() == result.sorted() else {
            throw .validation([
                RequestError.Field("taskIds", "taskIds must be exactly the tasks that the column will hold")
            ])
        }
        self.to = order.isEmpty ? result : order
    }
}

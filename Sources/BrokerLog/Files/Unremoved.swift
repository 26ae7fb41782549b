/// Files that nobody needs any more and that could not be removed: they take space, and no more. Each is told of once.
struct Unremoved {
    private var errors: [String: FileError] = [:]
    private var untold: [FileError] = []

    /// Their paths, to be tried again.
    var paths: [String] { errors.keys.sorted() }

    /// Keeps what became of an attempt; nil: the file is gone.
    mutating func note(_ path: String, _ error: FileError?) {
        if let error, errors[path] == nil { untold.append(error) }
        errors[path] = error
    }

    /// Those that were not told of yet.
    mutating func takeUntold() -> [FileError] {
        defer { untold = [] }
        return untold
    }
}

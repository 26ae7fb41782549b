import Glibc

/// The variables that libpq reads too; an empty one counts as absent.
enum Environment {
    static subscript(_ name: String) -> String? {
        unsafe getenv(name).map { unsafe String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    }
}

extension String {
    /// Without the ASCII blanks at both ends.
    var trimmingBlanks: Substring {
        let isBlank = { (scalar: Unicode.Scalar) in
            scalar == " " || (scalar.value >= 9 && scalar.value <= 13)
        }
        var view = unicodeScalars[...]
        while let first = view.first, isBlank(first) { view.removeFirst() }
        while let last = view.last, isBlank(last) { view.removeLast() }
        return Substring(view)
    }
}

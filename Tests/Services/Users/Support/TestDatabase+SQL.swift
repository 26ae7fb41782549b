import ServicesTesting

extension TestDatabase {
    /// Runs SQL with psql, several statements too; rows as lines, columns apart by `|`.
    @discardableResult
    func sql(_ text: String) async throws -> String { try await cluster.psql(name, text) }
}

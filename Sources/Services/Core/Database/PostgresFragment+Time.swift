import Postgres

extension PostgresFragment {
    /// The time, as the columns of the services hold it; within a transaction it goes on.
    public static let now: PostgresFragment = "clock_timestamp() AT TIME ZONE 'utc'"

    /// The time of a change of a row that was changed at `column` before: now, and later than that. So the newer of two
    /// events about it is told by their times (services.md 5.3).
    public static func later(than column: StaticString) -> PostgresFragment {
        PostgresFragment(unsafeSQL: "GREATEST(\(now.sql), \(column) + interval '1 microsecond')")
    }
}

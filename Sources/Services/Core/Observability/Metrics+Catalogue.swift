extension Metrics.Metric {
    /// Requests by method, route (the template) and status.
    public static let requests = Self("http_requests_total", .counter, "Requests answered.")
    /// How long requests took.
    public static let requestDuration = Self(
        "http_request_duration_seconds", .histogram, "Time from the request's head to its answer.",
        bounds: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5])
    /// Round trips of SQL by route: tests hold that it does not grow with the data.
    public static let requestStatements = Self(
        "http_request_sql_statements", .histogram, "SQL statements of a request, BEGIN and COMMIT included.",
        bounds: [1, 2, 4, 8, 16])
    /// Age of the oldest event that the broker does not have.
    public static let outboxLag = Self(
        "outbox_lag_seconds", .gauge, "Age of the oldest event that is not published.")
    /// Events that wait to be published.
    public static let outboxDepth = Self("outbox_depth", .gauge, "Events that are not published.")
    /// Events that the broker has acknowledged.
    public static let published = Self("outbox_published_total", .counter, "Events published.")
    /// Publishes that failed; each is tried again.
    public static let publishFailures = Self("outbox_failures_total", .counter, "Publishes that failed.")
    /// Events by channel and outcome.
    public static let events = Self("inbox_events_total", .counter, "Events received, by outcome.")
    /// Events that were handled before and came again.
    public static let duplicates = Self(
        "inbox_duplicates_total", .counter, "Events that were handled before and came again.")
    /// Events that the broker sent again.
    public static let redeliveries = Self(
        "inbox_redeliveries_total", .counter, "Messages that the broker delivered again.")
    /// Events that wait in the table `parked`.
    public static let parked = Self("inbox_parked", .gauge, "Events that wait in the table parked.")
    /// Rows of the table `dead_letters`.
    public static let deadLetters = Self("dead_letters", .gauge, "Messages in the table dead_letters.")
    /// Fetches of the issuer's keys by result.
    public static let keyRefreshes = Self("jwks_refreshes_total", .counter, "Fetches of the issuer's keys.")
}

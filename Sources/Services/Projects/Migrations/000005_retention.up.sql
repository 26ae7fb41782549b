-- What is looked for when old messages are cleaned up.
CREATE INDEX outbox_payloads ON outbox (published_at) WHERE payload <> '';
CREATE INDEX inbox_handled ON inbox USING brin (handled_at);

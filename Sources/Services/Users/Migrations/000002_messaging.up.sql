-- Events go out and come in within the transaction of the change (outbox, inbox).
CREATE TABLE outbox (
  seq BIGSERIAL PRIMARY KEY, event_id VARCHAR(36) NOT NULL UNIQUE, channel VARCHAR(255) NOT NULL,
  payload BYTEA NOT NULL, created_at TIMESTAMP WITHOUT TIME ZONE DEFAULT (NOW() AT TIME ZONE 'utc'), published_at TIMESTAMP WITHOUT TIME ZONE,
  attempts INT NOT NULL DEFAULT 0, last_error TEXT);
CREATE INDEX outbox_unpublished ON outbox (seq) WHERE published_at IS NULL;
CREATE TABLE inbox (
  consumer VARCHAR(64), event_id VARCHAR(36), handled_at TIMESTAMP WITHOUT TIME ZONE DEFAULT (NOW() AT TIME ZONE 'utc'), PRIMARY KEY (consumer, event_id));
CREATE TABLE tombstones (
  kind VARCHAR(32), id VARCHAR(36), deleted_at TIMESTAMP WITHOUT TIME ZONE DEFAULT (NOW() AT TIME ZONE 'utc'), PRIMARY KEY (kind, id));
CREATE TABLE parked (
  consumer VARCHAR(64), event_id VARCHAR(36), channel VARCHAR(255) NOT NULL, sequence BIGINT NOT NULL, payload BYTEA NOT NULL,
  reason TEXT NOT NULL, first_seen TIMESTAMP WITHOUT TIME ZONE DEFAULT (NOW() AT TIME ZONE 'utc'), PRIMARY KEY (consumer, event_id));
CREATE TABLE dead_letters (
  consumer VARCHAR(64), channel VARCHAR(255), sequence BIGINT, payload BYTEA NOT NULL, reason TEXT NOT NULL,
  at TIMESTAMP WITHOUT TIME ZONE DEFAULT (NOW() AT TIME ZONE 'utc'), PRIMARY KEY (consumer, channel, sequence));
-- Mail and the Auth0 calls before it, each step recorded so that a crash resumes at the step. next_attempt_at is when a
-- try begins, and the end of the lease of the try that runs; link is a password ticket, and emptied with the last state.
CREATE TABLE mail_outbox (
  seq BIGSERIAL PRIMARY KEY, recipient VARCHAR(64) NOT NULL, kind VARCHAR(32) NOT NULL, invite_id VARCHAR(36) NOT NULL,
  state VARCHAR(16) NOT NULL DEFAULT 'pending', attempts INT NOT NULL DEFAULT 0, last_error TEXT, link TEXT,
  next_attempt_at TIMESTAMP WITHOUT TIME ZONE NOT NULL DEFAULT (NOW() AT TIME ZONE 'utc'),
  created_at TIMESTAMP WITHOUT TIME ZONE DEFAULT (NOW() AT TIME ZONE 'utc'), updated_at TIMESTAMP WITHOUT TIME ZONE DEFAULT (NOW() AT TIME ZONE 'utc'));
CREATE INDEX mail_outbox_due ON mail_outbox (seq) WHERE state NOT IN ('sent', 'failed', 'withdrawn');

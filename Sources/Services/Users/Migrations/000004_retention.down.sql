DROP INDEX inbox_handled;
DROP INDEX outbox_payloads;

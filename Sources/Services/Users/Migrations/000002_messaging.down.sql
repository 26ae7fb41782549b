DROP TABLE mail_outbox;
DROP TABLE dead_letters;
DROP TABLE parked;
DROP TABLE tombstones;
DROP TABLE inbox;
DROP TABLE outbox;

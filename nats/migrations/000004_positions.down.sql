DROP TRIGGER messages_get_positions ON messages;
DROP TRIGGER messages_lose_positions ON messages;
DROP FUNCTION assign_global_position();
DROP FUNCTION forget_global_position();
DROP FUNCTION write_read_position(varchar, bigint);
-- A position beyond the old type keeps its largest value.
ALTER TABLE sub_sequence ALTER COLUMN seq TYPE INTEGER USING least(seq, 2147483647)::integer;
CREATE OR REPLACE FUNCTION write_read_position(streamName varchar, seq integer) RETURNS void LANGUAGE SQL VOLATILE AS $$
  INSERT INTO sub_sequence (subid, seq) VALUES (streamName, seq) ON CONFLICT DO NOTHING
$$;
CREATE OR REPLACE FUNCTION get_category_stream(
  category varchar, seq bigint DEFAULT 1, batch_size bigint DEFAULT 1000) RETURNS SETOF record LANGUAGE SQL VOLATILE AS $$
  SELECT * FROM (
    SELECT m.id, m.seq, m.timestamp, m.size, m.data, row_number() OVER (ORDER BY m.timestamp) AS global_position
    FROM messages m) AS messages
  WHERE messages.id IN (
      SELECT c.id FROM channels c
      WHERE c.name LIKE '%' || category || '.auth0|' || repeat('_', 24) || '%')
    AND global_position >= messages.seq
  ORDER BY messages.timestamp LIMIT batch_size
$$;
CREATE OR REPLACE FUNCTION get_stream(
  stream_name varchar, seq bigint DEFAULT 1, batch_size bigint DEFAULT 1000) RETURNS SETOF record LANGUAGE SQL VOLATILE AS $$
  SELECT * FROM (
    SELECT m.id, m.seq, m.timestamp, m.size, m.data, row_number() OVER (ORDER BY m.timestamp) AS global_position
    FROM messages m) AS messages
  WHERE messages.id IN (SELECT c.id FROM channels c WHERE c.name = stream_name)
    AND global_position >= messages.seq
  ORDER BY messages.timestamp LIMIT batch_size
$$;
DROP TABLE global_positions;
DROP INDEX channels_by_name;

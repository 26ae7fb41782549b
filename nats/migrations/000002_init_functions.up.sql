-- As the original has them, defects included (the position has no effect, the first read position stays for ever);
-- 000004 puts them right.
CREATE OR REPLACE FUNCTION get_category_stream(
  category varchar, seq bigint DEFAULT 1, batch_size bigint DEFAULT 1000) RETURNS SETOF record LANGUAGE SQL AS $$
  SELECT * FROM (
    SELECT m.id, m.seq, m.timestamp, m.size, m.data, row_number() OVER (ORDER BY m.timestamp) AS global_position
    FROM messages m) AS messages
  WHERE messages.id IN (
      SELECT c.id FROM channels c
      WHERE c.name LIKE '%' || category || '.auth0|' || repeat('_', 24) || '%')
    AND global_position >= messages.seq
  ORDER BY messages.timestamp LIMIT batch_size
$$;

CREATE OR REPLACE FUNCTION get_last_read_position(sub_id varchar) RETURNS sub_sequence LANGUAGE SQL AS $$
  SELECT * FROM sub_sequence WHERE subid = sub_id
$$;

CREATE OR REPLACE FUNCTION write_read_position(streamName varchar, seq integer) RETURNS void LANGUAGE SQL AS $$
  INSERT INTO sub_sequence (subid, seq) VALUES (streamName, seq) ON CONFLICT DO NOTHING
$$;

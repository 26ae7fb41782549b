CREATE OR REPLACE FUNCTION get_stream(
  stream_name varchar, seq bigint DEFAULT 1, batch_size bigint DEFAULT 1000) RETURNS SETOF record LANGUAGE SQL AS $$
  SELECT * FROM (
    SELECT m.id, m.seq, m.timestamp, m.size, m.data, row_number() OVER (ORDER BY m.timestamp) AS global_position
    FROM messages m) AS messages
  WHERE messages.id IN (SELECT c.id FROM channels c WHERE c.name = stream_name)
    AND global_position >= messages.seq
  ORDER BY messages.timestamp LIMIT batch_size
$$;

DROP FUNCTION IF EXISTS get_stream(varchar, bigint, bigint);

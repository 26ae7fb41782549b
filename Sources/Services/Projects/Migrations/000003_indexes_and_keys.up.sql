-- Of several memberships of one user in one team the strongest role stays, then the oldest.
DELETE FROM memberships m USING (
  SELECT membership_id, row_number() OVER (
    PARTITION BY user_id, team_id ORDER BY role NULLS LAST, created_at NULLS LAST, membership_id) AS place
  FROM memberships) ranked
WHERE ranked.membership_id = m.membership_id AND ranked.place > 1;
CREATE UNIQUE INDEX memberships_user_team ON memberships (user_id, team_id);
CREATE INDEX memberships_team ON memberships (team_id);
CREATE INDEX projects_user ON projects (user_id);
CREATE INDEX projects_team ON projects (team_id);
CREATE INDEX columns_project ON columns (project_id);
CREATE INDEX tasks_project ON tasks (project_id);

-- Tasks are numbered within their project, in the order in which they came.
UPDATE tasks t SET seq = numbered.place FROM (
  SELECT task_id, row_number() OVER (PARTITION BY project_id ORDER BY seq, created_at, task_id) AS place
  FROM tasks) numbered
WHERE numbered.task_id = t.task_id;
CREATE UNIQUE INDEX tasks_project_seq ON tasks (project_id, seq);

ALTER TABLE columns ALTER COLUMN column_name TYPE VARCHAR(12);
UPDATE columns c SET column_name = 'column-' || (1000 + ranked.place) FROM (
  SELECT column_id, row_number() OVER (PARTITION BY project_id, column_name ORDER BY created_at, column_id) AS copy,
    row_number() OVER (PARTITION BY project_id ORDER BY created_at, column_id) AS place
  FROM columns) ranked
WHERE ranked.column_id = c.column_id AND ranked.copy > 1;
CREATE UNIQUE INDEX columns_project_name ON columns (project_id, column_name);

-- A number once given as a key or as a sequence is not given again.
ALTER TABLE projects ADD next_task_seq INT NOT NULL DEFAULT 1;
UPDATE projects p SET next_task_seq = highest.number + 1 FROM (
  SELECT project_id, max(greatest(seq, coalesce(substring(key FROM '-([0-9]{1,8})$')::int, 0))) AS number
  FROM tasks GROUP BY project_id) highest
WHERE highest.project_id = p.project_id;

ALTER TABLE projects ADD team_updated_at TIMESTAMP WITHOUT TIME ZONE;
UPDATE projects SET team_updated_at = created_at;

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['projects', 'columns', 'tasks', 'comments', 'memberships'] LOOP
    EXECUTE format('UPDATE %I SET created_at = coalesce(created_at, updated_at, now() AT TIME ZONE ''utc''),
      updated_at = coalesce(updated_at, created_at, now() AT TIME ZONE ''utc'')
      WHERE created_at IS NULL OR updated_at IS NULL', name);
    EXECUTE format('ALTER TABLE %I ALTER created_at SET NOT NULL, ALTER updated_at SET NOT NULL', name);
  END LOOP;
END $$;

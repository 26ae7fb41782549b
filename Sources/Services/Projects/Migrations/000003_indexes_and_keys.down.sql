DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['projects', 'columns', 'tasks', 'comments', 'memberships'] LOOP
    EXECUTE format('ALTER TABLE %I ALTER created_at DROP NOT NULL, ALTER updated_at DROP NOT NULL', name);
  END LOOP;
END $$;
ALTER TABLE projects DROP team_updated_at;
ALTER TABLE projects DROP next_task_seq;
DROP INDEX columns_project_name;
-- Names that the old width cannot hold are cut.
ALTER TABLE columns ALTER COLUMN column_name TYPE VARCHAR(8) USING left(column_name, 8);
DROP INDEX tasks_project_seq;
DROP INDEX tasks_project;
DROP INDEX columns_project;
DROP INDEX projects_team;
DROP INDEX projects_user;
DROP INDEX memberships_team;
DROP INDEX memberships_user_team;

-- NOT VALID: copies whose owner is not here stay.
ALTER TABLE projects ADD CONSTRAINT projects_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (user_id) NOT VALID;
DROP INDEX projects_team;
ALTER TABLE projects DROP team_updated_at;
DROP INDEX invites_user;
DROP INDEX invites_undecided;
ALTER TABLE invites DROP declined_at;
DROP INDEX memberships_team;
DROP INDEX memberships_user_team;
DROP INDEX users_email;
ALTER TABLE invites ALTER read DROP NOT NULL, ALTER accepted DROP NOT NULL, ALTER expiration DROP NOT NULL;
ALTER TABLE users ALTER email_verified DROP NOT NULL;
ALTER TABLE memberships ALTER role DROP NOT NULL;
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['users', 'teams', 'memberships', 'invites', 'projects'] LOOP
    EXECUTE format('ALTER TABLE %I ALTER created_at DROP NOT NULL, ALTER updated_at DROP NOT NULL', name);
  END LOOP;
END $$;

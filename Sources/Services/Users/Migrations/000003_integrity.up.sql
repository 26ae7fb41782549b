-- Two accounts with one address cannot be merged by a script: say which, and stop.
DO $$
DECLARE addresses text;
BEGIN
  SELECT string_agg(address, ', ' ORDER BY address) INTO addresses FROM (
    SELECT lower(email) || ' (' || string_agg(user_id, ', ' ORDER BY user_id) || ')' AS address
    FROM users GROUP BY lower(email) HAVING count(*) > 1) doubled;
  IF addresses IS NOT NULL THEN
    RAISE 'several users have the same e-mail address: %', addresses
      USING HINT = 'Merge or rename these users, then run the migration again.';
  END IF;
END $$;
CREATE UNIQUE INDEX users_email ON users (lower(email));

-- Of several memberships of one user in one team the strongest role stays, then the oldest.
DELETE FROM memberships m USING (
  SELECT membership_id, row_number() OVER (
    PARTITION BY user_id, team_id ORDER BY role NULLS LAST, created_at NULLS LAST, membership_id) AS place
  FROM memberships) ranked
WHERE ranked.membership_id = m.membership_id AND ranked.place > 1;
CREATE UNIQUE INDEX memberships_user_team ON memberships (user_id, team_id);
CREATE INDEX memberships_team ON memberships (team_id);

-- An invite is undecided while it is neither accepted nor declined; the newest of several stays.
ALTER TABLE invites ADD declined_at TIMESTAMP WITHOUT TIME ZONE;
DELETE FROM invites i USING (
  SELECT invite_id, row_number() OVER (
    PARTITION BY user_id, team_id ORDER BY created_at DESC NULLS LAST, invite_id) AS place
  FROM invites WHERE accepted IS NOT TRUE) ranked
WHERE ranked.invite_id = i.invite_id AND ranked.place > 1;
CREATE UNIQUE INDEX invites_undecided ON invites (user_id, team_id)
  WHERE accepted IS NOT TRUE AND declined_at IS NULL;
CREATE INDEX invites_user ON invites (user_id);

ALTER TABLE projects ADD team_updated_at TIMESTAMP WITHOUT TIME ZONE;
UPDATE projects SET team_updated_at = coalesce(created_at, updated_at, now() AT TIME ZONE 'utc');
ALTER TABLE projects ALTER team_updated_at SET NOT NULL;
CREATE INDEX projects_team ON projects (team_id);
-- The copy must not be lost because its owner's row is late.
ALTER TABLE projects DROP CONSTRAINT projects_user_id_fkey;

-- The original declared these nullable and always filled them; from here on they can be relied upon.
UPDATE memberships SET role = 'viewer' WHERE role IS NULL;
ALTER TABLE memberships ALTER role SET NOT NULL;
UPDATE users SET email_verified = FALSE WHERE email_verified IS NULL;
ALTER TABLE users ALTER email_verified SET NOT NULL;
UPDATE invites SET read = coalesce(read, FALSE), accepted = coalesce(accepted, FALSE),
  expiration = coalesce(expiration, created_at, now() AT TIME ZONE 'utc')
WHERE read IS NULL OR accepted IS NULL OR expiration IS NULL;
ALTER TABLE invites ALTER read SET NOT NULL, ALTER accepted SET NOT NULL, ALTER expiration SET NOT NULL;
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['users', 'teams', 'memberships', 'invites', 'projects'] LOOP
    EXECUTE format('UPDATE %I SET created_at = coalesce(created_at, updated_at, now() AT TIME ZONE ''utc''),
      updated_at = coalesce(updated_at, created_at, now() AT TIME ZONE ''utc'')
      WHERE created_at IS NULL OR updated_at IS NULL', name);
    EXECUTE format('ALTER TABLE %I ALTER created_at SET NOT NULL, ALTER updated_at SET NOT NULL', name);
  END LOOP;
END $$;

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
UPDATE projects SET team_updated_at = created_at;
CREATE INDEX projects_team ON projects (team_id);
-- The copy must not be lost because its owner's row is late.
ALTER TABLE projects DROP CONSTRAINT projects_user_id_fkey;

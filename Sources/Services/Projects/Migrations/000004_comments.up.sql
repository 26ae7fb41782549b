ALTER TABLE comments ADD task_id VARCHAR(36) REFERENCES tasks (task_id) ON DELETE CASCADE;
ALTER TABLE comments ALTER likes SET DEFAULT 0;
CREATE INDEX comments_task ON comments (task_id);

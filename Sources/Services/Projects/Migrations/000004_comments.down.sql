DROP INDEX comments_task;
ALTER TABLE comments ALTER likes DROP DEFAULT;
ALTER TABLE comments DROP task_id;

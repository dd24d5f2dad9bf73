DROP INDEX tasks_by_created_at;
DROP INDEX tasks_by_updated_at;
DROP INDEX tasks_by_priority;
DROP INDEX tasks_by_title;
DROP INDEX tasks_by_due_date_desc;
DROP INDEX tasks_by_status;
CREATE INDEX tasks_by_created_at ON tasks (user_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_updated_at ON tasks (user_id, updated_at, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_priority ON tasks (user_id, priority, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_title ON tasks (user_id, title, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_due_date_desc ON tasks (user_id, due_date DESC NULLS LAST, id DESC)
    WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_status ON tasks (user_id, status, created_at, id) WHERE deleted_at IS NULL;
DROP TRIGGER tasks_count_truncated ON tasks;
DROP TRIGGER tasks_count_deleted ON tasks;
DROP TRIGGER tasks_count_updated ON tasks;
DROP TRIGGER tasks_count_inserted ON tasks;
DROP FUNCTION count_tasks;
DROP TABLE task_counts;

-- How many tasks a user has of each status and priority, without deleted ones: so that a total is not
-- counted row by row. Triggers keep it, so that it is right whoever writes.
CREATE TABLE task_counts (
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    status TEXT NOT NULL,
    priority INTEGER NOT NULL,
    total INTEGER NOT NULL,
    PRIMARY KEY (user_id, status, priority)
) STRICT, WITHOUT ROWID;
INSERT INTO task_counts (user_id, status, priority, total)
SELECT user_id, status, priority, count(*) FROM tasks WHERE deleted_at IS NULL
GROUP BY user_id, status, priority;

CREATE TRIGGER tasks_count_inserted AFTER INSERT ON tasks WHEN NEW.deleted_at IS NULL BEGIN
    INSERT INTO task_counts (user_id, status, priority, total)
    VALUES (NEW.user_id, NEW.status, NEW.priority, 1)
    ON CONFLICT (user_id, status, priority) DO UPDATE SET total = total + 1;
END;
CREATE TRIGGER tasks_count_updated AFTER UPDATE OF user_id, status, priority, deleted_at ON tasks
WHEN (OLD.user_id, OLD.status, OLD.priority, OLD.deleted_at IS NULL)
    IS NOT (NEW.user_id, NEW.status, NEW.priority, NEW.deleted_at IS NULL)
BEGIN
    UPDATE task_counts SET total = total - 1
    WHERE user_id = OLD.user_id AND status = OLD.status AND priority = OLD.priority
        AND OLD.deleted_at IS NULL;
    INSERT INTO task_counts (user_id, status, priority, total)
    SELECT NEW.user_id, NEW.status, NEW.priority, 1 WHERE NEW.deleted_at IS NULL
    ON CONFLICT (user_id, status, priority) DO UPDATE SET total = total + 1;
END;
-- Where a user is deleted, the counters may be gone already.
CREATE TRIGGER tasks_count_deleted AFTER DELETE ON tasks WHEN OLD.deleted_at IS NULL BEGIN
    UPDATE task_counts SET total = total - 1
    WHERE user_id = OLD.user_id AND status = OLD.status AND priority = OLD.priority;
END;

-- What a list without due dates and categories is filtered by is now in the index of every order: a page is
-- found without a look at the table, however deep it is and however rare what passes.
DROP INDEX tasks_by_created_at;
DROP INDEX tasks_by_updated_at;
DROP INDEX tasks_by_priority;
DROP INDEX tasks_by_title;
CREATE INDEX tasks_by_created_at ON tasks (user_id, created_at, id, status, priority, deleted_at)
    WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_updated_at ON tasks (user_id, updated_at, id, status, priority, deleted_at)
    WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_priority ON tasks (user_id, priority, id, status, deleted_at)
    WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_title ON tasks (user_id, title, id, status, priority, deleted_at)
    WHERE deleted_at IS NULL;

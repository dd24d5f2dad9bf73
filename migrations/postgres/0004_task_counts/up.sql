-- How many tasks a user has of each status and priority, without deleted ones: so that a total is not
-- counted row by row. Triggers keep it, so that it is right whoever writes.
CREATE TABLE task_counts (
    user_id uuid NOT NULL,
    status task_status NOT NULL,
    priority task_priority NOT NULL,
    total bigint NOT NULL,
    CONSTRAINT task_counts_pkey PRIMARY KEY (user_id, status, priority),
    CONSTRAINT task_counts_user_id_fkey
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
    -- Leaves room for a row's next version beside it, so that the index stays as it is.
) WITH (fillfactor = 50);

-- Once for a statement: a row that is changed for each of many others in one transaction gets slow.
-- Counters are changed in the order of their keys, so that no two transactions wait for each other.
CREATE FUNCTION count_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO task_counts AS counts (user_id, status, priority, total)
        SELECT user_id, status, priority, count(*) FROM new_tasks WHERE deleted_at IS NULL
        GROUP BY user_id, status, priority ORDER BY user_id, status, priority
        ON CONFLICT (user_id, status, priority) DO UPDATE SET total = counts.total + excluded.total;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO task_counts AS counts (user_id, status, priority, total)
        SELECT user_id, status, priority, sum(change) FROM (
            SELECT user_id, status, priority, 1 AS change FROM new_tasks WHERE deleted_at IS NULL
            UNION ALL
            SELECT user_id, status, priority, -1 FROM old_tasks WHERE deleted_at IS NULL
        ) AS changes
        GROUP BY user_id, status, priority HAVING sum(change) <> 0
        ORDER BY user_id, status, priority
        ON CONFLICT (user_id, status, priority) DO UPDATE SET total = counts.total + excluded.total;
    ELSIF TG_OP = 'DELETE' THEN
        -- Inserts nothing: where a user is deleted, the counters may be gone already.
        WITH gone AS (
            SELECT user_id, status, priority, count(*) AS total FROM old_tasks WHERE deleted_at IS NULL
            GROUP BY user_id, status, priority
        ), locked AS MATERIALIZED (
            SELECT user_id, status, priority, gone.total
            FROM task_counts AS counts JOIN gone USING (user_id, status, priority)
            ORDER BY user_id, status, priority FOR NO KEY UPDATE OF counts
        )
        UPDATE task_counts AS counts SET total = counts.total - locked.total FROM locked
        WHERE counts.user_id = locked.user_id AND counts.status = locked.status
            AND counts.priority = locked.priority;
    ELSE
        DELETE FROM task_counts;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tasks_count_inserted AFTER INSERT ON tasks
    REFERENCING NEW TABLE AS new_tasks FOR EACH STATEMENT EXECUTE FUNCTION count_tasks();
CREATE TRIGGER tasks_count_updated AFTER UPDATE ON tasks
    REFERENCING OLD TABLE AS old_tasks NEW TABLE AS new_tasks
    FOR EACH STATEMENT EXECUTE FUNCTION count_tasks();
CREATE TRIGGER tasks_count_deleted AFTER DELETE ON tasks
    REFERENCING OLD TABLE AS old_tasks FOR EACH STATEMENT EXECUTE FUNCTION count_tasks();
CREATE TRIGGER tasks_count_truncated AFTER TRUNCATE ON tasks
    FOR EACH STATEMENT EXECUTE FUNCTION count_tasks();
-- To make triggers locks the table against writers, until the end: nothing is missed or counted twice.
INSERT INTO task_counts (user_id, status, priority, total)
SELECT user_id, status, priority, count(*) FROM tasks WHERE deleted_at IS NULL
GROUP BY user_id, status, priority;

-- What a list without due dates and categories is filtered by is now in the index of every order: a page is
-- found without a look at the table, however deep it is and however rare what passes.
DROP INDEX tasks_by_created_at;
DROP INDEX tasks_by_updated_at;
DROP INDEX tasks_by_priority;
DROP INDEX tasks_by_title;
DROP INDEX tasks_by_due_date_desc;
DROP INDEX tasks_by_status;
CREATE INDEX tasks_by_created_at ON tasks (user_id, created_at, id)
    INCLUDE (status, priority) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_updated_at ON tasks (user_id, updated_at, id)
    INCLUDE (status, priority) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_priority ON tasks (user_id, priority, id)
    INCLUDE (status) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_title ON tasks (user_id, title, id)
    INCLUDE (status, priority) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_due_date_desc ON tasks (user_id, due_date DESC NULLS LAST, id DESC)
    INCLUDE (status, priority) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_status ON tasks (user_id, status, created_at, id)
    INCLUDE (priority) WHERE deleted_at IS NULL;

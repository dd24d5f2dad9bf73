-- Looks at a task, as the service does to judge a change, and changes its title: all columns are written, as the
-- service does it, and the trigger finds no other status or priority to count. Variables: task.
SELECT tasks.id, tasks.user_id, tasks.title, tasks.description, tasks.status, tasks.priority, tasks.due_date, tasks.version,
       tasks.created_at, tasks.updated_at,
       ARRAY(SELECT ROW(c.id, c.user_id, c.name, c.color, c.created_at)
             FROM task_categories tc JOIN categories c ON c.id = tc.category_id
             WHERE tc.task_id = tasks.id ORDER BY c.name, c.id)
FROM tasks WHERE tasks.id = :task AND tasks.deleted_at IS NULL LIMIT 1 \gset seen_
UPDATE tasks
SET title = 'Changed', description = 'The ones on the balcony first', status = :seen_status, priority = :seen_priority, due_date = NULL,
    version = :seen_version::bigint + 1, updated_at = now()
WHERE tasks.id = :task AND tasks.deleted_at IS NULL AND tasks.version = :seen_version
RETURNING tasks.id, tasks.user_id, tasks.title, tasks.description, tasks.status, tasks.priority, tasks.due_date, tasks.version,
       tasks.created_at, tasks.updated_at,
       ARRAY(SELECT ROW(c.id, c.user_id, c.name, c.color, c.created_at)
             FROM task_categories tc JOIN categories c ON c.id = tc.category_id
             WHERE tc.task_id = tasks.id ORDER BY c.name, c.id);

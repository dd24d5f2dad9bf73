-- A page of tasks with their categories, and how many there are. Variables: owner, offset.
SELECT counted.total, tasks.id, tasks.user_id, tasks.title, tasks.description, tasks.status, tasks.priority, tasks.due_date, tasks.version,
       tasks.created_at, tasks.updated_at,
       ARRAY(SELECT ROW(c.id, c.user_id, c.name, c.color, c.created_at)
             FROM task_categories tc JOIN categories c ON c.id = tc.category_id
             WHERE tc.task_id = tasks.id ORDER BY c.name, c.id)
FROM (SELECT count(*) FROM tasks
      WHERE tasks.user_id = :owner AND tasks.deleted_at IS NULL) AS counted (total)
LEFT JOIN (SELECT tasks.* FROM tasks
           WHERE tasks.user_id = :owner AND tasks.deleted_at IS NULL
           ORDER BY tasks.created_at DESC, tasks.id DESC LIMIT 20 OFFSET :offset) AS tasks ON TRUE
ORDER BY tasks.created_at DESC, tasks.id DESC;

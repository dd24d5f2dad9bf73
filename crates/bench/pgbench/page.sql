-- A page of tasks with their categories, and how many there are. Variables: owner, limit, offset.
SELECT counted.total, tasks.id, tasks.user_id, tasks.title, tasks.description, tasks.status, tasks.priority, tasks.due_date, tasks.version,
       tasks.created_at, tasks.updated_at,
       ARRAY(SELECT ROW(c.id, c.user_id, c.name, c.color, c.created_at)
             FROM task_categories tc JOIN categories c ON c.id = tc.category_id
             WHERE tc.task_id = tasks.id ORDER BY c.name, c.id)
FROM (SELECT tasks.*
      FROM (SELECT tasks.id FROM tasks
            WHERE tasks.user_id = :owner AND tasks.deleted_at IS NULL
            ORDER BY tasks.created_at DESC, tasks.id DESC LIMIT :limit OFFSET :offset) AS page
      CROSS JOIN LATERAL (SELECT * FROM tasks WHERE tasks.id = page.id OFFSET 0) AS tasks) AS tasks
RIGHT JOIN (SELECT coalesce(sum(task_counts.total), 0)::bigint FROM task_counts
            WHERE task_counts.user_id = :owner) AS counted (total) ON TRUE
ORDER BY tasks.created_at DESC, tasks.id DESC;

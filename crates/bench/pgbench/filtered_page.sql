-- A page of those with a status and a priority, by due date. Variables: owner, status, priority, limit, offset.
SELECT counted.total, tasks.id, tasks.user_id, tasks.title, tasks.description, tasks.status, tasks.priority, tasks.due_date, tasks.version,
       tasks.created_at, tasks.updated_at,
       ARRAY(SELECT ROW(c.id, c.user_id, c.name, c.color, c.created_at)
             FROM task_categories tc JOIN categories c ON c.id = tc.category_id
             WHERE tc.task_id = tasks.id ORDER BY c.name, c.id)
FROM (SELECT tasks.*
      FROM (SELECT tasks.id FROM tasks
            WHERE tasks.user_id = :owner AND tasks.deleted_at IS NULL
                AND tasks.status = :status AND tasks.priority = :priority
            ORDER BY tasks.due_date ASC NULLS LAST, tasks.id ASC LIMIT :limit OFFSET :offset) AS page
      CROSS JOIN LATERAL (SELECT * FROM tasks WHERE tasks.id = page.id OFFSET 0) AS tasks) AS tasks
RIGHT JOIN (SELECT coalesce(sum(task_counts.total), 0)::bigint FROM task_counts
            WHERE task_counts.user_id = :owner
                AND task_counts.status = :status AND task_counts.priority = :priority) AS counted (total) ON TRUE
ORDER BY tasks.due_date ASC NULLS LAST, tasks.id ASC;

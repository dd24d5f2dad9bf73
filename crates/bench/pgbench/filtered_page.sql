-- A page of those with a status and a priority, by due date. Variables: owner.
SELECT counted.total, tasks.id, tasks.user_id, tasks.title, tasks.description, tasks.status, tasks.priority, tasks.due_date, tasks.version,
       tasks.created_at, tasks.updated_at,
       ARRAY(SELECT ROW(c.id, c.user_id, c.name, c.color, c.created_at)
             FROM task_categories tc JOIN categories c ON c.id = tc.category_id
             WHERE tc.task_id = tasks.id ORDER BY c.name, c.id)
FROM (SELECT count(*) FROM tasks
      WHERE tasks.user_id = :owner AND tasks.deleted_at IS NULL
        AND tasks.status = 'pending' AND tasks.priority = 'high') AS counted (total)
LEFT JOIN (SELECT tasks.* FROM tasks
           WHERE tasks.user_id = :owner AND tasks.deleted_at IS NULL
        AND tasks.status = 'pending' AND tasks.priority = 'high'
           ORDER BY tasks.due_date ASC NULLS LAST, tasks.id ASC LIMIT 20 OFFSET 0) AS tasks ON TRUE
ORDER BY tasks.due_date ASC NULLS LAST, tasks.id ASC;

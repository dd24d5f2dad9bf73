-- The same as postgres.sql. The temporary table `seed` has one row: number, tasks, password_hash.
INSERT INTO users (id, email, password_hash, full_name, is_active, created_at, updated_at)
SELECT unhex(printf('00000000000070008000%012x', number)), 'user' || number || '@example.com',
       password_hash, 'User ' || number, 1, 1767225600000000, 1767225600000000
FROM seed;
INSERT INTO categories (id, user_id, name, color, created_at)
SELECT unhex(printf('00000000000070009%03x%012x', number, n)),
       unhex(printf('00000000000070008000%012x', number)),
       'Category ' || n, '#6366F1', 1767225600000000
FROM seed, (WITH RECURSIVE counting (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counting WHERE n < 9) SELECT n FROM counting);
INSERT INTO tasks (id, user_id, title, description, status, priority, due_date, version, created_at, updated_at)
SELECT unhex(printf('00000000000070008%03x%012x', number, n)),
       unhex(printf('00000000000070008000%012x', number)),
       'Task ' || n || ' of somebody with much to do',
       'What it is about, in as many words as people write: who asked for it, what it takes, when it is done.',
       CASE n % 4 WHEN 2 THEN 'in_progress' WHEN 3 THEN 'completed' ELSE 'pending' END,
       1 + n / 4 % 3,
       -- One of ten has none.
       CASE WHEN n % 10 > 0 THEN 1798761600000000 + n * 7919 % 100000 * 60000000 END,
       1, 1767225600000000 + n * 1000000, 1767225600000000 + n * 1000000
FROM seed, (WITH RECURSIVE counting (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counting, seed WHERE n < tasks) SELECT n FROM counting);
-- None, one or two each.
INSERT INTO task_categories (task_id, category_id)
SELECT unhex(printf('00000000000070008%03x%012x', number, n)),
       unhex(printf('00000000000070009%03x%012x', number, (n + k * (1 + n % 5)) % 10))
FROM seed,
     (WITH RECURSIVE counting (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counting, seed WHERE n < tasks) SELECT n FROM counting),
     (SELECT 0 AS k UNION ALL SELECT 1)
WHERE k < n % 3;
-- Twenty sessions that have gone on for a while.
INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, ip_address)
SELECT unhex(printf('00000000000070008%03x%012x', number, n)),
       unhex(printf('00000000000070008000%012x', number)),
       1767225600000000, 1767225600000000, 4102444800000000, '127.0.0.1'
FROM seed, (WITH RECURSIVE counting (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counting WHERE n < 20) SELECT n FROM counting);
INSERT INTO refresh_tokens (id, user_id, session_id, token_hash, expires_at, revoked_at, created_at)
SELECT unhex(printf('00000000000070008%03x%012x', number, n * 1000 + k)),
       unhex(printf('00000000000070008000%012x', number)),
       unhex(printf('00000000000070008%03x%012x', number, n)),
       -- As random as a digest.
       lower(hex(randomblob(32))), 4102444800000000, 1767225600000000, 1767225600000000
FROM seed,
     (WITH RECURSIVE counting (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counting WHERE n < 20) SELECT n FROM counting),
     (WITH RECURSIVE counting (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM counting WHERE k < 20) SELECT k FROM counting);

-- A user with tasks and ten categories. psql's variables: number, tasks, password_hash.
-- Ids are made of numbers, so that whoever knows the numbers knows the ids: see src/seed.rs.
BEGIN;
INSERT INTO users (id, email, password_hash, full_name, is_active, created_at, updated_at)
VALUES (('00000000-0000-7000-8000-' || lpad(to_hex(:number), 12, '0'))::uuid, 'user' || :number || '@example.com',
        :'password_hash', 'User ' || :number, TRUE, '2026-01-01Z', '2026-01-01Z');
INSERT INTO categories (id, user_id, name, color, created_at)
SELECT ('00000000-0000-7000-9' || lpad(to_hex(:number), 3, '0') || '-' || lpad(to_hex(n), 12, '0'))::uuid,
       ('00000000-0000-7000-8000-' || lpad(to_hex(:number), 12, '0'))::uuid,
       'Category ' || n, '#6366F1', '2026-01-01Z'
FROM generate_series(0, 9) AS n;
INSERT INTO tasks (id, user_id, title, description, status, priority, due_date, version, created_at, updated_at)
SELECT ('00000000-0000-7000-8' || lpad(to_hex(:number), 3, '0') || '-' || lpad(to_hex(n), 12, '0'))::uuid,
       ('00000000-0000-7000-8000-' || lpad(to_hex(:number), 12, '0'))::uuid,
       'Task ' || n || ' of somebody with much to do',
       'What it is about, in as many words as people write: who asked for it, what it takes, when it is done.',
       (ARRAY['pending', 'pending', 'in_progress', 'completed'])[1 + n % 4]::task_status,
       (ARRAY['low', 'medium', 'high'])[1 + n / 4 % 3]::task_priority,
       -- One of ten has none.
       CASE WHEN n % 10 > 0 THEN timestamptz '2027-01-01Z' + n * 7919 % 100000 * interval '1 minute' END,
       1, timestamptz '2026-01-01Z' + n * interval '1 second', timestamptz '2026-01-01Z' + n * interval '1 second'
FROM generate_series(1, :tasks) AS n;
-- None, one or two each.
INSERT INTO task_categories (task_id, category_id)
SELECT ('00000000-0000-7000-8' || lpad(to_hex(:number), 3, '0') || '-' || lpad(to_hex(n), 12, '0'))::uuid,
       ('00000000-0000-7000-9' || lpad(to_hex(:number), 3, '0') || '-' || lpad(to_hex((n + k * (1 + n % 5)) % 10), 12, '0'))::uuid
FROM generate_series(1, :tasks) AS n CROSS JOIN generate_series(0, n % 3 - 1) AS k;
-- Twenty sessions that have gone on for a while: with a handful of tokens Postgres would read all of them.
INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, ip_address)
SELECT ('00000000-0000-7000-8' || lpad(to_hex(:number), 3, '0') || '-' || lpad(to_hex(n), 12, '0'))::uuid,
       ('00000000-0000-7000-8000-' || lpad(to_hex(:number), 12, '0'))::uuid,
       '2026-01-01Z', '2026-01-01Z', '2100-01-01Z', '127.0.0.1'
FROM generate_series(1, 20) AS n;
INSERT INTO refresh_tokens (id, user_id, session_id, token_hash, expires_at, revoked_at, created_at)
SELECT ('00000000-0000-7000-8' || lpad(to_hex(:number), 3, '0') || '-' || lpad(to_hex(n * 1000 + k), 12, '0'))::uuid,
       ('00000000-0000-7000-8000-' || lpad(to_hex(:number), 12, '0'))::uuid,
       ('00000000-0000-7000-8' || lpad(to_hex(:number), 3, '0') || '-' || lpad(to_hex(n), 12, '0'))::uuid,
       encode(sha256(format('%s %s %s', :number, n, k)::bytea), 'hex'), '2100-01-01Z', '2026-01-01Z', '2026-01-01Z'
FROM generate_series(1, 20) AS n CROSS JOIN generate_series(1, 20) AS k;
COMMIT;

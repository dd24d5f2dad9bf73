-- A new task; the trigger counts it. Its id is sorted by age, as those of the service are. Variables: owner, step.
\set step :step + 1
INSERT INTO tasks (id, user_id, title, description, status, priority, due_date, version, created_at, updated_at)
VALUES (('00000000-' || lpad(to_hex(:client_id::integer), 4, '0') || '-7000-b000-' || lpad(to_hex(:step::bigint), 12, '0'))::uuid, :owner,
        'Water the plants', 'The ones on the balcony first', 'pending', 'high', NULL, 1, now(), now());

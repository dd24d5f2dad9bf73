-- For psql, before refresh.sql: a session for each client, with a refresh token. Variables: clients, step, user (the first).
INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, ip_address)
SELECT ('00000000-0000-7000-b' || lpad(to_hex(n), 3, '0') || '-' || lpad(to_hex(:step), 12, '0'))::uuid,
       ('00000000-0000-7000-8000-' || lpad(to_hex(:user + n), 12, '0'))::uuid, now(), now(), '2100-01-01Z', '127.0.0.1'
FROM generate_series(0, :clients - 1) AS n;
INSERT INTO refresh_tokens (id, user_id, session_id, token_hash, expires_at, created_at)
SELECT gen_random_uuid(), ('00000000-0000-7000-8000-' || lpad(to_hex(:user + n), 12, '0'))::uuid,
       ('00000000-0000-7000-b' || lpad(to_hex(n), 3, '0') || '-' || lpad(to_hex(:step), 12, '0'))::uuid,
       lpad(to_hex(n), 8, '0') || lpad(to_hex(:step), 56, '0'), '2100-01-01Z', now()
FROM generate_series(0, :clients - 1) AS n;

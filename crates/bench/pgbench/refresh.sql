-- Exchanges a refresh token that is good. Every client has a session of its own, whose tokens' digests are the steps it
-- has taken: see refresh_sessions.sql. Variables: step.
SELECT refresh_tokens.id AS token, sessions.id AS session, refresh_tokens.expires_at, refresh_tokens.revoked_at, sessions.ended_at,
       users.id, users.email, users.full_name, users.is_active, users.created_at, users.updated_at
FROM refresh_tokens
INNER JOIN (sessions INNER JOIN users ON sessions.user_id = users.id) ON refresh_tokens.session_id = sessions.id
WHERE refresh_tokens.token_hash = lpad(to_hex(:client_id::integer), 8, '0') || lpad(to_hex(:step::bigint), 56, '0')
LIMIT 1 \gset found_
\set step :step + 1
WITH locked AS MATERIALIZED (
    SELECT id, user_id FROM sessions WHERE id = :found_session AND ended_at IS NULL FOR NO KEY UPDATE
), used AS (
    UPDATE refresh_tokens SET revoked_at = now() FROM locked
    WHERE refresh_tokens.id = :found_token AND refresh_tokens.session_id = locked.id AND refresh_tokens.revoked_at IS NULL
    RETURNING locked.id, locked.user_id
), successor AS (
    INSERT INTO refresh_tokens (id, user_id, session_id, token_hash, expires_at, created_at)
    SELECT ('00000000-' || lpad(to_hex(:client_id::integer), 4, '0') || '-7000-b000-' || lpad(to_hex(:step::bigint), 12, '0'))::uuid,
           used.user_id, used.id, lpad(to_hex(:client_id::integer), 8, '0') || lpad(to_hex(:step::bigint), 56, '0'),
           '2100-01-01Z'::timestamptz, now()
    FROM used
)
UPDATE sessions SET last_used_at = now(), expires_at = '2100-01-01Z', user_agent = NULL, ip_address = '127.0.0.1'
FROM used WHERE sessions.id = used.id;

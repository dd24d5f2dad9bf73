-- The tokens of mails. The program finds an account by a token's digest alone.
ALTER TABLE users ADD COLUMN password_reset_token_hash TEXT;
ALTER TABLE users ADD COLUMN password_reset_token_expires_at INTEGER;
CREATE UNIQUE INDEX users_by_verification_token ON users (verification_token_hash)
    WHERE verification_token_hash IS NOT NULL;
CREATE UNIQUE INDEX users_by_password_reset_token ON users (password_reset_token_hash)
    WHERE password_reset_token_hash IS NOT NULL;

-- Mails that wait. Their tokens are made from their ids, so that no store has to hold one. A recipient
-- may be nobody's address: whether it is somebody's is found out when the mail is delivered.
CREATE TABLE outbox (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind TEXT NOT NULL CHECK (kind IN ('verify_email', 'reset_password')),
    recipient TEXT NOT NULL,
    token_hash TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    -- When it was given up.
    dead_at INTEGER
) STRICT;
CREATE INDEX outbox_by_due_at ON outbox (due_at, id) WHERE dead_at IS NULL;
CREATE INDEX outbox_by_recipient ON outbox (recipient, kind, created_at, id);

-- However many sessions of a user have ended, those that have not are found without them.
-- The constant in it has SQLite prefer it to `sessions_by_user`.
CREATE INDEX open_sessions_by_user ON sessions (user_id, ended_at, created_at, id)
    WHERE ended_at IS NULL;

-- What housekeeping finds its rows by.
CREATE INDEX outbox_by_dead_at ON outbox (dead_at) WHERE dead_at IS NOT NULL;
CREATE INDEX sessions_by_ended_at ON sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX sessions_by_expires_at ON sessions (expires_at);
CREATE INDEX refresh_tokens_by_expires_at ON refresh_tokens (expires_at);
CREATE INDEX users_by_verification_token_expires_at ON users (verification_token_expires_at)
    WHERE verification_token_expires_at IS NOT NULL;
CREATE INDEX users_by_password_reset_token_expires_at ON users (password_reset_token_expires_at)
    WHERE password_reset_token_expires_at IS NOT NULL;
CREATE INDEX tasks_by_deleted_at ON tasks (deleted_at) WHERE deleted_at IS NOT NULL;

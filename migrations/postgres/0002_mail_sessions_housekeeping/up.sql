-- The tokens of mails. The program finds an account by a token's digest alone.
ALTER TABLE users
    ADD COLUMN password_reset_token_hash varchar(64),
    ADD COLUMN password_reset_token_expires_at timestamptz;
CREATE UNIQUE INDEX users_by_verification_token ON users (verification_token_hash)
    WHERE verification_token_hash IS NOT NULL;
CREATE UNIQUE INDEX users_by_password_reset_token ON users (password_reset_token_hash)
    WHERE password_reset_token_hash IS NOT NULL;

CREATE TYPE mail_kind AS ENUM ('verify_email', 'reset_password');

-- Mails that wait. Their tokens are made from their ids, so that no store has to hold one. A recipient
-- may be nobody's address: whether it is somebody's is found out when the mail is delivered.
CREATE TABLE outbox (
    id uuid NOT NULL,
    kind mail_kind NOT NULL,
    recipient varchar(254) COLLATE "C" NOT NULL,
    token_hash varchar(64) NOT NULL,
    created_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    -- When it was given up.
    dead_at timestamptz,
    CONSTRAINT outbox_pkey PRIMARY KEY (id),
    CONSTRAINT outbox_attempts_check CHECK (attempts >= 0)
);
CREATE INDEX outbox_by_due_at ON outbox (due_at, id) WHERE dead_at IS NULL;
CREATE INDEX outbox_by_recipient ON outbox (recipient, kind, created_at, id);

-- However many sessions of a user have ended, those that have not are found without them.
CREATE INDEX open_sessions_by_user ON sessions (user_id, created_at, id) WHERE ended_at IS NULL;

-- What housekeeping finds its rows by.
CREATE INDEX outbox_by_dead_at ON outbox (dead_at) WHERE dead_at IS NOT NULL;
CREATE INDEX sessions_by_ended_at ON sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX sessions_by_expires_at ON sessions (expires_at);
CREATE INDEX refresh_tokens_by_expires_at ON refresh_tokens (expires_at);
CREATE INDEX users_by_verification_token_expires_at ON users (verification_token_expires_at)
    WHERE verification_token_expires_at IS NOT NULL;
CREATE INDEX users_by_password_reset_token_expires_at ON users (password_reset_token_expires_at)
    WHERE password_reset_token_expires_at IS NOT NULL;
CREATE INDEX tasks_by_deleted_at ON tasks (deleted_at, id) WHERE deleted_at IS NOT NULL;

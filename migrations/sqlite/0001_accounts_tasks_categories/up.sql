-- Ids are UUIDs as 16 bytes. Times are microseconds since 1970 in UTC. Text sorts by code point
-- (BINARY, the default collation). Table and column names stand in the messages by which the
-- program recognises broken constraints.

CREATE TABLE users (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- In lower case, so that it is unique without regard to case.
    email TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    full_name TEXT NOT NULL CHECK (length(full_name) <= 200),
    is_active INTEGER NOT NULL DEFAULT 0 CHECK (is_active IN (0, 1)),
    failed_login_attempts INTEGER NOT NULL DEFAULT 0 CHECK (failed_login_attempts >= 0),
    locked_until INTEGER,
    verification_token_hash TEXT,
    verification_token_expires_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- A login. It lives on through the refresh tokens that descend from it.
CREATE TABLE sessions (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at INTEGER,
    user_agent TEXT,
    ip_address TEXT NOT NULL
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user_id, created_at);

CREATE TABLE refresh_tokens (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    session_id BLOB NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    token_hash TEXT NOT NULL UNIQUE,
    expires_at INTEGER NOT NULL,
    -- When it was exchanged for its successor.
    revoked_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX refresh_tokens_by_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);

-- Its one row is written where a failed login has nothing to count, so that the commit costs the
-- same as where it has.
CREATE TABLE uncounted_logins (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    touched INTEGER NOT NULL
) STRICT;
INSERT INTO uncounted_logins (id, touched) VALUES (1, 0);

CREATE TABLE tasks (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    title TEXT NOT NULL CHECK (length(title) <= 200),
    description TEXT,
    status TEXT NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'in_progress', 'completed')),
    -- The rank, so that it sorts: 1 low, 2 medium, 3 high.
    priority INTEGER NOT NULL DEFAULT 2 CHECK (priority IN (1, 2, 3)),
    due_date INTEGER,
    -- A deleted task keeps its row.
    deleted_at INTEGER,
    version INTEGER NOT NULL DEFAULT 1 CHECK (version >= 1),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
-- For the foreign key: deletes a user's deleted tasks too, which the partial indexes leave out.
CREATE INDEX tasks_by_user ON tasks (user_id);
-- One for each order of the list, ties by id.
CREATE INDEX tasks_by_created_at ON tasks (user_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_updated_at ON tasks (user_id, updated_at, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_priority ON tasks (user_id, priority, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_title ON tasks (user_id, title, id) WHERE deleted_at IS NULL;
-- This one also has every column that the list filters by, so that counting reads no table row.
CREATE INDEX tasks_by_due_date ON tasks (user_id, due_date, id, status, priority, deleted_at)
    WHERE deleted_at IS NULL;

CREATE TABLE categories (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL CHECK (length(name) <= 50),
    color TEXT NOT NULL CHECK (length(color) = 7),
    created_at INTEGER NOT NULL,
    UNIQUE (user_id, name)
) STRICT;

CREATE TABLE task_categories (
    task_id BLOB NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    category_id BLOB NOT NULL REFERENCES categories (id) ON DELETE CASCADE,
    PRIMARY KEY (task_id, category_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX task_categories_by_category ON task_categories (category_id);

-- Text that is sorted, sorts by code point (COLLATE "C"), whatever the database's own collation is.
-- The program recognises broken constraints by their names: a name is changed there too.

CREATE TYPE task_status AS ENUM ('pending', 'in_progress', 'completed');
-- In the order of their ranks, by which they sort.
CREATE TYPE task_priority AS ENUM ('low', 'medium', 'high');

CREATE TABLE users (
    id uuid NOT NULL,
    -- In lower case, so that it is unique without regard to case.
    email varchar(254) COLLATE "C" NOT NULL,
    password_hash varchar(255) NOT NULL,
    full_name varchar(200) NOT NULL,
    is_active boolean NOT NULL DEFAULT FALSE,
    failed_login_attempts integer NOT NULL DEFAULT 0,
    locked_until timestamptz,
    verification_token_hash varchar(64),
    verification_token_expires_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_key UNIQUE (email),
    CONSTRAINT users_failed_login_attempts_check CHECK (failed_login_attempts >= 0)
);

-- A login. It lives on through the refresh tokens that descend from it.
CREATE TABLE sessions (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    user_agent varchar(256),
    ip_address varchar(45) NOT NULL,
    CONSTRAINT sessions_pkey PRIMARY KEY (id),
    CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX sessions_by_user ON sessions (user_id, created_at);

CREATE TABLE refresh_tokens (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    session_id uuid NOT NULL,
    token_hash varchar(64) COLLATE "C" NOT NULL,
    expires_at timestamptz NOT NULL,
    -- When it was exchanged for its successor.
    revoked_at timestamptz,
    created_at timestamptz NOT NULL,
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (id),
    CONSTRAINT refresh_tokens_token_hash_key UNIQUE (token_hash),
    CONSTRAINT refresh_tokens_user_id_fkey
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT refresh_tokens_session_id_fkey
        FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_by_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);

CREATE TABLE tasks (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    title varchar(200) COLLATE "C" NOT NULL,
    description varchar(2000),
    status task_status NOT NULL DEFAULT 'pending',
    priority task_priority NOT NULL DEFAULT 'medium',
    due_date timestamptz,
    -- A deleted task keeps its row.
    deleted_at timestamptz,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT tasks_pkey PRIMARY KEY (id),
    CONSTRAINT tasks_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT tasks_version_check CHECK (version >= 1)
);
-- For the foreign key: deletes a user's deleted tasks too, which the partial indexes leave out.
CREATE INDEX tasks_by_user ON tasks (user_id);
-- One for each order of the list, ties by id. They are read in either direction.
CREATE INDEX tasks_by_created_at ON tasks (user_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_updated_at ON tasks (user_id, updated_at, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_priority ON tasks (user_id, priority, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_title ON tasks (user_id, title, id) WHERE deleted_at IS NULL;
-- But NULLs come last in both directions here, so that each has its own. The first also has every
-- column that the list filters by, so that counting reads no table row.
CREATE INDEX tasks_by_due_date ON tasks (user_id, due_date ASC NULLS LAST, id)
    INCLUDE (status, priority) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_due_date_desc ON tasks (user_id, due_date DESC NULLS LAST, id DESC)
    WHERE deleted_at IS NULL;
-- The filter that is used most, in the order that is used most.
CREATE INDEX tasks_by_status ON tasks (user_id, status, created_at, id) WHERE deleted_at IS NULL;

CREATE TABLE categories (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    name varchar(50) COLLATE "C" NOT NULL,
    color varchar(7) NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT categories_pkey PRIMARY KEY (id),
    CONSTRAINT categories_user_id_fkey
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT categories_user_id_name_key UNIQUE (user_id, name)
);

CREATE TABLE task_categories (
    task_id uuid NOT NULL,
    category_id uuid NOT NULL,
    CONSTRAINT task_categories_pkey PRIMARY KEY (task_id, category_id),
    CONSTRAINT task_categories_task_id_fkey
        FOREIGN KEY (task_id) REFERENCES tasks (id) ON DELETE CASCADE,
    CONSTRAINT task_categories_category_id_fkey
        FOREIGN KEY (category_id) REFERENCES categories (id) ON DELETE CASCADE
);
CREATE INDEX task_categories_by_category ON task_categories (category_id, task_id);

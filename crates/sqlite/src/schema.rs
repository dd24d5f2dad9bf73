//! The tables, as the migrations leave them.

diesel::table! {
    users (id) {
        id -> Binary,
        email -> Text,
        password_hash -> Text,
        full_name -> Text,
        is_active -> Bool,
        failed_login_attempts -> BigInt,
        locked_until -> Nullable<BigInt>,
        verification_token_hash -> Nullable<Text>,
        verification_token_expires_at -> Nullable<BigInt>,
        created_at -> BigInt,
        updated_at -> BigInt,
        password_reset_token_hash -> Nullable<Text>,
        password_reset_token_expires_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    sessions (id) {
        id -> Binary,
        user_id -> Binary,
        created_at -> BigInt,
        last_used_at -> BigInt,
        expires_at -> BigInt,
        ended_at -> Nullable<BigInt>,
        user_agent -> Nullable<Text>,
        ip_address -> Text,
    }
}

diesel::table! {
    refresh_tokens (id) {
        id -> Binary,
        user_id -> Binary,
        session_id -> Binary,
        token_hash -> Text,
        expires_at -> BigInt,
        revoked_at -> Nullable<BigInt>,
        created_at -> BigInt,
    }
}

diesel::table! {
    uncounted_logins (id) {
        id -> BigInt,
        touched -> BigInt,
    }
}

diesel::table! {
    outbox (id) {
        id -> Binary,
        kind -> Text,
        recipient -> Text,
        token_hash -> Text,
        created_at -> BigInt,
        due_at -> BigInt,
        attempts -> BigInt,
        dead_at -> Nullable<BigInt>,
        trace_parent -> Nullable<Text>,
    }
}

diesel::table! {
    tasks (id) {
        id -> Binary,
        user_id -> Binary,
        title -> Text,
        description -> Nullable<Text>,
        status -> Text,
        priority -> BigInt,
        due_date -> Nullable<BigInt>,
        deleted_at -> Nullable<BigInt>,
        version -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    task_counts (user_id, status, priority) {
        user_id -> Binary,
        status -> Text,
        priority -> BigInt,
        total -> BigInt,
    }
}

diesel::table! {
    categories (id) {
        id -> Binary,
        user_id -> Binary,
        name -> Text,
        color -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    task_categories (task_id, category_id) {
        task_id -> Binary,
        category_id -> Binary,
    }
}

diesel::joinable!(sessions -> users (user_id));
diesel::joinable!(refresh_tokens -> sessions (session_id));
diesel::joinable!(task_categories -> tasks (task_id));
diesel::joinable!(task_categories -> categories (category_id));

diesel::allow_tables_to_appear_in_same_query!(
    users,
    sessions,
    refresh_tokens,
    tasks,
    categories,
    task_categories,
);

diesel::table! {
    /// Kept by Diesel: which migrations are applied.
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}

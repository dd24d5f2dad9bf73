//! The tables, as the migrations leave them.

diesel::table! {
    users (id) {
        id -> Uuid,
        email -> Text,
        password_hash -> Text,
        full_name -> Text,
        is_active -> Bool,
        failed_login_attempts -> Integer,
        locked_until -> Nullable<Timestamptz>,
        verification_token_hash -> Nullable<Text>,
        verification_token_expires_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        password_reset_token_hash -> Nullable<Text>,
        password_reset_token_expires_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    sessions (id) {
        id -> Uuid,
        user_id -> Uuid,
        created_at -> Timestamptz,
        last_used_at -> Timestamptz,
        expires_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
        user_agent -> Nullable<Text>,
        ip_address -> Text,
    }
}

diesel::table! {
    refresh_tokens (id) {
        id -> Uuid,
        user_id -> Uuid,
        session_id -> Uuid,
        token_hash -> Text,
        expires_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid};
    use crate::values::{PrioritySql, TaskStatusSql};

    tasks (id) {
        id -> Uuid,
        user_id -> Uuid,
        title -> Text,
        description -> Nullable<Text>,
        status -> TaskStatusSql,
        priority -> PrioritySql,
        due_date -> Nullable<Timestamptz>,
        deleted_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Uuid};
    use crate::values::{PrioritySql, TaskStatusSql};

    task_counts (user_id, status, priority) {
        user_id -> Uuid,
        status -> TaskStatusSql,
        priority -> PrioritySql,
        total -> BigInt,
    }
}

diesel::table! {
    categories (id) {
        id -> Uuid,
        user_id -> Uuid,
        name -> Text,
        color -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    task_categories (task_id, category_id) {
        task_id -> Uuid,
        category_id -> Uuid,
    }
}

diesel::table! {
    use diesel::sql_types::{Integer, Nullable, Text, Timestamptz, Uuid};
    use crate::values::MailKindSql;

    outbox (id) {
        id -> Uuid,
        kind -> MailKindSql,
        recipient -> Text,
        token_hash -> Text,
        created_at -> Timestamptz,
        due_at -> Timestamptz,
        attempts -> Integer,
        dead_at -> Nullable<Timestamptz>,
        trace_parent -> Nullable<Text>,
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
    outbox,
);

diesel::table! {
    /// Kept by Diesel: which migrations are applied.
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}

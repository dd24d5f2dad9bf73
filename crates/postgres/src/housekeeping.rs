//! Removing leftovers.

use async_trait::async_trait;
use diesel::sql_types::{BigInt, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use tasks_domain::clock::Timestamp;
use tasks_domain::housekeeping::{Housekeeping, Leftover, Removal};
use tasks_domain::store::StoreError;

use crate::PgStore;
use crate::error::Failure;
use crate::values::stored;

/// Who has this lock of the database, keeps house: "clean" in ASCII.
const LOCK: i64 = i64::from_be_bytes(*b"\0\0\0clean");

diesel::define_sql_function! {
    /// Takes a lock until the transaction ends, unless somebody has it.
    fn pg_try_advisory_xact_lock(key: BigInt) -> Bool;
}

/// What removes leftovers of a kind: `$1` is the instant, `$2` how many. Rows that others have locked are
/// left for another time. As an array, so that the limited look-up is done once, whatever the plan.
const fn statements(what: Leftover) -> &'static [&'static str] {
    match what {
        Leftover::Sessions => &[
            "DELETE FROM sessions WHERE id = ANY (ARRAY ( \
                 SELECT id FROM sessions WHERE ended_at <= $1 \
                 AND NOT EXISTS (SELECT FROM refresh_tokens WHERE session_id = sessions.id) \
                 ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
            "DELETE FROM sessions WHERE id = ANY (ARRAY ( \
                 SELECT id FROM sessions WHERE expires_at <= $1 \
                 AND NOT EXISTS (SELECT FROM refresh_tokens WHERE session_id = sessions.id) \
                 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
        ],
        Leftover::RefreshTokens => &[
            "DELETE FROM refresh_tokens WHERE id = ANY (ARRAY ( \
                 SELECT id FROM refresh_tokens WHERE expires_at <= $1 \
                 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
            "DELETE FROM refresh_tokens WHERE id = ANY (ARRAY ( \
                 SELECT token.id FROM sessions \
                 JOIN refresh_tokens AS token ON session_id = sessions.id WHERE ended_at <= $1 \
                 ORDER BY ended_at LIMIT $2 FOR UPDATE OF token SKIP LOCKED))",
        ],
        Leftover::MailTokens => &[
            "UPDATE users SET verification_token_hash = NULL, verification_token_expires_at = NULL \
             WHERE id = ANY (ARRAY ( \
                 SELECT id FROM users WHERE verification_token_expires_at <= $1 \
                 ORDER BY verification_token_expires_at LIMIT $2 \
                 FOR NO KEY UPDATE SKIP LOCKED))",
            "UPDATE users \
             SET password_reset_token_hash = NULL, password_reset_token_expires_at = NULL \
             WHERE id = ANY (ARRAY ( \
                 SELECT id FROM users WHERE password_reset_token_expires_at <= $1 \
                 ORDER BY password_reset_token_expires_at LIMIT $2 \
                 FOR NO KEY UPDATE SKIP LOCKED))",
        ],
        Leftover::DeadMails => &["DELETE FROM outbox WHERE id = ANY (ARRAY ( \
                 SELECT id FROM outbox WHERE dead_at <= $1 \
                 ORDER BY dead_at LIMIT $2 FOR UPDATE SKIP LOCKED))"],
        Leftover::DeletedTasks => &["DELETE FROM tasks WHERE id = ANY (ARRAY ( \
                 SELECT id FROM tasks WHERE deleted_at <= $1 \
                 AND NOT EXISTS (SELECT FROM task_categories WHERE task_id = tasks.id) \
                 ORDER BY deleted_at, id LIMIT $2 FOR UPDATE SKIP LOCKED))"],
    }
}

/// Takes deleted tasks out of their categories before they go themselves. The foreign key would do so too,
/// but wait for rows that others have, such as somebody who deletes a category and waits for ours.
const UNFILE: &str = "DELETE FROM task_categories WHERE ctid = ANY (ARRAY ( \
         SELECT filed.ctid FROM task_categories AS filed WHERE task_id IN ( \
             SELECT id FROM tasks WHERE deleted_at <= $1 ORDER BY deleted_at, id LIMIT $2) \
         FOR UPDATE SKIP LOCKED))";

/// A plan for whatever values would not know how few rows are looked for, and read whole tables.
const PLAN_FOR_VALUES: &str = "SET LOCAL plan_cache_mode = force_custom_plan";

async fn execute(
    session: &mut AsyncPgConnection,
    statement: &'static str,
    before: Timestamp,
    limit: u32,
) -> Result<u32, Failure> {
    let rows = diesel::sql_query(statement)
        .bind::<Timestamptz, _>(stored(before))
        .bind::<BigInt, _>(i64::from(limit))
        .execute(session)
        .await?;
    Ok(u32::try_from(rows).unwrap_or(u32::MAX))
}

#[async_trait]
impl Housekeeping for PgStore {
    async fn remove(
        &self,
        what: Leftover,
        before: Timestamp,
        limit: u32,
    ) -> Result<Removal, StoreError> {
        let input = (what, before, limit);
        self.transact(input, |session, (what, before, limit)| {
            Box::pin(async move {
                let lock = diesel::select(pg_try_advisory_xact_lock(LOCK));
                if !lock.get_result::<bool>(session).await? {
                    return Ok(Removal::Busy);
                }
                session.batch_execute(PLAN_FOR_VALUES).await?;
                if let Leftover::DeletedTasks = what {
                    execute(session, UNFILE, *before, *limit).await?;
                }
                let mut removed = 0_u32;
                for statement in statements(*what) {
                    let left = limit.saturating_sub(removed);
                    let more = execute(session, statement, *before, left).await?;
                    removed = removed.saturating_add(more);
                }
                Ok(Removal::Removed(removed))
            })
        })
        .await
    }
}

//! Removing leftovers.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use tasks_domain::clock::Timestamp;
use tasks_domain::housekeeping::{Housekeeping, Leftover, Removal};
use tasks_domain::store::StoreError;

use crate::SqliteStore;

/// What removes leftovers of a kind: `?1` is the instant, `?2` how many. SQL as it is, since Diesel does
/// not know row numbers, which an index has without a look at the table.
const fn statements(what: Leftover) -> &'static [&'static str] {
    match what {
        Leftover::Sessions => &[
            "DELETE FROM sessions WHERE rowid IN ( \
                 SELECT rowid FROM sessions WHERE ended_at <= ?1 AND NOT EXISTS ( \
                     SELECT 1 FROM refresh_tokens WHERE session_id = sessions.id) \
                 LIMIT ?2)",
            "DELETE FROM sessions WHERE rowid IN ( \
                 SELECT rowid FROM sessions WHERE expires_at <= ?1 AND NOT EXISTS ( \
                     SELECT 1 FROM refresh_tokens WHERE session_id = sessions.id) \
                 LIMIT ?2)",
        ],
        Leftover::RefreshTokens => &[
            "DELETE FROM refresh_tokens WHERE rowid IN ( \
                 SELECT rowid FROM refresh_tokens WHERE expires_at <= ?1 LIMIT ?2)",
            "DELETE FROM refresh_tokens WHERE rowid IN ( \
                 SELECT refresh_tokens.rowid FROM sessions \
                 JOIN refresh_tokens ON session_id = sessions.id WHERE ended_at <= ?1 LIMIT ?2)",
        ],
        Leftover::MailTokens => &[
            "UPDATE users SET verification_token_hash = NULL, verification_token_expires_at = NULL \
             WHERE rowid IN ( \
                 SELECT rowid FROM users WHERE verification_token_expires_at <= ?1 LIMIT ?2)",
            "UPDATE users \
             SET password_reset_token_hash = NULL, password_reset_token_expires_at = NULL \
             WHERE rowid IN ( \
                 SELECT rowid FROM users WHERE password_reset_token_expires_at <= ?1 LIMIT ?2)",
        ],
        Leftover::DeadMails => &["DELETE FROM outbox WHERE rowid IN ( \
                 SELECT rowid FROM outbox WHERE dead_at <= ?1 LIMIT ?2)"],
        Leftover::DeletedTasks => &["DELETE FROM tasks WHERE rowid IN ( \
                 SELECT rowid FROM tasks WHERE deleted_at <= ?1 LIMIT ?2)"],
    }
}

#[async_trait]
impl Housekeeping for SqliteStore {
    /// Never busy, since one process has the file to itself.
    async fn remove(
        &self,
        what: Leftover,
        before: Timestamp,
        limit: u32,
    ) -> Result<Removal, StoreError> {
        self.write(move |connection| {
            let mut removed = 0;
            for statement in statements(what) {
                let rows = diesel::sql_query(*statement)
                    .bind::<BigInt, _>(before.unix_micros())
                    .bind::<BigInt, _>(i64::from(limit.saturating_sub(removed)))
                    .execute(connection)?;
                removed = removed.saturating_add(u32::try_from(rows).unwrap_or(u32::MAX));
            }
            Ok(Removal::Removed(removed))
        })
        .await
    }
}

//! Housekeeping in the store in memory.

use std::collections::HashSet;

use async_trait::async_trait;
use tasks_domain::clock::Timestamp;
use tasks_domain::housekeeping::{Housekeeping, Leftover, Removal};
use tasks_domain::mail::MailKind;
use tasks_domain::store::StoreError;

use super::{FakeStore, Tables};

#[async_trait]
impl Housekeeping for FakeStore {
    async fn remove(
        &self,
        what: Leftover,
        before: Timestamp,
        limit: u32,
    ) -> Result<Removal, StoreError> {
        let tables = &mut *self.transaction()?;
        let limit = usize::try_from(limit).unwrap();
        let removed = match what {
            Leftover::Sessions => tables.remove_sessions(before, limit),
            Leftover::RefreshTokens => tables.remove_refresh_tokens(before, limit),
            Leftover::MailTokens => tables.remove_mail_tokens(before, limit),
            Leftover::DeadMails => tables.remove_dead_mails(before, limit),
            Leftover::DeletedTasks => tables.remove_deleted_tasks(before, limit),
        };
        Ok(Removal::Removed(u32::try_from(removed).unwrap()))
    }
}

/// Each answers how many it removed.
impl Tables {
    fn remove_sessions(&mut self, before: Timestamp, limit: usize) -> usize {
        let tokens = self.refresh_tokens.values();
        let with_tokens: HashSet<_> = tokens.map(|token| token.session).collect();
        let over = self.sessions.extract_if(.., |id, row| {
            (row.session.expires_at <= before || row.ended_before(before))
                && !with_tokens.contains(id)
        });
        over.take(limit).count()
    }

    fn remove_refresh_tokens(&mut self, before: Timestamp, limit: usize) -> usize {
        let sessions = &self.sessions;
        let over = self.refresh_tokens.extract_if(|_, row| {
            row.expires_at <= before
                || sessions
                    .get(&row.session)
                    .is_some_and(|session| session.ended_before(before))
        });
        over.take(limit).count()
    }

    fn remove_mail_tokens(&mut self, before: Timestamp, limit: usize) -> usize {
        let accounts = self.accounts.values_mut();
        let expired = accounts.flat_map(|account| {
            let is_expired =
                |_: &MailKind, token: &mut super::MailToken| token.expires_at <= before;
            account.mail_tokens.extract_if(is_expired)
        });
        expired.take(limit).count()
    }

    fn remove_dead_mails(&mut self, before: Timestamp, limit: usize) -> usize {
        let dead = self
            .mails
            .extract_if(.., |_, row| row.dead_at.is_some_and(|at| at <= before));
        dead.take(limit).count()
    }

    fn remove_deleted_tasks(&mut self, before: Timestamp, limit: usize) -> usize {
        let deleted = self
            .tasks
            .extract_if(.., |_, row| row.deleted_at.is_some_and(|at| at <= before));
        let removed = deleted.take(limit).count();
        self.drop_assignments_without_end();
        removed
    }
}

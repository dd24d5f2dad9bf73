//! The outbox of the store in memory.

use async_trait::async_trait;
use tasks_domain::clock::Timestamp;
use tasks_domain::mail::{Backlog, Claim, ClaimedMail, MailKind, NewMail, Outbox, Settlement};
use tasks_domain::store::StoreError;

use super::{FakeStore, MailToken, Tables};

#[async_trait]
impl Outbox for FakeStore {
    async fn add(&self, mail: NewMail) -> Result<(), StoreError> {
        self.transaction()?.store_mail(mail);
        Ok(())
    }

    async fn claim(&self, now: Timestamp, until: Timestamp) -> Result<Claim, StoreError> {
        let tables = &mut *self.transaction()?;
        let due = tables
            .mails
            .values()
            .filter(|row| row.dead_at.is_none() && row.due_at <= now)
            .min_by_key(|row| (row.due_at, row.mail.id));
        let Some(mail) = due.map(|row| row.mail.clone()) else {
            return Ok(Claim::Idle);
        };
        let has_younger = tables.has_younger(&mail);
        let account = tables.account_of(&mail.to).filter(|account| {
            !has_younger && (mail.kind != MailKind::VerifyEmail || !account.user.is_active)
        });
        let Some(account) = account else {
            tables.mails.remove(&mail.id);
            return Ok(Claim::Moot);
        };
        let token = MailToken {
            digest: mail.token.clone(),
            expires_at: now.plus(mail.kind.token_ttl()),
        };
        account.mail_tokens.insert(mail.kind, token);
        let name = account.user.full_name.clone();
        tables
            .mails
            .retain(|_, row| row.dead_at.is_some() || !is_replaced(&row.mail, &mail));
        let row = tables.mails.get_mut(&mail.id).unwrap();
        row.due_at = until;
        row.attempts += 1;
        Ok(Claim::Claimed(ClaimedMail {
            id: mail.id,
            kind: mail.kind,
            to: mail.to,
            name,
            token: mail.token,
            created_at: mail.created_at,
            cause: mail.cause,
            attempt: row.attempts,
        }))
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        let tables = &*self.transaction()?;
        let mut backlog = Backlog::default();
        for row in tables.mails.values() {
            if row.dead_at.is_some() {
                backlog.dead += 1;
            } else {
                backlog.waiting += 1;
                let since = row.mail.created_at;
                backlog.oldest = Some(backlog.oldest.map_or(since, |oldest| oldest.min(since)));
            }
        }
        Ok(backlog)
    }

    async fn settle(&self, mail: &ClaimedMail, settlement: Settlement) -> Result<(), StoreError> {
        let tables = &mut *self.transaction()?;
        let row = tables.mails.get_mut(&mail.id);
        let Some(row) = row.filter(|row| row.attempts == mail.attempt) else {
            return Ok(());
        };
        match settlement {
            Settlement::Retry(at) => row.due_at = at,
            Settlement::Dead(at) => row.dead_at = Some(at),
            Settlement::Sent => {
                tables.mails.remove(&mail.id);
            }
        }
        Ok(())
    }
}

impl Tables {
    /// Whether a younger mail of its kind to the same address waits.
    fn has_younger(&self, mail: &NewMail) -> bool {
        let mut waiting = self.mails.values().filter(|row| row.dead_at.is_none());
        waiting.any(|row| is_replaced(mail, &row.mail))
    }
}

/// Whether a mail is older than another of its kind to the same address.
fn is_replaced(older: &NewMail, younger: &NewMail) -> bool {
    older.kind == younger.kind
        && older.to == younger.to
        && (older.created_at, older.id) < (younger.created_at, younger.id)
}

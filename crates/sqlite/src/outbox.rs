//! Mails that wait.

use async_trait::async_trait;
use diesel::dsl::{auto_type, count_star, min};
use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use tasks_domain::account::{Email, FullName, TokenDigest};
use tasks_domain::clock::Timestamp;
use tasks_domain::mail::{Backlog, Claim, ClaimedMail, MailKind, NewMail, Outbox, Settlement};
use tasks_domain::store::StoreError;
use tasks_domain::trace::TraceParent;

use crate::error::Failure;
use crate::schema::{outbox, users};
use crate::values::{StoredId, optional_time, parsed, time};
use crate::{SqliteStore, traced};

#[derive(Queryable, Selectable)]
#[diesel(table_name = outbox, check_for_backend(Sqlite))]
struct MailRow {
    id: StoredId,
    kind: String,
    recipient: String,
    token_hash: String,
    created_at: i64,
    attempts: i64,
    trace_parent: Option<String>,
}

impl MailRow {
    fn kind(&self) -> Result<MailKind, StoreError> {
        MailKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == self.kind)
            .ok_or_else(|| StoreError::corrupt("outbox.kind"))
    }

    /// The mail at its next attempt.
    fn claimed(&self, name: FullName) -> Result<ClaimedMail, StoreError> {
        let attempts = u32::try_from(self.attempts)
            .map_err(|_out_of_range| StoreError::corrupt("outbox.attempts"))?;
        Ok(ClaimedMail {
            id: self.id.get(),
            kind: self.kind()?,
            to: parsed("outbox.recipient", Email::parse(&self.recipient))?,
            name,
            token: TokenDigest::new(self.token_hash.as_str()),
            created_at: time("outbox.created_at", self.created_at)?,
            cause: self.trace_parent.as_deref().and_then(TraceParent::parse),
            attempt: attempts.saturating_add(1),
        })
    }
}

/// Stores a mail, due at once.
pub(crate) fn insert_mail(
    connection: &mut SqliteConnection,
    mail: &NewMail,
) -> Result<(), Failure> {
    diesel::insert_into(outbox::table)
        .values((
            outbox::id.eq(StoredId::from(mail.id)),
            outbox::kind.eq(mail.kind.as_str()),
            outbox::recipient.eq(mail.to.as_str()),
            outbox::token_hash.eq(mail.token.expose()),
            outbox::created_at.eq(mail.created_at.unix_micros()),
            outbox::due_at.eq(mail.created_at.unix_micros()),
            outbox::trace_parent.eq(mail.cause.as_ref().map(TraceParent::as_str)),
        ))
        .execute(connection)?;
    Ok(())
}

/// Mails of one kind to one address that are not given up.
#[auto_type]
fn waiting<'a>(kind: &'a str, recipient: &'a str) -> _ {
    outbox::table
        .filter(outbox::recipient.eq(recipient))
        .filter(outbox::kind.eq(kind))
        .filter(outbox::dead_at.is_null())
}

/// Takes mails of one kind to one address out, except those that are given up.
pub(crate) fn remove_waiting(
    connection: &mut SqliteConnection,
    kind: MailKind,
    recipient: &str,
) -> Result<(), Failure> {
    diesel::delete(waiting(kind.as_str(), recipient)).execute(connection)?;
    Ok(())
}

/// Takes every mail to an address out, those that are given up too.
pub(crate) fn remove_all(
    connection: &mut SqliteConnection,
    recipient: &str,
) -> Result<(), Failure> {
    diesel::delete(outbox::table.filter(outbox::recipient.eq(recipient))).execute(connection)?;
    Ok(())
}

/// Whom a mail is for, and how they are addressed; nobody if it has no purpose any more.
fn recipient(
    connection: &mut SqliteConnection,
    mail: &MailRow,
) -> Result<Option<(StoredId, FullName)>, Failure> {
    let youngest: StoredId = waiting(&mail.kind, &mail.recipient)
        .order((outbox::created_at.desc(), outbox::id.desc()))
        .select(outbox::id)
        .first(connection)?;
    if youngest != mail.id {
        return Ok(None);
    }
    let found: Option<(StoredId, String, bool)> = users::table
        .filter(users::email.eq(&mail.recipient))
        .select((users::id, users::full_name, users::is_active))
        .get_result(connection)
        .optional()?;
    match (mail.kind()?, found) {
        (_, None) | (MailKind::VerifyEmail, Some((_, _, true))) => Ok(None),
        (_, Some((user, name, _))) => {
            let name = parsed("users.full_name", FullName::parse(&name))?;
            Ok(Some((user, name)))
        }
    }
}

/// Makes a mail's token the only one of its kind that a user's account accepts.
fn accept_token(
    connection: &mut SqliteConnection,
    user: StoredId,
    mail: &ClaimedMail,
    now: Timestamp,
) -> Result<(), Failure> {
    let token = mail.token.expose();
    let expires_at = now.plus(mail.kind.token_ttl()).unix_micros();
    let user = diesel::update(users::table.find(user));
    match mail.kind {
        MailKind::VerifyEmail => user
            .set((
                users::verification_token_hash.eq(token),
                users::verification_token_expires_at.eq(expires_at),
            ))
            .execute(connection)?,
        MailKind::ResetPassword => user
            .set((
                users::password_reset_token_hash.eq(token),
                users::password_reset_token_expires_at.eq(expires_at),
            ))
            .execute(connection)?,
    };
    Ok(())
}

/// Keeps a mail from being claimed for a while.
fn lease(
    connection: &mut SqliteConnection,
    mail: StoredId,
    until: Timestamp,
) -> Result<(), Failure> {
    diesel::update(outbox::table.find(mail))
        .set((
            outbox::due_at.eq(until.unix_micros()),
            outbox::attempts.eq(outbox::attempts + 1),
        ))
        .execute(connection)?;
    Ok(())
}

/// Claims a mail unless it is moot. Changes nothing where it, or whom it is for, cannot be read.
fn decide(
    connection: &mut SqliteConnection,
    mail: &MailRow,
    now: Timestamp,
    until: Timestamp,
) -> Result<Claim, Failure> {
    let Some((user, name)) = recipient(connection, mail)? else {
        diesel::delete(outbox::table.find(mail.id)).execute(connection)?;
        return Ok(Claim::Moot);
    };
    let claimed = mail.claimed(name)?;
    // It is the youngest, so all others are older.
    diesel::delete(waiting(&mail.kind, &mail.recipient))
        .filter(outbox::id.ne(mail.id))
        .execute(connection)?;
    lease(connection, mail.id, until)?;
    accept_token(connection, user, &claimed, now)?;
    Ok(Claim::Claimed(claimed))
}

#[async_trait]
impl Outbox for SqliteStore {
    async fn add(&self, mail: NewMail) -> Result<(), StoreError> {
        self.write(move |connection| insert_mail(connection, &mail))
            .await
    }

    /// Writes nothing where nothing is due, so that asking every second costs no wait for the disk.
    async fn claim(&self, now: Timestamp, until: Timestamp) -> Result<Claim, StoreError> {
        let claim = self.write(move |connection| {
            let due = outbox::table
                .filter(outbox::dead_at.is_null())
                .filter(outbox::due_at.le(now.unix_micros()))
                .order((outbox::due_at, outbox::id))
                .select(MailRow::as_select())
                .first(connection)
                .optional()?;
            let Some(mail) = due else {
                return Ok(Ok(Claim::Idle));
            };
            match decide(connection, &mail, now, until) {
                Err(Failure::Corrupt(what)) => {
                    lease(connection, mail.id, until)?;
                    // A value, since an error would take the lease back.
                    Ok(Err(StoreError::corrupt(what)))
                }
                outcome => outcome.map(Ok),
            }
        });
        traced(claim.await?)
    }

    async fn settle(&self, mail: &ClaimedMail, settlement: Settlement) -> Result<(), StoreError> {
        let (id, attempt) = (StoredId::from(mail.id), i64::from(mail.attempt));
        self.write(move |connection| {
            let claimed = outbox::table.find(id).filter(outbox::attempts.eq(attempt));
            match settlement {
                Settlement::Sent => diesel::delete(claimed).execute(connection)?,
                Settlement::Retry(at) => diesel::update(claimed)
                    .set(outbox::due_at.eq(at.unix_micros()))
                    .execute(connection)?,
                Settlement::Dead(at) => diesel::update(claimed)
                    .set(outbox::dead_at.eq(at.unix_micros()))
                    .execute(connection)?,
            };
            Ok(())
        })
        .await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.read(|connection| {
            let (waiting, oldest): (i64, Option<i64>) = outbox::table
                .filter(outbox::dead_at.is_null())
                .select((count_star(), min(outbox::created_at)))
                .get_result(connection)?;
            let dead: i64 = outbox::table
                .filter(outbox::dead_at.is_not_null())
                .count()
                .get_result(connection)?;
            Ok(Backlog {
                waiting: waiting.unsigned_abs(),
                dead: dead.unsigned_abs(),
                oldest: optional_time("outbox.created_at", oldest)?,
            })
        })
        .await
    }
}

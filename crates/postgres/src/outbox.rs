//! Mails that wait.
//!
//! Concurrent claims take different mails, since each skips what another has locked. But the mails of one
//! kind to one address are decided one after the other, under the lock of the account's row: else two
//! would each make their token the accepted one, and the older mail might come second.

use async_trait::async_trait;
use diesel::data_types::PgTimestamp;
use diesel::dsl::{auto_type, count_star, exists, min};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::try_join3;
use tasks_domain::account::{Email, FullName, TokenDigest};
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;
use tasks_domain::mail::{Backlog, Claim, ClaimedMail, MailKind, NewMail, Outbox, Settlement};
use tasks_domain::store::StoreError;
use tasks_domain::trace::TraceParent;
use uuid::Uuid;

use crate::error::Failure;
use crate::kept::kept;
use crate::schema::{outbox, users};
use crate::values::{StoredMailKind, optional_time, parsed, stored, time};
use crate::{PgStore, traced};

#[derive(Queryable, Selectable)]
#[diesel(table_name = outbox, check_for_backend(Pg))]
struct MailRow {
    id: Uuid,
    kind: StoredMailKind,
    recipient: String,
    token_hash: String,
    created_at: PgTimestamp,
    attempts: i32,
    trace_parent: Option<String>,
}

/// Whom a mail is for.
#[derive(Queryable, Selectable)]
#[diesel(table_name = users, check_for_backend(Pg))]
struct RecipientRow {
    id: Uuid,
    full_name: String,
    is_active: bool,
}

impl MailRow {
    /// The mail at its next attempt.
    fn claimed(&self, recipient: &RecipientRow) -> Result<ClaimedMail, StoreError> {
        let attempts = u32::try_from(self.attempts)
            .map_err(|_negative| StoreError::corrupt("outbox.attempts"))?;
        Ok(ClaimedMail {
            id: Id::new(self.id),
            kind: self.kind.0,
            to: parsed("outbox.recipient", Email::parse(&self.recipient))?,
            name: parsed("users.full_name", FullName::parse(&recipient.full_name))?,
            token: TokenDigest::new(self.token_hash.as_str()),
            created_at: time("outbox.created_at", self.created_at)?,
            cause: self.trace_parent.as_deref().and_then(TraceParent::parse),
            attempt: attempts.saturating_add(1),
        })
    }
}

/// Mails that are due.
#[auto_type]
fn due(now: PgTimestamp) -> _ {
    outbox::table
        .filter(outbox::dead_at.is_null())
        .filter(outbox::due_at.le(now))
}

/// Mails of one kind to one address that are not given up.
#[expect(clippy::elidable_lifetime_names, reason = "`auto_type` wants its name")]
#[auto_type]
fn waiting<'a>(kind: StoredMailKind, recipient: &'a str) -> _ {
    outbox::table
        .filter(outbox::recipient.eq(recipient))
        .filter(outbox::kind.eq(kind))
        .filter(outbox::dead_at.is_null())
}

/// Stores a mail, due at once.
pub(crate) async fn insert_mail(
    session: &mut AsyncPgConnection,
    mail: &NewMail,
) -> Result<(), Failure> {
    diesel::insert_into(outbox::table)
        .values((
            outbox::id.eq(mail.id.uuid()),
            outbox::kind.eq(StoredMailKind(mail.kind)),
            outbox::recipient.eq(mail.to.as_str()),
            outbox::token_hash.eq(mail.token.expose()),
            outbox::created_at.eq(stored(mail.created_at)),
            outbox::due_at.eq(stored(mail.created_at)),
            outbox::trace_parent.eq(mail.cause.as_ref().map(TraceParent::as_str)),
        ))
        .execute(session)
        .await?;
    Ok(())
}

/// Takes mails of one kind to a user's address out, except those that are given up.
pub(crate) async fn remove_waiting(
    mut session: &AsyncPgConnection,
    kind: MailKind,
    user: Uuid,
) -> Result<(), Failure> {
    let address = users::table.find(user).select(users::email);
    diesel::delete(outbox::table)
        .filter(outbox::recipient.eq_any(address))
        .filter(outbox::kind.eq(StoredMailKind(kind)))
        .filter(outbox::dead_at.is_null())
        .execute(&mut session)
        .await?;
    Ok(())
}

/// Takes older mails of the kind to the address out.
async fn remove_older(mut session: &AsyncPgConnection, mail: &MailRow) -> Result<(), Failure> {
    let is_older = outbox::created_at.lt(mail.created_at).or(outbox::created_at
        .eq(mail.created_at)
        .and(outbox::id.lt(mail.id)));
    diesel::delete(waiting(mail.kind, &mail.recipient))
        .filter(is_older)
        .execute(&mut session)
        .await?;
    Ok(())
}

/// Makes a mail's token the only one of its kind that a user's account accepts.
async fn accept_token(
    mut session: &AsyncPgConnection,
    user: Uuid,
    mail: &MailRow,
    now: Timestamp,
) -> Result<(), Failure> {
    let token = mail.token_hash.as_str();
    let kind = mail.kind.0;
    let expires_at = stored(now.plus(kind.token_ttl()));
    let user = diesel::update(users::table.find(user));
    match kind {
        MailKind::VerifyEmail => {
            let accepted = (
                users::verification_token_hash.eq(token),
                users::verification_token_expires_at.eq(expires_at),
            );
            kept(user.set(accepted)).execute(&mut session).await?
        }
        MailKind::ResetPassword => {
            let accepted = (
                users::password_reset_token_hash.eq(token),
                users::password_reset_token_expires_at.eq(expires_at),
            );
            kept(user.set(accepted)).execute(&mut session).await?
        }
    };
    Ok(())
}

/// Keeps a mail from being claimed for a while.
async fn lease(
    mut session: &AsyncPgConnection,
    mail: Uuid,
    until: Timestamp,
) -> Result<(), Failure> {
    let update = diesel::update(outbox::table.find(mail)).set((
        outbox::due_at.eq(stored(until)),
        outbox::attempts.eq(outbox::attempts + 1),
    ));
    kept(update).execute(&mut session).await?;
    Ok(())
}

/// From when to when a mail is claimed.
type Term = (Timestamp, Timestamp);

/// What claiming comes to. That a mail cannot be read is a value, since an error would take its lease back.
type Decision = Result<Claim, StoreError>;

/// What looking for a mail to claim comes to.
enum Look {
    Done(Decision),
    /// Somebody else has the row of the account with the address.
    AccountBusy(Uuid, String),
}

/// Claims the first mail that nobody else is about to claim.
async fn claim_next(session: &mut AsyncPgConnection, term: Term) -> Result<Look, Failure> {
    let mail = due(stored(term.0))
        .order((outbox::due_at, outbox::id))
        .select(MailRow::as_select())
        .for_update()
        .skip_locked()
        .first(session)
        .await
        .optional()?;
    let Some(mail) = mail else {
        return Ok(Look::Done(Ok(Claim::Idle)));
    };
    let account = users::table.filter(users::email.eq(&mail.recipient));
    // Who has the account's row may want the mail's: to wait for it here would be to wait in a circle.
    let recipient = account
        .select(RecipientRow::as_select())
        .for_no_key_update()
        .skip_locked()
        .first(session)
        .await
        .optional()?;
    if recipient.is_none() {
        let is_there: bool = diesel::select(exists(account)).get_result(session).await?;
        if is_there {
            return Ok(Look::AccountBusy(mail.id, mail.recipient));
        }
    }
    decide(session, mail, recipient, term).await.map(Look::Done)
}

/// Claims a mail in the order of locks, in which one may wait: first the account, then the mail. `None` if
/// it is no longer due then.
async fn claim_in_order(
    session: &mut AsyncPgConnection,
    mail: Uuid,
    recipient: &str,
    term: Term,
) -> Result<Option<Decision>, Failure> {
    let recipient = users::table
        .filter(users::email.eq(recipient))
        .select(RecipientRow::as_select())
        .for_no_key_update()
        .first(session)
        .await
        .optional()?;
    let mail = due(stored(term.0))
        .filter(outbox::id.eq(mail))
        .select(MailRow::as_select())
        .for_update()
        .first(session)
        .await
        .optional()?;
    let Some(mail) = mail else {
        return Ok(None);
    };
    decide(session, mail, recipient, term).await.map(Some)
}

/// Whether anybody is to get a mail, under the locks of its row and the account's.
async fn decide(
    session: &mut AsyncPgConnection,
    mail: MailRow,
    recipient: Option<RecipientRow>,
    (now, until): Term,
) -> Result<Decision, Failure> {
    let wanted = recipient.filter(|user| mail.kind.0 != MailKind::VerifyEmail || !user.is_active);
    if let Some(recipient) = wanted {
        // A statement of its own, so that it sees what was committed before the lock was had.
        let youngest: Uuid = waiting(mail.kind, &mail.recipient)
            .order((outbox::created_at.desc(), outbox::id.desc()))
            .select(outbox::id)
            .first(session)
            .await?;
        if youngest == mail.id {
            let claimed = match mail.claimed(&recipient) {
                Ok(claimed) => claimed,
                Err(unreadable) => {
                    lease(session, mail.id, until).await?;
                    return Ok(Err(unreadable));
                }
            };
            // In one round trip.
            try_join3(
                accept_token(session, recipient.id, &mail, now),
                remove_older(session, &mail),
                lease(session, mail.id, until),
            )
            .await?;
            return Ok(Ok(Claim::Claimed(claimed)));
        }
    }
    diesel::delete(outbox::table.find(mail.id))
        .execute(session)
        .await?;
    Ok(Ok(Claim::Moot))
}

#[async_trait]
impl Outbox for PgStore {
    async fn add(&self, mail: NewMail) -> Result<(), StoreError> {
        self.write(mail, |session, mail| Box::pin(insert_mail(session, mail)))
            .await
    }

    async fn claim(&self, now: Timestamp, until: Timestamp) -> Result<Claim, StoreError> {
        // Every sender of every instance asks once a second, mostly in vain: that takes neither a lock nor a
        // transaction.
        let first_due = self.read(now, |session, now| {
            Box::pin(async move {
                let first: Option<Uuid> = due(stored(*now))
                    .order((outbox::due_at, outbox::id))
                    .select(outbox::id)
                    .first(session)
                    .await
                    .optional()?;
                Ok(first)
            })
        });
        if first_due.await?.is_none() {
            return Ok(Claim::Idle);
        }
        let term = (now, until);
        loop {
            let look = self.transact(term, |session, term| Box::pin(claim_next(session, *term)));
            let (mail, recipient) = match look.await? {
                Look::Done(decision) => return traced(decision),
                Look::AccountBusy(mail, recipient) => (mail, recipient),
            };
            let input = (mail, recipient, term);
            let decision = self.transact(input, |session, (mail, recipient, term)| {
                Box::pin(claim_in_order(session, *mail, recipient, *term))
            });
            if let Some(decision) = decision.await? {
                return traced(decision);
            }
        }
    }

    async fn settle(&self, mail: &ClaimedMail, settlement: Settlement) -> Result<(), StoreError> {
        let input = (mail.id.uuid(), mail.attempt, settlement);
        self.write_again(input, |session, (mail, attempt, settlement)| {
            Box::pin(async move {
                let claimed = outbox::table
                    .find(*mail)
                    .filter(outbox::attempts.eq(i32::try_from(*attempt).unwrap_or(i32::MAX)))
                    .filter(outbox::dead_at.is_null());
                match settlement {
                    Settlement::Sent => diesel::delete(claimed).execute(session).await?,
                    Settlement::Retry(at) => {
                        let again = outbox::due_at.eq(stored(*at));
                        kept(diesel::update(claimed).set(again))
                            .execute(session)
                            .await?
                    }
                    Settlement::Dead(at) => {
                        let dead = outbox::dead_at.eq(stored(*at));
                        kept(diesel::update(claimed).set(dead))
                            .execute(session)
                            .await?
                    }
                };
                Ok(())
            })
        })
        .await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.read((), |session, ()| {
            Box::pin(async move {
                let (waiting, oldest): (i64, Option<PgTimestamp>) = outbox::table
                    .filter(outbox::dead_at.is_null())
                    .select((count_star(), min(outbox::created_at)))
                    .first(session)
                    .await?;
                let dead: i64 = outbox::table
                    .filter(outbox::dead_at.is_not_null())
                    .count()
                    .get_result(session)
                    .await?;
                Ok(Backlog {
                    waiting: waiting.unsigned_abs(),
                    dead: dead.unsigned_abs(),
                    oldest: optional_time("outbox.created_at", oldest)?,
                })
            })
        })
        .await
    }
}

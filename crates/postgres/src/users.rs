//! Accounts.

use async_trait::async_trait;
use diesel::data_types::PgTimestamp;
use diesel::dsl::auto_type;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::{try_join, try_join3};
use tasks_domain::account::{
    Admission, Credentials, Email, FailedLogin, FullName, LoginAttempts, NewAccount,
    PasswordChange, PasswordHash, Registration, TokenDigest, User, UserRepository,
};
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;
use tasks_domain::mail::MailKind;
use tasks_domain::store::StoreError;
use uuid::Uuid;

use crate::PgStore;
use crate::error::Failure;
use crate::kept::kept;
use crate::outbox::{insert_mail, remove_waiting};
use crate::schema::users;
use crate::sessions::{end_sessions, insert_session};
use crate::values::{optional_time, parsed, stored, time};

/// A user's row, without what is secret.
#[derive(Queryable, Selectable)]
#[diesel(table_name = users, check_for_backend(Pg))]
pub(crate) struct UserRow {
    id: Uuid,
    email: String,
    full_name: String,
    is_active: bool,
    created_at: PgTimestamp,
    updated_at: PgTimestamp,
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: Id::new(row.id),
            email: parsed("users.email", Email::parse(&row.email))?,
            full_name: parsed("users.full_name", FullName::parse(&row.full_name))?,
            is_active: row.is_active,
            created_at: time("users.created_at", row.created_at)?,
            updated_at: time("users.updated_at", row.updated_at)?,
        })
    }
}

/// What logging in is judged by.
#[derive(Queryable, Selectable)]
#[diesel(table_name = users, check_for_backend(Pg))]
pub(crate) struct AttemptsRow {
    failed_login_attempts: i32,
    locked_until: Option<PgTimestamp>,
}

impl TryFrom<AttemptsRow> for LoginAttempts {
    type Error = StoreError;

    fn try_from(row: AttemptsRow) -> Result<Self, StoreError> {
        let column = "users.failed_login_attempts";
        Ok(Self {
            failed: u32::try_from(row.failed_login_attempts)
                .map_err(|_out_of_range| StoreError::corrupt(column))?,
            locked_until: optional_time("users.locked_until", row.locked_until)?,
        })
    }
}

/// Stores a user's login attempts.
pub(crate) async fn set_attempts(
    session: &mut AsyncPgConnection,
    user: Uuid,
    attempts: LoginAttempts,
) -> Result<(), Failure> {
    let update = diesel::update(users::table.find(user)).set((
        // Fewer than the lockout's few, but for a bug.
        users::failed_login_attempts.eq(i32::try_from(attempts.failed).unwrap_or(i32::MAX)),
        users::locked_until.eq(attempts.locked_until.map(stored)),
    ));
    kept(update).execute(session).await?;
    Ok(())
}

/// Writes in place of [`set_attempts`], where a login is refused without counting anything.
///
/// A transaction that writes nothing does not wait for the disk, and its speed would tell that
/// there is no such account, or that it is locked. This one writes an entry into the write-ahead log
/// that means nothing to anybody. A row would do too, but everybody's refused logins would queue for
/// its lock, and leave dead rows behind.
pub(crate) async fn write_uncounted(session: &mut AsyncPgConnection) -> Result<(), Failure> {
    session
        .batch_execute("SELECT pg_logical_emit_message(true, 'task-api', repeat('-', 100))")
        .await?;
    Ok(())
}

/// Locks a user's row, and judges a password that was right when it was compared.
pub(crate) async fn admit(
    session: &mut AsyncPgConnection,
    user: Id<User>,
    password_hash: &PasswordHash,
    now: Timestamp,
) -> Result<Admission, Failure> {
    let found: Option<(String, AttemptsRow)> = users::table
        .find(user.uuid())
        .select((users::password_hash, AttemptsRow::as_select()))
        .for_no_key_update()
        .first(session)
        .await
        .optional()?;
    let Some((_, attempts)) = found.filter(|(stored, _)| stored == password_hash.expose()) else {
        return Ok(Admission::Outdated);
    };
    Ok(
        match LoginAttempts::try_from(attempts)?.after_success(now) {
            Ok(_) => Admission::Granted,
            Err(locked) => Admission::Locked(locked),
        },
    )
}

/// The user whose reset token has the digest and works.
#[expect(clippy::elidable_lifetime_names, reason = "`auto_type` wants its name")]
#[auto_type]
fn by_reset_token<'a>(token: &'a str, now: PgTimestamp) -> _ {
    users::table
        .filter(users::password_reset_token_hash.eq(token))
        .filter(users::password_reset_token_expires_at.gt(now))
}

/// A new password, with which no reset token works any more, and failed logins are forgotten.
#[derive(AsChangeset)]
#[diesel(table_name = users, treat_none_as_null = true)]
struct NewPassword<'a> {
    password_hash: &'a str,
    password_reset_token_hash: Option<String>,
    password_reset_token_expires_at: Option<PgTimestamp>,
    failed_login_attempts: i32,
    locked_until: Option<PgTimestamp>,
    updated_at: PgTimestamp,
}

impl<'a> NewPassword<'a> {
    fn new(hash: &'a PasswordHash, now: Timestamp) -> Self {
        Self {
            password_hash: hash.expose(),
            password_reset_token_hash: None,
            password_reset_token_expires_at: None,
            failed_login_attempts: 0,
            locked_until: None,
            updated_at: stored(now),
        }
    }
}

async fn set_password(
    mut session: &AsyncPgConnection,
    user: Uuid,
    password: NewPassword<'_>,
) -> Result<(), Failure> {
    let update = diesel::update(users::table.find(user)).set(password);
    kept(update).execute(&mut session).await?;
    Ok(())
}

/// Erases a user, `$1`, whose row is locked. The foreign keys would do so too, but in one statement, which
/// may take only so long; and they would reach what is filed where before the categories, and refresh
/// tokens before their sessions, which somebody may have locked who waits for just that.
///
/// The row is locked once more, so that nothing new comes in that would not be locked: after the sessions,
/// since whoever refreshes one has it locked and then asks for the user.
const ERASE: [&str; 11] = [
    "SELECT count(*) FROM (SELECT FROM sessions WHERE user_id = $1 FOR UPDATE) AS locked",
    "SELECT count(*) FROM (SELECT FROM users WHERE id = $1 FOR UPDATE) AS locked",
    "SELECT count(*) FROM (SELECT FROM tasks WHERE user_id = $1 FOR UPDATE) AS locked",
    "SELECT count(*) FROM (SELECT FROM categories WHERE user_id = $1 FOR UPDATE) AS locked",
    "DELETE FROM task_categories USING tasks WHERE task_id = tasks.id AND user_id = $1",
    "DELETE FROM tasks WHERE user_id = $1",
    "DELETE FROM categories WHERE user_id = $1",
    "DELETE FROM refresh_tokens WHERE user_id = $1",
    "DELETE FROM sessions WHERE user_id = $1",
    "DELETE FROM outbox WHERE recipient = (SELECT email FROM users WHERE id = $1)",
    "DELETE FROM users WHERE id = $1",
];

#[async_trait]
impl UserRepository for PgStore {
    async fn register(&self, account: NewAccount) -> Result<Registration, StoreError> {
        self.transact(account, |session, account| {
            Box::pin(async move {
                let user = &account.user;
                // Waits for another registration of the address that has not been committed yet.
                let inserted = diesel::insert_into(users::table)
                    .values((
                        users::id.eq(user.id.uuid()),
                        users::email.eq(user.email.as_str()),
                        users::password_hash.eq(account.password_hash.expose()),
                        users::full_name.eq(user.full_name.as_str()),
                        users::is_active.eq(user.is_active),
                        users::created_at.eq(stored(user.created_at)),
                        users::updated_at.eq(stored(user.updated_at)),
                    ))
                    .on_conflict(users::email)
                    .do_nothing()
                    .execute(session)
                    .await?;
                if inserted == 0 {
                    return Ok(Registration::EmailTaken);
                }
                insert_session(session, user.id, &account.session).await?;
                insert_mail(session, &account.mail).await?;
                Ok(Registration::Registered)
            })
        })
        .await
    }

    async fn find_credentials(&self, email: &Email) -> Result<Option<Credentials>, StoreError> {
        self.read(email.clone(), |session, email| {
            Box::pin(async move {
                let found: Option<(UserRow, String, AttemptsRow)> = users::table
                    .filter(users::email.eq(email.as_str()))
                    .select((
                        UserRow::as_select(),
                        users::password_hash,
                        AttemptsRow::as_select(),
                    ))
                    .first(session)
                    .await
                    .optional()?;
                let Some((user, password_hash, attempts)) = found else {
                    return Ok(None);
                };
                Ok(Some(Credentials {
                    user: user.try_into()?,
                    password_hash: PasswordHash::new(password_hash),
                    attempts: attempts.try_into()?,
                }))
            })
        })
        .await
    }

    async fn record_failed_login(
        &self,
        email: &Email,
        now: Timestamp,
    ) -> Result<FailedLogin, StoreError> {
        self.transact((email.clone(), now), |session, (email, now)| {
            Box::pin(async move {
                let found: Option<(Uuid, AttemptsRow)> = users::table
                    .filter(users::email.eq(email.as_str()))
                    .select((users::id, AttemptsRow::as_select()))
                    .for_no_key_update()
                    .first(session)
                    .await
                    .optional()?;
                let Some((user, attempts)) = found else {
                    write_uncounted(session).await?;
                    return Ok(FailedLogin::NoAccount);
                };
                let (attempts, outcome) = LoginAttempts::try_from(attempts)?.after_failure(*now);
                match outcome {
                    FailedLogin::Counted | FailedLogin::LockedNow(_) => {
                        set_attempts(session, user, attempts).await?;
                    }
                    FailedLogin::StillLocked(_) | FailedLogin::NoAccount => {
                        write_uncounted(session).await?;
                    }
                }
                Ok(outcome)
            })
        })
        .await
    }

    async fn rename(
        &self,
        user: Id<User>,
        full_name: FullName,
        now: Timestamp,
    ) -> Result<Option<User>, StoreError> {
        self.write((user, full_name, now), |session, (user, full_name, now)| {
            Box::pin(async move {
                let update = diesel::update(users::table.find(user.uuid()))
                    .set((
                        users::full_name.eq(full_name.as_str()),
                        users::updated_at.eq(stored(*now)),
                    ))
                    .returning(UserRow::as_returning());
                let row = kept(update).get_result(session).await.optional()?;
                Ok(row.map(User::try_from).transpose()?)
            })
        })
        .await
    }

    async fn verify_email(
        &self,
        token: &TokenDigest,
        now: Timestamp,
    ) -> Result<Option<User>, StoreError> {
        self.transact((token.clone(), now), |session, (token, now)| {
            Box::pin(async move {
                let verified = users::table
                    .filter(users::verification_token_hash.eq(token.expose()))
                    .filter(users::verification_token_expires_at.gt(stored(*now)));
                let update = diesel::update(verified)
                    .set((
                        users::is_active.eq(true),
                        users::verification_token_hash.eq(None::<&str>),
                        users::verification_token_expires_at.eq(None::<PgTimestamp>),
                        users::updated_at.eq(stored(*now)),
                    ))
                    .returning(UserRow::as_returning());
                let row = kept(update).get_result(session).await.optional()?;
                let Some(row) = row else {
                    return Ok(None);
                };
                remove_waiting(session, MailKind::VerifyEmail, row.id).await?;
                Ok(Some(row.try_into()?))
            })
        })
        .await
    }

    async fn find_by_reset_token(
        &self,
        token: &TokenDigest,
        now: Timestamp,
    ) -> Result<Option<Id<User>>, StoreError> {
        self.read((token.clone(), now), |session, (token, now)| {
            Box::pin(async move {
                let user = by_reset_token(token.expose(), stored(*now))
                    .select(users::id)
                    .first(session)
                    .await
                    .optional()?;
                Ok(user.map(Id::new))
            })
        })
        .await
    }

    async fn reset_password(
        &self,
        token: &TokenDigest,
        password_hash: PasswordHash,
        now: Timestamp,
    ) -> Result<Option<Id<User>>, StoreError> {
        let input = (token.clone(), password_hash, now);
        self.transact(input, |session, (token, password_hash, now)| {
            Box::pin(async move {
                let update = diesel::update(by_reset_token(token.expose(), stored(*now)))
                    .set(NewPassword::new(password_hash, *now))
                    .returning(users::id);
                let user = kept(update).get_result(session).await.optional()?;
                let Some(user) = user else {
                    return Ok(None);
                };
                // In one round trip.
                try_join(
                    end_sessions(session, user, None, *now),
                    remove_waiting(session, MailKind::ResetPassword, user),
                )
                .await?;
                Ok(Some(Id::new(user)))
            })
        })
        .await
    }

    async fn change_password(
        &self,
        change: PasswordChange,
        now: Timestamp,
    ) -> Result<Admission, StoreError> {
        self.transact((change, now), |session, (change, now)| {
            Box::pin(async move {
                let admission = admit(session, change.user, &change.old, *now).await?;
                if let Admission::Granted = admission {
                    let user = change.user.uuid();
                    // In one round trip.
                    try_join3(
                        set_password(session, user, NewPassword::new(&change.new, *now)),
                        end_sessions(session, user, Some(change.kept.uuid()), *now),
                        remove_waiting(session, MailKind::ResetPassword, user),
                    )
                    .await?;
                }
                Ok(admission)
            })
        })
        .await
    }

    async fn delete(
        &self,
        user: Id<User>,
        password_hash: PasswordHash,
        now: Timestamp,
    ) -> Result<Admission, StoreError> {
        let input = (user, password_hash, now);
        self.transact(input, |session, (user, password_hash, now)| {
            Box::pin(async move {
                let admission = admit(session, *user, password_hash, *now).await?;
                if let Admission::Granted = admission {
                    for statement in ERASE {
                        diesel::sql_query(statement)
                            .bind::<sql_types::Uuid, _>(user.uuid())
                            .execute(session)
                            .await?;
                    }
                }
                Ok(admission)
            })
        })
        .await
    }
}

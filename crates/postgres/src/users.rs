//! Accounts.

use async_trait::async_trait;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use tasks_domain::account::{
    Credentials, Email, FailedLogin, FullName, LoginAttempts, NewAccount, PasswordHash,
    Registration, User, UserRepository,
};
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;
use tasks_domain::store::StoreError;
use uuid::Uuid;

use crate::PgStore;
use crate::error::Failure;
use crate::schema::users;
use crate::sessions::insert_session;
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
    diesel::update(users::table.find(user))
        .set((
            // Fewer than the lockout's few, but for a bug.
            users::failed_login_attempts.eq(i32::try_from(attempts.failed).unwrap_or(i32::MAX)),
            users::locked_until.eq(attempts.locked_until.map(stored)),
        ))
        .execute(session)
        .await?;
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
                        users::verification_token_hash.eq(account.verification.digest.expose()),
                        users::verification_token_expires_at
                            .eq(stored(account.verification.expires_at)),
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
                let row = diesel::update(users::table.find(user.uuid()))
                    .set((
                        users::full_name.eq(full_name.as_str()),
                        users::updated_at.eq(stored(*now)),
                    ))
                    .returning(UserRow::as_returning())
                    .get_result(session)
                    .await
                    .optional()?;
                Ok(row.map(User::try_from).transpose()?)
            })
        })
        .await
    }
}

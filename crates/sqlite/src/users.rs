//! Accounts.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use tasks_domain::account::{
    Credentials, Email, FailedLogin, FullName, LoginAttempts, NewAccount, PasswordHash,
    Registration, User, UserRepository,
};
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;
use tasks_domain::store::StoreError;

use crate::SqliteStore;
use crate::error::{Failure, is_taken};
use crate::schema::{uncounted_logins, users};
use crate::sessions::insert_session;
use crate::values::{StoredId, optional_time, parsed, time};

/// A user's row, without what is secret.
#[derive(Queryable, Selectable)]
#[diesel(table_name = users, check_for_backend(Sqlite))]
pub(crate) struct UserRow {
    id: StoredId,
    email: String,
    full_name: String,
    is_active: bool,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.get(),
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
#[diesel(table_name = users, check_for_backend(Sqlite))]
pub(crate) struct AttemptsRow {
    failed_login_attempts: i64,
    locked_until: Option<i64>,
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
pub(crate) fn set_attempts(
    connection: &mut SqliteConnection,
    user: StoredId,
    attempts: LoginAttempts,
) -> Result<(), Failure> {
    diesel::update(users::table.find(user))
        .set((
            users::failed_login_attempts.eq(i64::from(attempts.failed)),
            users::locked_until.eq(attempts.locked_until.map(Timestamp::unix_micros)),
        ))
        .execute(connection)?;
    Ok(())
}

/// Writes as much as [`set_attempts`], where a login is refused without counting anything.
///
/// A transaction that writes nothing does not wait for the disk, and its speed would tell that
/// there is no such account, or that it is locked. Writing the user's row again as it is would not do
/// either: `SQLite` leaves a page alone that would not change.
pub(crate) fn write_uncounted(connection: &mut SqliteConnection) -> Result<(), Failure> {
    diesel::update(uncounted_logins::table.find(1))
        .set(uncounted_logins::touched.eq(uncounted_logins::touched + 1))
        .execute(connection)?;
    Ok(())
}

#[async_trait]
impl UserRepository for SqliteStore {
    async fn register(&self, account: NewAccount) -> Result<Registration, StoreError> {
        self.write(move |connection| {
            let user = &account.user;
            let inserted = diesel::insert_into(users::table)
                .values((
                    users::id.eq(StoredId::from(user.id)),
                    users::email.eq(user.email.as_str()),
                    users::password_hash.eq(account.password_hash.expose()),
                    users::full_name.eq(user.full_name.as_str()),
                    users::is_active.eq(user.is_active),
                    users::verification_token_hash.eq(account.verification.digest.expose()),
                    users::verification_token_expires_at
                        .eq(account.verification.expires_at.unix_micros()),
                    users::created_at.eq(user.created_at.unix_micros()),
                    users::updated_at.eq(user.updated_at.unix_micros()),
                ))
                .execute(connection);
            match inserted {
                Ok(_) => {}
                Err(error) if is_taken(&error, "users.email") => {
                    return Ok(Registration::EmailTaken);
                }
                Err(error) => return Err(error.into()),
            }
            insert_session(connection, user.id, &account.session)?;
            Ok(Registration::Registered)
        })
        .await
    }

    async fn find_credentials(&self, email: &Email) -> Result<Option<Credentials>, StoreError> {
        let email = email.as_str().to_owned();
        self.read(move |connection| {
            let found: Option<(UserRow, String, AttemptsRow)> = users::table
                .filter(users::email.eq(email))
                .select((
                    UserRow::as_select(),
                    users::password_hash,
                    AttemptsRow::as_select(),
                ))
                .first(connection)
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
        .await
    }

    async fn record_failed_login(
        &self,
        email: &Email,
        now: Timestamp,
    ) -> Result<FailedLogin, StoreError> {
        let email = email.as_str().to_owned();
        self.write(move |connection| {
            let found: Option<(StoredId, AttemptsRow)> = users::table
                .filter(users::email.eq(email))
                .select((users::id, AttemptsRow::as_select()))
                .first(connection)
                .optional()?;
            let Some((user, attempts)) = found else {
                write_uncounted(connection)?;
                return Ok(FailedLogin::NoAccount);
            };
            let (attempts, outcome) = LoginAttempts::try_from(attempts)?.after_failure(now);
            match outcome {
                FailedLogin::Counted | FailedLogin::LockedNow(_) => {
                    set_attempts(connection, user, attempts)?;
                }
                FailedLogin::StillLocked(_) | FailedLogin::NoAccount => {
                    write_uncounted(connection)?;
                }
            }
            Ok(outcome)
        })
        .await
    }

    async fn rename(
        &self,
        user: Id<User>,
        full_name: FullName,
        now: Timestamp,
    ) -> Result<Option<User>, StoreError> {
        self.write(move |connection| {
            let row = diesel::update(users::table.find(StoredId::from(user)))
                .set((
                    users::full_name.eq(full_name.as_str()),
                    users::updated_at.eq(now.unix_micros()),
                ))
                .returning(UserRow::as_returning())
                .get_result(connection)
                .optional()?;
            Ok(row.map(User::try_from).transpose()?)
        })
        .await
    }
}

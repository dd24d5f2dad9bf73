//! Accounts.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use tasks_domain::account::{
    Admission, Credentials, Email, FailedLogin, FullName, LoginAttempts, NewAccount,
    PasswordChange, PasswordHash, Registration, TokenDigest, User, UserRepository,
};
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;
use tasks_domain::mail::MailKind;
use tasks_domain::store::StoreError;

use crate::SqliteStore;
use crate::error::{Failure, is_taken};
use crate::outbox::{insert_mail, remove_all, remove_waiting};
use crate::schema::{refresh_tokens, sessions, task_categories, tasks, uncounted_logins, users};
use crate::sessions::{end_sessions, insert_session};
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
struct AttemptsRow {
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
fn set_attempts(
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
fn write_uncounted(connection: &mut SqliteConnection) -> Result<(), Failure> {
    diesel::update(uncounted_logins::table.find(1))
        .set(uncounted_logins::touched.eq(uncounted_logins::touched + 1))
        .execute(connection)?;
    Ok(())
}

/// Judges somebody who knew the password of the hash, and forgets failed logins if they come in.
/// Writes as much as counting a failure also where they do not.
pub(crate) fn admit(
    connection: &mut SqliteConnection,
    user: StoredId,
    password_hash: &PasswordHash,
    now: Timestamp,
) -> Result<Admission, Failure> {
    let attempts = users::table
        .find(user)
        .filter(users::password_hash.eq(password_hash.expose()))
        .select(AttemptsRow::as_select())
        .get_result(connection)
        .optional()?;
    let Some(attempts) = attempts else {
        write_uncounted(connection)?;
        return Ok(Admission::Outdated);
    };
    match LoginAttempts::try_from(attempts)?.after_success(now) {
        Ok(attempts) => {
            set_attempts(connection, user, attempts)?;
            Ok(Admission::Granted)
        }
        Err(locked) => {
            write_uncounted(connection)?;
            Ok(Admission::Locked(locked))
        }
    }
}

/// The user whose reset token has the digest and works.
fn by_reset_token(
    connection: &mut SqliteConnection,
    token: &TokenDigest,
    now: Timestamp,
) -> Result<Option<StoredId>, Failure> {
    let user = users::table
        .filter(users::password_reset_token_hash.eq(token.expose()))
        .filter(users::password_reset_token_expires_at.gt(now.unix_micros()))
        .select(users::id)
        .get_result(connection)
        .optional()?;
    Ok(user)
}

/// Gives a user another password; a reset token no longer works, and none is on its way.
fn set_password(
    connection: &mut SqliteConnection,
    user: StoredId,
    password_hash: &PasswordHash,
    now: Timestamp,
) -> Result<(), Failure> {
    let email: String = diesel::update(users::table.find(user))
        .set((
            users::password_hash.eq(password_hash.expose()),
            users::password_reset_token_hash.eq(None::<&str>),
            users::password_reset_token_expires_at.eq(None::<i64>),
            users::updated_at.eq(now.unix_micros()),
        ))
        .returning(users::email)
        .get_result(connection)?;
    remove_waiting(connection, MailKind::ResetPassword, &email)
}

/// Erases a user with everything that is theirs.
///
/// The foreign keys alone would do it too, but row by row: what there may be much of goes first, all at
/// once.
fn erase(connection: &mut SqliteConnection, user: StoredId) -> Result<(), Failure> {
    let of_user = tasks::table.filter(tasks::user_id.eq(user));
    diesel::delete(task_categories::table)
        .filter(task_categories::task_id.eq_any(of_user.select(tasks::id)))
        .execute(connection)?;
    diesel::delete(of_user).execute(connection)?;
    diesel::delete(refresh_tokens::table.filter(refresh_tokens::user_id.eq(user)))
        .execute(connection)?;
    diesel::delete(sessions::table.filter(sessions::user_id.eq(user))).execute(connection)?;
    let email: String = diesel::delete(users::table.find(user))
        .returning(users::email)
        .get_result(connection)?;
    remove_all(connection, &email)
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
            insert_mail(connection, &account.mail)?;
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
                .get_result(connection)
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
                .get_result(connection)
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

    async fn verify_email(
        &self,
        token: &TokenDigest,
        now: Timestamp,
    ) -> Result<Option<User>, StoreError> {
        let token = token.clone();
        self.write(move |connection| {
            let with_token = users::table
                .filter(users::verification_token_hash.eq(token.expose()))
                .filter(users::verification_token_expires_at.gt(now.unix_micros()));
            let row = diesel::update(with_token)
                .set((
                    users::is_active.eq(true),
                    users::verification_token_hash.eq(None::<&str>),
                    users::verification_token_expires_at.eq(None::<i64>),
                    users::updated_at.eq(now.unix_micros()),
                ))
                .returning(UserRow::as_returning())
                .get_result(connection)
                .optional()?;
            let Some(row) = row else {
                return Ok(None);
            };
            remove_waiting(connection, MailKind::VerifyEmail, &row.email)?;
            Ok(Some(row.try_into()?))
        })
        .await
    }

    async fn find_by_reset_token(
        &self,
        token: &TokenDigest,
        now: Timestamp,
    ) -> Result<Option<Id<User>>, StoreError> {
        let token = token.clone();
        self.read(move |connection| {
            let user = by_reset_token(connection, &token, now)?;
            Ok(user.map(StoredId::get))
        })
        .await
    }

    async fn reset_password(
        &self,
        token: &TokenDigest,
        password_hash: PasswordHash,
        now: Timestamp,
    ) -> Result<Option<Id<User>>, StoreError> {
        let token = token.clone();
        self.write(move |connection| {
            let Some(user) = by_reset_token(connection, &token, now)? else {
                return Ok(None);
            };
            set_attempts(connection, user, LoginAttempts::default())?;
            set_password(connection, user, &password_hash, now)?;
            end_sessions(connection, user, None, now)?;
            Ok(Some(user.get()))
        })
        .await
    }

    async fn change_password(
        &self,
        change: PasswordChange,
        now: Timestamp,
    ) -> Result<Admission, StoreError> {
        self.write(move |connection| {
            let user = StoredId::from(change.user);
            let admission = admit(connection, user, &change.old, now)?;
            if admission == Admission::Granted {
                set_password(connection, user, &change.new, now)?;
                end_sessions(connection, user, Some(change.kept.into()), now)?;
            }
            Ok(admission)
        })
        .await
    }

    async fn delete(
        &self,
        user: Id<User>,
        password_hash: PasswordHash,
        now: Timestamp,
    ) -> Result<Admission, StoreError> {
        self.write(move |connection| {
            let user = StoredId::from(user);
            let admission = admit(connection, user, &password_hash, now)?;
            if admission == Admission::Granted {
                erase(connection, user)?;
            }
            Ok(admission)
        })
        .await
    }
}

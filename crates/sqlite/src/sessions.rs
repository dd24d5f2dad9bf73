//! Sessions and their refresh tokens.

use async_trait::async_trait;
use diesel::prelude::*;
use tasks_domain::account::{
    ClientInfo, LoginAttempts, NewRefreshToken, NewSession, RefreshTokenState, RefreshVerdict,
    Rotation, SessionOpening, SessionRef, SessionRepository, TokenDigest, User,
};
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;
use tasks_domain::store::StoreError;

use crate::SqliteStore;
use crate::error::Failure;
use crate::schema::{refresh_tokens, sessions, users};
use crate::users::{AttemptsRow, UserRow, set_attempts, write_uncounted};
use crate::values::{StoredId, optional_time, time};

/// Stores a session with its first refresh token.
pub(crate) fn insert_session(
    connection: &mut SqliteConnection,
    user: Id<User>,
    session: &NewSession,
) -> Result<(), Failure> {
    let token = &session.refresh_token;
    diesel::insert_into(sessions::table)
        .values((
            sessions::id.eq(StoredId::from(session.id)),
            sessions::user_id.eq(StoredId::from(user)),
            sessions::created_at.eq(token.created_at.unix_micros()),
            sessions::last_used_at.eq(token.created_at.unix_micros()),
            sessions::expires_at.eq(token.expires_at.unix_micros()),
            sessions::user_agent.eq(session.client.user_agent.as_deref()),
            sessions::ip_address.eq(session.client.address.to_string()),
        ))
        .execute(connection)?;
    insert_token(connection, user.into(), session.id.into(), token)
}

fn insert_token(
    connection: &mut SqliteConnection,
    user: StoredId,
    session: StoredId,
    token: &NewRefreshToken,
) -> Result<(), Failure> {
    diesel::insert_into(refresh_tokens::table)
        .values((
            refresh_tokens::id.eq(StoredId::from(token.id)),
            refresh_tokens::user_id.eq(user),
            refresh_tokens::session_id.eq(session),
            refresh_tokens::token_hash.eq(token.digest.expose()),
            refresh_tokens::expires_at.eq(token.expires_at.unix_micros()),
            refresh_tokens::created_at.eq(token.created_at.unix_micros()),
        ))
        .execute(connection)?;
    Ok(())
}

fn end_session(
    connection: &mut SqliteConnection,
    session: StoredId,
    now: Timestamp,
) -> Result<(), Failure> {
    diesel::update(sessions::table.find(session))
        .filter(sessions::ended_at.is_null())
        .set(sessions::ended_at.eq(now.unix_micros()))
        .execute(connection)?;
    Ok(())
}

#[async_trait]
impl SessionRepository for SqliteStore {
    async fn open(
        &self,
        user: Id<User>,
        session: NewSession,
        now: Timestamp,
    ) -> Result<SessionOpening, StoreError> {
        self.write(move |connection| {
            let attempts = users::table
                .find(StoredId::from(user))
                .select(AttemptsRow::as_select())
                .first(connection)
                .optional()?;
            let Some(attempts) = attempts else {
                write_uncounted(connection)?;
                return Ok(SessionOpening::NoAccount);
            };
            match LoginAttempts::try_from(attempts)?.after_success(now) {
                Ok(attempts) => {
                    set_attempts(connection, user.into(), attempts)?;
                    insert_session(connection, user, &session)?;
                    Ok(SessionOpening::Opened)
                }
                Err(locked) => {
                    write_uncounted(connection)?;
                    Ok(SessionOpening::Locked(locked))
                }
            }
        })
        .await
    }

    async fn find_signed_in(&self, session: SessionRef) -> Result<Option<User>, StoreError> {
        self.read(move |connection| {
            let user = sessions::table
                .inner_join(users::table)
                .filter(sessions::id.eq(StoredId::from(session.session)))
                .filter(sessions::user_id.eq(StoredId::from(session.user)))
                .filter(sessions::ended_at.is_null())
                .select(UserRow::as_select())
                .first(connection)
                .optional()?;
            Ok(user.map(User::try_from).transpose()?)
        })
        .await
    }

    async fn rotate(
        &self,
        presented: &TokenDigest,
        successor: NewRefreshToken,
        client: ClientInfo,
    ) -> Result<Rotation, StoreError> {
        let presented = presented.clone();
        self.write(move |connection| {
            type Found = (StoredId, i64, Option<i64>, StoredId, Option<i64>, UserRow);
            let found: Option<Found> = refresh_tokens::table
                .inner_join(sessions::table.inner_join(users::table))
                .filter(refresh_tokens::token_hash.eq(presented.expose()))
                .select((
                    refresh_tokens::id,
                    refresh_tokens::expires_at,
                    refresh_tokens::revoked_at,
                    sessions::id,
                    sessions::ended_at,
                    UserRow::as_select(),
                ))
                .first(connection)
                .optional()?;
            let Some((token, expires_at, revoked_at, session, ended_at, user)) = found else {
                return Ok(Rotation::Refused);
            };
            let user = User::try_from(user)?;
            let state = RefreshTokenState {
                expires_at: time("refresh_tokens.expires_at", expires_at)?,
                used_at: optional_time("refresh_tokens.revoked_at", revoked_at)?,
                session_ended: ended_at.is_some(),
            };
            let now = successor.created_at;
            let reference = SessionRef {
                user: user.id,
                session: session.get(),
            };
            match state.judge(now) {
                RefreshVerdict::Refuse => Ok(Rotation::Refused),
                RefreshVerdict::RefuseRetry => Ok(Rotation::Retried(reference)),
                RefreshVerdict::EndSession => {
                    end_session(connection, session, now)?;
                    Ok(Rotation::Reused(reference))
                }
                RefreshVerdict::Exchange => {
                    diesel::update(refresh_tokens::table.find(token))
                        .set(refresh_tokens::revoked_at.eq(now.unix_micros()))
                        .execute(connection)?;
                    insert_token(connection, user.id.into(), session, &successor)?;
                    diesel::update(sessions::table.find(session))
                        .set((
                            sessions::last_used_at.eq(now.unix_micros()),
                            sessions::expires_at.eq(successor.expires_at.unix_micros()),
                            sessions::user_agent.eq(client.user_agent.as_deref()),
                            sessions::ip_address.eq(client.address.to_string()),
                        ))
                        .execute(connection)?;
                    Ok(Rotation::Rotated {
                        session: reference,
                        user,
                    })
                }
            }
        })
        .await
    }

    async fn end_by_token(
        &self,
        presented: &TokenDigest,
        now: Timestamp,
    ) -> Result<Option<SessionRef>, StoreError> {
        let presented = presented.clone();
        self.write(move |connection| {
            let found: Option<(StoredId, StoredId)> = refresh_tokens::table
                .filter(refresh_tokens::token_hash.eq(presented.expose()))
                .select((refresh_tokens::user_id, refresh_tokens::session_id))
                .first(connection)
                .optional()?;
            let Some((user, session)) = found else {
                return Ok(None);
            };
            end_session(connection, session, now)?;
            Ok(Some(SessionRef {
                user: user.get(),
                session: session.get(),
            }))
        })
        .await
    }
}

//! Sessions and their refresh tokens.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use tasks_domain::account::{
    Admission, ClientInfo, NewRefreshToken, NewSession, PasswordHash, RefreshTokenState,
    RefreshVerdict, Rotation, Session, SessionRef, SessionRepository, TokenDigest, User,
};
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;
use tasks_domain::store::StoreError;

use crate::SqliteStore;
use crate::error::Failure;
use crate::schema::{refresh_tokens, sessions, users};
use crate::users::{UserRow, admit};
use crate::values::{StoredId, optional_time, time};

#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions, check_for_backend(Sqlite))]
struct SessionRow {
    id: StoredId,
    user_id: StoredId,
    created_at: i64,
    last_used_at: i64,
    expires_at: i64,
    user_agent: Option<String>,
    ip_address: String,
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> Result<Self, StoreError> {
        let address = row
            .ip_address
            .parse()
            .map_err(|_no_address| StoreError::corrupt("sessions.ip_address"))?;
        Ok(Self {
            id: row.id.get(),
            user: row.user_id.get(),
            created_at: time("sessions.created_at", row.created_at)?,
            last_used_at: time("sessions.last_used_at", row.last_used_at)?,
            expires_at: time("sessions.expires_at", row.expires_at)?,
            client: ClientInfo {
                user_agent: row.user_agent,
                address,
            },
        })
    }
}

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

/// Ends those of a user's sessions that were unused for longest, so that there is room for one more.
fn make_room(
    connection: &mut SqliteConnection,
    user: StoredId,
    now: Timestamp,
) -> Result<(), Failure> {
    let kept = i64::try_from(Session::MAX_PER_USER - 1).unwrap_or(i64::MAX);
    let too_many: Vec<StoredId> = sessions::table
        .filter(sessions::user_id.eq(user))
        .filter(sessions::ended_at.is_null())
        .filter(sessions::expires_at.gt(now.unix_micros()))
        .order((sessions::last_used_at.desc(), sessions::id.desc()))
        .offset(kept)
        .select(sessions::id)
        .load(connection)?;
    // Mostly none, and otherwise mostly one.
    for session in too_many {
        end_session(connection, session, now)?;
    }
    Ok(())
}

/// Ends every session of a user but, if there is one, that to keep. Expired ones too: an access token
/// may outlive its session's refresh token.
pub(crate) fn end_sessions(
    connection: &mut SqliteConnection,
    user: StoredId,
    kept: Option<StoredId>,
    now: Timestamp,
) -> Result<(), Failure> {
    let of_user = sessions::table
        .filter(sessions::user_id.eq(user))
        .filter(sessions::ended_at.is_null());
    let ended = sessions::ended_at.eq(now.unix_micros());
    match kept {
        None => diesel::update(of_user).set(ended).execute(connection)?,
        Some(kept) => diesel::update(of_user.filter(sessions::id.ne(kept)))
            .set(ended)
            .execute(connection)?,
    };
    Ok(())
}

#[async_trait]
impl SessionRepository for SqliteStore {
    async fn open(
        &self,
        user: Id<User>,
        password_hash: PasswordHash,
        session: NewSession,
        now: Timestamp,
    ) -> Result<Admission, StoreError> {
        self.write(move |connection| {
            let admission = admit(connection, user.into(), &password_hash, now)?;
            if admission == Admission::Granted {
                make_room(connection, user.into(), now)?;
                insert_session(connection, user, &session)?;
            }
            Ok(admission)
        })
        .await
    }

    async fn find(&self, id: Id<Session>, now: Timestamp) -> Result<Option<Session>, StoreError> {
        self.read(move |connection| {
            let row = sessions::table
                .find(StoredId::from(id))
                .filter(sessions::ended_at.is_null())
                .filter(sessions::expires_at.gt(now.unix_micros()))
                .select(SessionRow::as_select())
                .get_result(connection)
                .optional()?;
            Ok(row.map(Session::try_from).transpose()?)
        })
        .await
    }

    async fn list(&self, user: Id<User>, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        self.read(move |connection| {
            let rows = sessions::table
                .filter(sessions::user_id.eq(StoredId::from(user)))
                .filter(sessions::ended_at.is_null())
                .filter(sessions::expires_at.gt(now.unix_micros()))
                .order((sessions::created_at.desc(), sessions::id.desc()))
                .select(SessionRow::as_select())
                .load(connection)?;
            let sessions: Result<_, _> = rows.into_iter().map(Session::try_from).collect();
            Ok(sessions?)
        })
        .await
    }

    async fn end(&self, id: Id<Session>, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let ended = diesel::update(sessions::table.find(StoredId::from(id)))
                .filter(sessions::ended_at.is_null())
                .filter(sessions::expires_at.gt(now.unix_micros()))
                .set(sessions::ended_at.eq(now.unix_micros()))
                .execute(connection)?;
            Ok(ended > 0)
        })
        .await
    }

    async fn end_all(&self, user: Id<User>, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |connection| end_sessions(connection, user.into(), None, now))
            .await
    }

    async fn find_signed_in(&self, session: SessionRef) -> Result<Option<User>, StoreError> {
        self.look_up(move |connection| {
            let user = sessions::table
                .inner_join(users::table)
                .filter(sessions::id.eq(StoredId::from(session.session)))
                .filter(sessions::user_id.eq(StoredId::from(session.user)))
                .filter(sessions::ended_at.is_null())
                .select(UserRow::as_select())
                .get_result(connection)
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
                .get_result(connection)
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
                RefreshVerdict::RefuseEnded => Ok(Rotation::Ended(reference)),
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
                .get_result(connection)
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

//! Sessions and their refresh tokens.

use std::sync::Arc;

use async_trait::async_trait;
use diesel::data_types::PgTimestamp;
use diesel::dsl::auto_type;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{self, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tasks_domain::account::{
    Admission, ClientInfo, LoginAttempts, NewRefreshToken, NewSession, PasswordHash,
    RefreshTokenState, RefreshVerdict, Rotation, Session, SessionRef, SessionRepository,
    TokenDigest, User,
};
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;
use tasks_domain::store::StoreError;
use uuid::Uuid;

use crate::PgStore;
use crate::error::Failure;
use crate::kept::kept;
use crate::schema::{refresh_tokens, sessions, users};
use crate::users::{UserRow, admit, set_attempts, write_uncounted};
use crate::values::{optional_time, stored, time};

#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions, check_for_backend(Pg))]
struct SessionRow {
    id: Uuid,
    user_id: Uuid,
    created_at: PgTimestamp,
    last_used_at: PgTimestamp,
    expires_at: PgTimestamp,
    user_agent: Option<String>,
    ip_address: String,
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: Id::new(row.id),
            user: Id::new(row.user_id),
            created_at: time("sessions.created_at", row.created_at)?,
            last_used_at: time("sessions.last_used_at", row.last_used_at)?,
            expires_at: time("sessions.expires_at", row.expires_at)?,
            client: ClientInfo {
                user_agent: row.user_agent,
                address: row
                    .ip_address
                    .parse()
                    .map_err(|_no_address| StoreError::corrupt("sessions.ip_address"))?,
            },
        })
    }
}

/// Sessions that have neither ended nor expired.
#[auto_type]
fn going_on(now: PgTimestamp) -> _ {
    sessions::table
        .filter(sessions::ended_at.is_null())
        .filter(sessions::expires_at.gt(now))
}

/// Stores a session with its first refresh token.
pub(crate) async fn insert_session(
    session: &mut AsyncPgConnection,
    user: Id<User>,
    new: &NewSession,
) -> Result<(), Failure> {
    let token = &new.refresh_token;
    diesel::insert_into(sessions::table)
        .values((
            sessions::id.eq(new.id.uuid()),
            sessions::user_id.eq(user.uuid()),
            sessions::created_at.eq(stored(token.created_at)),
            sessions::last_used_at.eq(stored(token.created_at)),
            sessions::expires_at.eq(stored(token.expires_at)),
            sessions::user_agent.eq(new.client.user_agent.as_deref()),
            sessions::ip_address.eq(new.client.address.to_string()),
        ))
        .execute(session)
        .await?;
    diesel::insert_into(refresh_tokens::table)
        .values((
            refresh_tokens::id.eq(token.id.uuid()),
            refresh_tokens::user_id.eq(user.uuid()),
            refresh_tokens::session_id.eq(new.id.uuid()),
            refresh_tokens::token_hash.eq(token.digest.expose()),
            refresh_tokens::expires_at.eq(stored(token.expires_at)),
            refresh_tokens::created_at.eq(stored(token.created_at)),
        ))
        .execute(session)
        .await?;
    Ok(())
}

/// Exchanges a token, `$3`, for its successor, if it is not used and its session, `$1`, goes on; nothing
/// otherwise. One statement instead of a transaction of many. It locks in our order: the session, then the
/// token, which is looked at again if somebody else had it.
const EXCHANGE: &str = "WITH locked AS MATERIALIZED ( \
         SELECT id, user_id FROM sessions WHERE id = $1 AND ended_at IS NULL FOR NO KEY UPDATE \
     ), used AS ( \
         UPDATE refresh_tokens SET revoked_at = $2 FROM locked \
         WHERE refresh_tokens.id = $3 AND refresh_tokens.session_id = locked.id \
             AND refresh_tokens.revoked_at IS NULL \
         RETURNING locked.id, locked.user_id \
     ), successor AS ( \
         INSERT INTO refresh_tokens (id, user_id, session_id, token_hash, expires_at, created_at) \
         SELECT $4, used.user_id, used.id, $5, $6, $2 FROM used \
     ) \
     UPDATE sessions SET last_used_at = $2, expires_at = $6, user_agent = $7, ip_address = $8 \
     FROM used WHERE sessions.id = used.id";

/// Whether the presented token was still good, and is exchanged.
async fn exchange(
    session: &mut AsyncPgConnection,
    presented: &Presented,
    successor: &NewRefreshToken,
    client: &ClientInfo,
) -> Result<bool, Failure> {
    let exchange = diesel::sql_query(EXCHANGE)
        .bind::<sql_types::Uuid, _>(presented.session)
        .bind::<Timestamptz, _>(stored(successor.created_at))
        .bind::<sql_types::Uuid, _>(presented.token)
        .bind::<sql_types::Uuid, _>(successor.id.uuid())
        .bind::<Text, _>(successor.digest.expose())
        .bind::<Timestamptz, _>(stored(successor.expires_at))
        .bind::<Nullable<Text>, _>(client.user_agent.as_deref())
        .bind::<Text, _>(client.address.to_string());
    Ok(kept(exchange).execute(session).await? > 0)
}

async fn end_these(
    session: &mut AsyncPgConnection,
    ended: &[Uuid],
    now: Timestamp,
) -> Result<(), Failure> {
    let update = diesel::update(sessions::table)
        .filter(sessions::id.eq_any(ended))
        .filter(sessions::ended_at.is_null())
        .set(sessions::ended_at.eq(stored(now)));
    kept(update).execute(session).await?;
    Ok(())
}

/// Ends those of a user's sessions that were unused for longest, so that there is room for one more. The
/// user's row is to be locked before: so no two find the same room, nor lock sessions in different orders.
async fn make_room(
    session: &mut AsyncPgConnection,
    user: Uuid,
    now: Timestamp,
) -> Result<(), Failure> {
    let stay = i64::try_from(Session::MAX_PER_USER - 1).unwrap_or(i64::MAX);
    let too_many: Vec<Uuid> = going_on(stored(now))
        .filter(sessions::user_id.eq(user))
        .order((sessions::last_used_at.desc(), sessions::id.desc()))
        .offset(stay)
        .select(sessions::id)
        .load(session)
        .await?;
    if too_many.is_empty() {
        return Ok(());
    }
    end_these(session, &too_many, now).await
}

/// Ends a user's sessions but the spared one. The user's row is to be locked before: so no two transactions
/// lock several sessions of a user, each in its own order.
pub(crate) async fn end_sessions(
    mut session: &AsyncPgConnection,
    user: Uuid,
    spared: Option<Uuid>,
    now: Timestamp,
) -> Result<(), Failure> {
    let update = diesel::update(sessions::table)
        .filter(sessions::user_id.eq(user))
        .filter(sessions::id.ne_all(spared.as_slice()))
        .filter(sessions::ended_at.is_null())
        .set(sessions::ended_at.eq(stored(now)));
    kept(update).execute(&mut session).await?;
    Ok(())
}

/// A token that somebody presents, and whose it is.
struct Presented {
    token: Uuid,
    session: Uuid,
    state: RefreshTokenState,
    user: User,
}

impl Presented {
    async fn find(
        mut session: &AsyncPgConnection,
        digest: &TokenDigest,
    ) -> Result<Option<Self>, Failure> {
        type Row = (
            Uuid,
            Uuid,
            PgTimestamp,
            Option<PgTimestamp>,
            Option<PgTimestamp>,
            UserRow,
        );
        let found: Option<Row> = refresh_tokens::table
            .inner_join(sessions::table.inner_join(users::table))
            .filter(refresh_tokens::token_hash.eq(digest.expose()))
            .select((
                refresh_tokens::id,
                sessions::id,
                refresh_tokens::expires_at,
                refresh_tokens::revoked_at,
                sessions::ended_at,
                UserRow::as_select(),
            ))
            .first(&mut session)
            .await
            .optional()?;
        let Some((token, session, expires_at, revoked_at, ended_at, user)) = found else {
            return Ok(None);
        };
        Ok(Some(Self {
            token,
            session,
            state: RefreshTokenState {
                expires_at: time("refresh_tokens.expires_at", expires_at)?,
                used_at: optional_time("refresh_tokens.revoked_at", revoked_at)?,
                session_ended: ended_at.is_some(),
            },
            user: user.try_into()?,
        }))
    }

    fn reference(&self) -> SessionRef {
        SessionRef {
            user: self.user.id,
            session: Id::new(self.session),
        }
    }

    fn rotated(&self) -> Rotation {
        Rotation::Rotated {
            session: self.reference(),
            user: self.user.clone(),
        }
    }
}

/// Exchanges a token or says why not, under the lock of its session.
async fn rotate_locked(
    session: &mut AsyncPgConnection,
    digest: &TokenDigest,
    successor: &NewRefreshToken,
    client: &ClientInfo,
) -> Result<Rotation, Failure> {
    // Whatever is done with the tokens of a session waits for its row: one row, so that no two
    // wait for each other.
    let locked: Option<Uuid> = sessions::table
        .filter(
            sessions::id.eq_any(
                refresh_tokens::table
                    .filter(refresh_tokens::token_hash.eq(digest.expose()))
                    .select(refresh_tokens::session_id),
            ),
        )
        .select(sessions::id)
        .for_no_key_update()
        .first(session)
        .await
        .optional()?;
    if locked.is_none() {
        return Ok(Rotation::Refused);
    }
    // A statement of its own, so that it sees what was committed during the wait.
    let Some(presented) = Presented::find(session, digest).await? else {
        return Ok(Rotation::Refused);
    };
    let now = successor.created_at;
    match presented.state.judge(now) {
        RefreshVerdict::Refuse => Ok(Rotation::Refused),
        RefreshVerdict::RefuseEnded => Ok(Rotation::Ended(presented.reference())),
        RefreshVerdict::RefuseRetry => Ok(Rotation::Retried(presented.reference())),
        RefreshVerdict::EndSession => {
            end_these(session, &[presented.session], now).await?;
            Ok(Rotation::Reused(presented.reference()))
        }
        RefreshVerdict::Exchange => {
            let exchanged = exchange(session, &presented, successor, client).await?;
            Ok(if exchanged {
                presented.rotated()
            } else {
                Rotation::Refused
            })
        }
    }
}

#[async_trait]
impl SessionRepository for PgStore {
    async fn open(
        &self,
        user: Id<User>,
        password_hash: PasswordHash,
        session: NewSession,
        now: Timestamp,
    ) -> Result<Admission, StoreError> {
        let input = (user, password_hash, session, now);
        self.transact(input, |session, (user, password_hash, new, now)| {
            Box::pin(async move {
                let admission = admit(session, *user, password_hash, *now).await?;
                if let Admission::Granted = admission {
                    set_attempts(session, user.uuid(), LoginAttempts::default()).await?;
                    make_room(session, user.uuid(), *now).await?;
                    insert_session(session, *user, new).await?;
                } else {
                    write_uncounted(session).await?;
                }
                Ok(admission)
            })
        })
        .await
    }

    async fn find(&self, id: Id<Session>, now: Timestamp) -> Result<Option<Session>, StoreError> {
        self.read((id, now), |session, (id, now)| {
            Box::pin(async move {
                let row = going_on(stored(*now))
                    .filter(sessions::id.eq(id.uuid()))
                    .select(SessionRow::as_select())
                    .first(session)
                    .await
                    .optional()?;
                Ok(row.map(Session::try_from).transpose()?)
            })
        })
        .await
    }

    async fn list(&self, user: Id<User>, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        self.read((user, now), |session, (user, now)| {
            Box::pin(async move {
                let rows = going_on(stored(*now))
                    .filter(sessions::user_id.eq(user.uuid()))
                    .order((sessions::created_at.desc(), sessions::id.desc()))
                    .select(SessionRow::as_select())
                    .load(session)
                    .await?;
                let sessions: Result<_, _> = rows.into_iter().map(Session::try_from).collect();
                Ok(sessions?)
            })
        })
        .await
    }

    async fn end(&self, id: Id<Session>, now: Timestamp) -> Result<bool, StoreError> {
        self.write((id, now), |session, (id, now)| {
            Box::pin(async move {
                let now = stored(*now);
                let update = diesel::update(going_on(now).filter(sessions::id.eq(id.uuid())))
                    .set(sessions::ended_at.eq(now));
                Ok(kept(update).execute(session).await? > 0)
            })
        })
        .await
    }

    async fn end_all(&self, user: Id<User>, now: Timestamp) -> Result<(), StoreError> {
        self.transact((user, now), |session, (user, now)| {
            Box::pin(async move {
                let locked = users::table.find(user.uuid()).for_no_key_update();
                locked.select(users::id).execute(session).await?;
                end_sessions(session, user.uuid(), None, *now).await
            })
        })
        .await
    }

    async fn find_signed_in(&self, session: SessionRef) -> Result<Option<User>, StoreError> {
        self.look(session, |mut session, wanted| {
            Box::pin(async move {
                let user = sessions::table
                    .inner_join(users::table)
                    .filter(sessions::id.eq(wanted.session.uuid()))
                    .filter(sessions::user_id.eq(wanted.user.uuid()))
                    .filter(sessions::ended_at.is_null())
                    .select(UserRow::as_select())
                    .first(&mut session)
                    .await
                    .optional()?;
                Ok(user.map(User::try_from).transpose()?)
            })
        })
        .await
    }

    async fn rotate(
        &self,
        presented: &TokenDigest,
        successor: NewRefreshToken,
        client: ClientInfo,
    ) -> Result<Rotation, StoreError> {
        let found = self.look(presented.clone(), |session, digest| {
            Box::pin(Presented::find(session, digest))
        });
        let Some(found) = found.await? else {
            return Ok(Rotation::Refused);
        };
        let input = Arc::new((found, successor, client));
        let (found, successor, _) = &*input;
        // Most tokens are good. One is exchanged only if it still is as it was judged by, which takes no lock
        // before. Whatever else is to be done is judged once more, under the lock.
        if found.state.judge(successor.created_at) == RefreshVerdict::Exchange {
            let exchanged = self.write(Arc::clone(&input), |session, input| {
                Box::pin(async move {
                    let (found, successor, client) = &**input;
                    exchange(session, found, successor, client).await
                })
            });
            if exchanged.await? {
                return Ok(found.rotated());
            }
        }
        let input = (presented.clone(), input);
        self.transact(input, |session, (digest, input)| {
            Box::pin(async move {
                let (_, successor, client) = &**input;
                rotate_locked(session, digest, successor, client).await
            })
        })
        .await
    }

    async fn end_by_token(
        &self,
        presented: &TokenDigest,
        now: Timestamp,
    ) -> Result<Option<SessionRef>, StoreError> {
        self.write((presented.clone(), now), |session, (presented, now)| {
            Box::pin(async move {
                let found: Option<(Uuid, Uuid)> = refresh_tokens::table
                    .filter(refresh_tokens::token_hash.eq(presented.expose()))
                    .select((refresh_tokens::user_id, refresh_tokens::session_id))
                    .first(session)
                    .await
                    .optional()?;
                let Some((user, ended)) = found else {
                    return Ok(None);
                };
                end_these(session, &[ended], *now).await?;
                Ok(Some(SessionRef {
                    user: Id::new(user),
                    session: Id::new(ended),
                }))
            })
        })
        .await
    }
}

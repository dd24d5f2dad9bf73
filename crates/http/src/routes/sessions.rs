//! `/api/v1/users/me/sessions`: where the signed-in user is signed in.

use actix_web::{delete, get, web};
use serde::Serialize;
use tasks_domain::account::{EndSessionError, Session, SessionRef};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Answer, no_content, ok};
use crate::app::Api;
use crate::client::Client;
use crate::input::Path;
use crate::openapi::refusals;
use crate::problem::Problem;
use crate::signed_in::SignedIn;
use crate::time::Time;

/// A session: a login with its chain of refresh tokens.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0198c7a4-7d20-7b6a-8e31-6f1c0d9b2a54",
    "created_at": "2026-11-23T08:00:00.123456Z",
    "last_used_at": "2026-11-24T19:30:00.654321Z",
    "expires_at": "2026-12-01T19:30:00.654321Z",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "ip_address": "203.0.113.7",
    "current": true,
}))]
pub(super) struct SessionRead {
    #[schema(example = "0198c7a4-7d20-7b6a-8e31-6f1c0d9b2a54")]
    id: Uuid,
    /// When the user came in.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T08:00:00.123456Z")]
    created_at: Time,
    /// When it was last refreshed, or opened.
    #[schema(value_type = String, format = DateTime, example = "2026-11-24T19:30:00.654321Z")]
    last_used_at: Time,
    /// When it ends if it is not refreshed before.
    #[schema(value_type = String, format = DateTime, example = "2026-12-01T19:30:00.654321Z")]
    expires_at: Time,
    /// What the client called itself when the session was last used, if it said so.
    #[schema(required = true, max_length = 256, example = "curl/8.14.1")]
    user_agent: Option<String>,
    /// The address that it was last used from.
    #[schema(example = "203.0.113.7")]
    ip_address: String,
    /// Whether it is the one of this call.
    #[schema(example = true)]
    current: bool,
}

impl SessionRead {
    fn new(session: &Session, current: SessionRef) -> Self {
        Self {
            id: session.id.uuid(),
            created_at: Time(session.created_at),
            last_used_at: Time(session.last_used_at),
            expires_at: Time(session.expires_at),
            user_agent: session.client.user_agent.clone(),
            ip_address: session.client.address.to_string(),
            current: session.id == current.session,
        }
    }
}

/// All sessions of a user that have neither ended nor expired, the newest first.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "items": [{
    "id": "0198c7a4-7d20-7b6a-8e31-6f1c0d9b2a54",
    "created_at": "2026-11-23T08:00:00.123456Z",
    "last_used_at": "2026-11-24T19:30:00.654321Z",
    "expires_at": "2026-12-01T19:30:00.654321Z",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "ip_address": "203.0.113.7",
    "current": true,
    }],
    "total": 1,
}))]
pub(super) struct SessionList {
    items: Vec<SessionRead>,
    /// How many there are.
    #[schema(example = 1)]
    total: usize,
}

impl From<EndSessionError> for Problem {
    fn from(error: EndSessionError) -> Self {
        match error {
            EndSessionError::Access(error) => error.into(),
            EndSessionError::Store(error) => error.into(),
        }
    }
}

refusals!(EndSessionRefusals: Forbidden, NotFound);

/// List one's sessions
///
/// Those of the caller that have neither ended nor expired, the newest first.
#[utoipa::path(
    operation_id = "list_sessions", tag = "users", security(("bearer" = [])),
    responses((status = 200, description = "The sessions", body = SessionList)),
)]
#[get("/api/v1/users/me/sessions")]
pub(super) async fn list(api: web::Data<Api>, signed_in: SignedIn) -> Answer {
    let sessions = api.accounts.sessions(&signed_in.caller).await?;
    let read = |session| SessionRead::new(session, signed_in.session);
    let items: Vec<_> = sessions.iter().map(read).collect();
    let total = items.len();
    Ok(ok(&SessionList { items, total }))
}

/// End a session
///
/// One of the caller's, with its access tokens; it may be the one of this call.
#[utoipa::path(
    operation_id = "end_session", tag = "users", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The session's id")),
    responses((status = 204, description = "It has ended"), EndSessionRefusals),
)]
#[delete("/api/v1/users/me/sessions/{id}")]
pub(super) async fn end(
    api: web::Data<Api>,
    Client(client): Client,
    SignedIn {
        caller,
        input: Path(id),
        ..
    }: SignedIn<Path<Session>>,
) -> Answer {
    api.accounts
        .end_session(&caller, id, client.address)
        .await?;
    Ok(no_content())
}

/// End all of one's sessions
///
/// With their access tokens, those of this call too.
#[utoipa::path(
    operation_id = "end_all_sessions", tag = "users", security(("bearer" = [])),
    responses((status = 204, description = "They have ended")),
)]
#[delete("/api/v1/users/me/sessions")]
pub(super) async fn end_all(
    api: web::Data<Api>,
    Client(client): Client,
    signed_in: SignedIn,
) -> Answer {
    api.accounts
        .end_all_sessions(&signed_in.caller, client.address)
        .await?;
    Ok(no_content())
}

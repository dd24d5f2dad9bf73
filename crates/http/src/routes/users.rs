//! `/api/v1/users/me`: the signed-in user.

use actix_web::{get, patch, web};
use garde::Validate;
use serde::{Deserialize, Serialize};
use tasks_domain::account::{FullName, UpdateProfileError, User};
use tasks_domain::clock::Timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Answer, ok};
use crate::app::Api;
use crate::input::{Body, BodyModel, Field, not_null, schema};
use crate::problem::{Code, Problem};
use crate::signed_in::SignedIn;
use crate::time::Time;

/// A user.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0198c7a2-5f0e-7c3b-9d41-3a5b8e2f7c10",
    "email": "ada@example.com",
    "full_name": "Ada Lovelace",
    "is_active": false,
    "created_at": "2026-11-23T08:00:00.123456Z",
    "updated_at": "2026-11-23T08:00:00.123456Z",
}))]
pub(super) struct UserRead {
    #[schema(example = "0198c7a2-5f0e-7c3b-9d41-3a5b8e2f7c10")]
    id: Uuid,
    #[schema(example = "ada@example.com")]
    email: String,
    #[schema(example = "Ada Lovelace")]
    full_name: String,
    /// Whether the e-mail address is verified.
    #[schema(example = false)]
    is_active: bool,
    #[schema(inline)]
    created_at: Time,
    #[schema(inline)]
    updated_at: Time,
}

impl From<&User> for UserRead {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.uuid(),
            email: user.email.as_str().to_owned(),
            full_name: user.full_name.as_str().to_owned(),
            is_active: user.is_active,
            created_at: Time(user.created_at),
            updated_at: Time(user.updated_at),
        }
    }
}

/// What is to change; an absent member stays as it is.
#[derive(Default, Deserialize, Validate, ToSchema)]
#[garde(context(Timestamp))]
#[serde(default)]
#[schema(example = json!({ "full_name": "Ada King" }))]
pub(super) struct UserUpdate {
    /// Another name.
    #[garde(custom(not_null))]
    #[schema(schema_with = schema::plain::<FullName>, required = false)]
    full_name: Field<FullName>,
}

impl BodyModel for UserUpdate {
    type Command = Option<FullName>;

    fn into_command(self) -> Option<Self::Command> {
        Some(self.full_name.value())
    }
}

impl From<UpdateProfileError> for Problem {
    fn from(error: UpdateProfileError) -> Self {
        match error {
            UpdateProfileError::NoAccount => Self::new(Code::TokenInvalid),
            UpdateProfileError::Store(error) => error.into(),
        }
    }
}

/// Read the signed-in user
///
/// The user whose access token it is.
#[utoipa::path(
    operation_id = "get_me", tag = "users", security(("bearer" = [])),
    responses((status = 200, description = "The signed-in user", body = UserRead)),
)]
#[get("/api/v1/users/me")]
pub(super) async fn get_me(signed_in: SignedIn) -> Answer {
    Ok(ok(&UserRead::from(&signed_in.caller)))
}

/// Change the signed-in user
///
/// Changes the members that are given.
#[utoipa::path(
    operation_id = "update_me", tag = "users", security(("bearer" = [])),
    request_body = UserUpdate,
    responses((status = 200, description = "The changed user", body = UserRead)),
)]
#[patch("/api/v1/users/me")]
pub(super) async fn update_me(
    api: web::Data<Api>,
    SignedIn {
        caller,
        input: Body(full_name),
    }: SignedIn<Body<UserUpdate>>,
) -> Answer {
    let user = api.accounts.update_profile(&caller, full_name).await?;
    Ok(ok(&UserRead::from(&user)))
}

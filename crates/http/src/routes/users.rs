//! `/api/v1/users/me`: the signed-in user.

use actix_web::{delete, get, patch, web};
use garde::Validate;
use serde::{Deserialize, Serialize};
use tasks_domain::account::{DeleteAccount, FullName, PasswordAttempt, UpdateProfileError, User};
use tasks_domain::clock::Timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Answer, no_content, ok};
use crate::app::Api;
use crate::client::Client;
use crate::input::{Body, BodyModel, Field, not_null, required, schema};
use crate::openapi::refusals;
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

/// The password again, before what cannot be undone.
#[derive(Default, Deserialize, Validate, ToSchema)]
#[garde(context(Timestamp))]
#[serde(default)]
#[schema(example = json!({ "password": "Correct-Horse-7!" }))]
pub(super) struct DeleteMeBody {
    /// The account's password.
    #[garde(custom(required))]
    #[schema(schema_with = schema::plain::<PasswordAttempt>, required = true)]
    password: Field<PasswordAttempt>,
}

impl BodyModel for DeleteMeBody {
    type Command = PasswordAttempt;

    fn into_command(self) -> Option<Self::Command> {
        self.password.value()
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

refusals!(DeleteMeRefusals: InvalidCredentials, AccountLocked);

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
        ..
    }: SignedIn<Body<UserUpdate>>,
) -> Answer {
    let user = api.accounts.update_profile(&caller, full_name).await?;
    Ok(ok(&UserRead::from(&user)))
}

/// Delete the account
///
/// Erases the signed-in user with everything that they own: sessions, tasks, categories. The address is
/// free again. This cannot be undone, so the password has to be given again. A wrong one is 401
/// `invalid_credentials`, and counts like a failed login: the fifth failure in a row locks the account
/// for 15 minutes, and is itself answered with 403 `account_locked`; under the lock the right password
/// is refused so, too. Do not take this 401 for a sign to refresh: switch on `code`.
#[utoipa::path(
    operation_id = "delete_me", tag = "users", security(("bearer" = [])),
    request_body = DeleteMeBody,
    responses((status = 204, description = "The account is gone"), DeleteMeRefusals),
)]
#[delete("/api/v1/users/me")]
pub(super) async fn delete_me(
    api: web::Data<Api>,
    Client(client): Client,
    SignedIn {
        caller,
        session,
        input: Body(password),
    }: SignedIn<Body<DeleteMeBody>>,
) -> Answer {
    let command = DeleteAccount {
        session,
        password,
        address: client.address,
    };
    let deleted = api.accounts.delete_account(&caller, command).await;
    deleted.map_err(Problem::reauthentication)?;
    Ok(no_content())
}

//! Another password: for somebody who forgot theirs (`/api/v1/auth`), and for a signed-in user
//! who knows it (`/api/v1/users/me`).

use actix_web::{post, web};
use garde::Validate;
use secrecy::SecretString;
use serde::Deserialize;
use tasks_domain::account::{
    ChangePassword, Password, PasswordAttempt, ResetPassword, ResetPasswordError,
};
use tasks_domain::clock::Timestamp;
use utoipa::ToSchema;

use super::verification::EmailBody;
use super::{Answer, accepted, no_content};
use crate::app::Api;
use crate::client::Client;
use crate::input::{Body, BodyModel, Field, LinkToken, required, schema};
use crate::openapi::refusals;
use crate::problem::{Code, Problem};
use crate::signed_in::{Public, SignedIn};

/// What the link of a reset mail carries, and another password.
#[derive(Default, Deserialize, Validate, ToSchema)]
#[garde(context(Timestamp))]
#[serde(default)]
#[schema(example = json!({
    "token": "Zk3q1v9XyT7mB2sQ0hR5dW8uE4nL6pC-aGjK_iQoVxY", "new_password": "Battery-Staple-8!",
}))]
pub(super) struct ResetPasswordBody {
    /// The `token` parameter of the link.
    #[garde(custom(required))]
    #[schema(schema_with = schema::plain::<LinkToken>, required = true)]
    token: Field<LinkToken>,
    /// What the password is to be.
    #[garde(custom(required))]
    #[schema(schema_with = schema::plain::<Password>, required = true)]
    new_password: Field<Password>,
}

impl BodyModel for ResetPasswordBody {
    type Command = (SecretString, Password);

    fn into_command(self) -> Option<Self::Command> {
        Some((self.token.value()?.0, self.new_password.value()?))
    }
}

/// The password of now, and another.
#[derive(Default, Deserialize, Validate, ToSchema)]
#[garde(context(Timestamp))]
#[serde(default)]
#[schema(example = json!({
    "current_password": "Correct-Horse-7!", "new_password": "Battery-Staple-8!",
}))]
pub(super) struct ChangePasswordBody {
    /// What the password is.
    #[garde(custom(required))]
    #[schema(schema_with = schema::plain::<PasswordAttempt>, required = true)]
    current_password: Field<PasswordAttempt>,
    /// What it is to be.
    #[garde(custom(required))]
    #[schema(schema_with = schema::plain::<Password>, required = true)]
    new_password: Field<Password>,
}

impl BodyModel for ChangePasswordBody {
    type Command = (PasswordAttempt, Password);

    fn into_command(self) -> Option<Self::Command> {
        Some((self.current_password.value()?, self.new_password.value()?))
    }
}

impl From<ResetPasswordError> for Problem {
    fn from(error: ResetPasswordError) -> Self {
        match error {
            ResetPasswordError::InvalidToken => Self::new(Code::InvalidToken),
            ResetPasswordError::Hash(error) => error.into(),
            ResetPasswordError::Store(error) => error.into(),
        }
    }
}

refusals!(ResetPasswordRefusals: InvalidToken);
refusals!(ChangePasswordRefusals: InvalidCredentials, AccountLocked);

/// Ask for a mail to reset the password
///
/// A mail goes out if an account has the address; its link replaces older ones. Neither the answer
/// nor its time tells whether that is so.
#[utoipa::path(
    operation_id = "forgot_password", tag = "auth", request_body = EmailBody,
    responses((status = 202, description = "Taken, whoever has the address; the answer has no body")),
)]
#[post("/api/v1/auth/forgot-password")]
pub(super) async fn forgot_password(
    api: web::Data<Api>,
    Public(Body(email)): Public<Body<EmailBody>>,
) -> Answer {
    api.accounts.forgot_password(email).await?;
    Ok(accepted())
}

/// Reset the password
///
/// With the token of the link in a reset mail, `<PUBLIC_URL>/reset-password?token=…`, which is good
/// once, for one hour, and until a newer mail replaces it. Lifts a lock, and ends every session of the
/// user with its access tokens.
#[utoipa::path(
    operation_id = "reset_password", tag = "auth", request_body = ResetPasswordBody,
    responses(
        (status = 204, description = "The password is another, and every session has ended"),
        ResetPasswordRefusals,
    ),
)]
#[post("/api/v1/auth/reset-password")]
pub(super) async fn reset_password(
    api: web::Data<Api>,
    Client(client): Client,
    Public(Body((token, new))): Public<Body<ResetPasswordBody>>,
) -> Answer {
    let command = ResetPassword {
        token,
        new,
        address: client.address,
    };
    api.accounts.reset_password(command).await?;
    Ok(no_content())
}

/// Change the password
///
/// Ends all other sessions of the user with their access tokens; the one of this call goes on. A wrong
/// current password is 401 `invalid_credentials`, and counts like a failed login: the fifth failure in a
/// row locks the account for 15 minutes, and is itself answered with 403 `account_locked`; under the
/// lock the right password is refused so, too. Do not take this 401 for a sign to refresh: switch on
/// `code`.
#[utoipa::path(
    operation_id = "change_password", tag = "users", security(("bearer" = [])),
    request_body = ChangePasswordBody,
    responses(
        (status = 204, description = "The password is another, and all other sessions have ended"),
        ChangePasswordRefusals,
    ),
)]
#[post("/api/v1/users/me/change-password")]
pub(super) async fn change_password(
    api: web::Data<Api>,
    Client(client): Client,
    SignedIn {
        caller,
        session,
        input: Body((current, new)),
    }: SignedIn<Body<ChangePasswordBody>>,
) -> Answer {
    let command = ChangePassword {
        session,
        current,
        new,
        address: client.address,
    };
    let changed = api.accounts.change_password(&caller, command).await;
    changed.map_err(Problem::reauthentication)?;
    Ok(no_content())
}

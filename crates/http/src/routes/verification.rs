//! `/api/v1/auth`: proving that an address is one's own.

use actix_web::{post, web};
use garde::Validate;
use secrecy::SecretString;
use serde::Deserialize;
use tasks_domain::account::{Email, VerifyEmailError};
use tasks_domain::clock::Timestamp;
use utoipa::ToSchema;

use super::users::UserRead;
use super::{Answer, accepted, ok};
use crate::app::Api;
use crate::client::Client;
use crate::input::{Body, BodyModel, Field, LinkToken, required, schema};
use crate::openapi::refusals;
use crate::problem::{Code, Problem};
use crate::signed_in::Public;

/// What the link of a verification mail carries.
#[derive(Default, Deserialize, Validate, ToSchema)]
#[garde(context(Timestamp))]
#[serde(default)]
#[schema(example = json!({ "token": "Zk3q1v9XyT7mB2sQ0hR5dW8uE4nL6pC-aGjK_iQoVxY" }))]
pub(super) struct VerifyEmailBody {
    /// The `token` parameter of the link.
    #[garde(custom(required))]
    #[schema(schema_with = schema::plain::<LinkToken>, required = true)]
    token: Field<LinkToken>,
}

impl BodyModel for VerifyEmailBody {
    type Command = SecretString;

    fn into_command(self) -> Option<Self::Command> {
        Some(self.token.value()?.0)
    }
}

/// Where a mail is to go.
#[derive(Default, Deserialize, Validate, ToSchema)]
#[garde(context(Timestamp))]
#[serde(default)]
#[schema(example = json!({ "email": "ada@example.com" }))]
pub(super) struct EmailBody {
    /// The account's address.
    #[garde(custom(required))]
    #[schema(schema_with = schema::plain::<Email>, required = true)]
    email: Field<Email>,
}

impl BodyModel for EmailBody {
    type Command = Email;

    fn into_command(self) -> Option<Self::Command> {
        self.email.value()
    }
}

impl From<VerifyEmailError> for Problem {
    fn from(error: VerifyEmailError) -> Self {
        match error {
            VerifyEmailError::InvalidToken => Self::new(Code::InvalidToken),
            VerifyEmailError::Store(error) => error.into(),
        }
    }
}

refusals!(VerifyEmailRefusals: InvalidToken);

/// Verify an e-mail address
///
/// With the token of the link in a verification mail, `<PUBLIC_URL>/verify-email?token=…`, which is
/// good once, for 24 hours, and until a newer mail replaces it. From then on the user is active.
#[utoipa::path(
    operation_id = "verify_email", tag = "auth", request_body = VerifyEmailBody,
    responses(
        (status = 200, description = "The user, who is active now", body = UserRead,
            example = json!({
                "id": "0198c7a2-5f0e-7c3b-9d41-3a5b8e2f7c10",
                "email": "ada@example.com",
                "full_name": "Ada Lovelace",
                "is_active": true,
                "created_at": "2026-11-23T08:00:00.123456Z",
                "updated_at": "2026-11-23T08:05:00.123456Z",
            })),
        VerifyEmailRefusals,
    ),
)]
#[post("/api/v1/auth/verify-email")]
pub(super) async fn verify_email(
    api: web::Data<Api>,
    Client(client): Client,
    Public(Body(token)): Public<Body<VerifyEmailBody>>,
) -> Answer {
    let user = api.accounts.verify_email(&token, client.address).await?;
    Ok(ok(&UserRead::from(&user)))
}

/// Ask for another verification mail
///
/// A mail goes out if an account has the address and has not verified it; its link replaces older
/// ones. Neither the answer nor its time tells whether that is so.
#[utoipa::path(
    operation_id = "resend_verification", tag = "auth", request_body = EmailBody,
    responses((status = 202, description = "Taken, whoever has the address; the answer has no body")),
)]
#[post("/api/v1/auth/resend-verification")]
pub(super) async fn resend_verification(
    api: web::Data<Api>,
    Public(Body(email)): Public<Body<EmailBody>>,
) -> Answer {
    api.accounts.resend_verification(email).await?;
    Ok(accepted())
}

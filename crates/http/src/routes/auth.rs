//! `/api/v1/auth`: coming in, staying and leaving.

use actix_web::{HttpResponse, post, web};
use garde::Validate;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tasks_domain::account::{
    Email, FullName, LogIn, LogInError, Password, PasswordAttempt, Refresh, RefreshError, Register,
    RegisterError, TokenGrant,
};
use tasks_domain::clock::Timestamp;
use utoipa::ToSchema;

use super::users::UserRead;
use super::{Answer, no_content, ok};
use crate::app::Api;
use crate::client::Client;
use crate::input::{Body, BodyModel, Field, required, schema};
use crate::openapi::refusals;
use crate::problem::{Code, Problem};
use crate::signed_in::Public;

/// Who wants an account.
#[derive(Deserialize, Validate, ToSchema)]
#[garde(context(Timestamp))]
#[serde(default)]
#[derive(Default)]
#[schema(example = json!({
    "email": "ada@example.com", "password": "Correct-Horse-7!", "full_name": "Ada Lovelace",
}))]
pub(super) struct RegisterBody {
    /// An address as HTML's `input type=email` takes it; unique without regard to case.
    #[garde(custom(required))]
    #[schema(schema_with = schema::plain::<Email>, required = true)]
    email: Field<Email>,
    /// At least 8 characters and at most 72 bytes, with an upper-case letter, a digit and one of `!@#$%^&*`.
    #[garde(custom(required))]
    #[schema(schema_with = schema::plain::<Password>, required = true)]
    password: Field<Password>,
    /// How to address the user.
    #[garde(custom(required))]
    #[schema(schema_with = schema::plain::<FullName>, required = true)]
    full_name: Field<FullName>,
}

impl BodyModel for RegisterBody {
    type Command = (Email, Password, FullName);

    fn into_command(self) -> Option<Self::Command> {
        Some((
            self.email.value()?,
            self.password.value()?,
            self.full_name.value()?,
        ))
    }
}

/// Who wants to come in.
#[derive(Default, Deserialize, Validate, ToSchema)]
#[garde(context(Timestamp))]
#[serde(default)]
#[schema(example = json!({ "email": "ada@example.com", "password": "Correct-Horse-7!" }))]
pub(super) struct LoginBody {
    /// The account's address.
    #[garde(custom(required))]
    #[schema(schema_with = schema::plain::<Email>, required = true)]
    email: Field<Email>,
    /// Its password.
    #[garde(custom(required))]
    #[schema(schema_with = schema::plain::<PasswordAttempt>, required = true)]
    password: Field<PasswordAttempt>,
}

impl BodyModel for LoginBody {
    type Command = (Email, PasswordAttempt);

    fn into_command(self) -> Option<Self::Command> {
        Some((self.email.value()?, self.password.value()?))
    }
}

/// A refresh token.
#[derive(Default, Deserialize, Validate, ToSchema)]
#[garde(context(Timestamp))]
#[serde(default)]
#[schema(example = json!({
    "refresh_token": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}))]
pub(super) struct RefreshTokenBody {
    /// From register, login or the last refresh.
    #[garde(custom(required))]
    #[schema(schema_with = schema::plain::<SecretString>, required = true)]
    refresh_token: Field<SecretString>,
}

impl BodyModel for RefreshTokenBody {
    type Command = SecretString;

    fn into_command(self) -> Option<Self::Command> {
        self.refresh_token.value()
    }
}

/// What somebody who has come in gets.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIwMTk4YzdhMiJ9.c2lnbmF0dXJl",
    "refresh_token": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "token_type": "bearer",
    "expires_in": 900,
    "user": {
    "id": "0198c7a2-5f0e-7c3b-9d41-3a5b8e2f7c10",
    "email": "ada@example.com",
    "full_name": "Ada Lovelace",
    "is_active": false,
    "created_at": "2026-11-23T08:00:00.123456Z",
    "updated_at": "2026-11-23T08:00:00.123456Z",
    },
}))]
pub(super) struct TokenResponse {
    /// A JWT, for the `Authorization` header of every request.
    #[schema(
        example = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIwMTk4YzdhMiJ9.c2lnbmF0dXJl"
    )]
    access_token: String,
    /// Opaque; good once, for the next pair.
    #[schema(
        pattern = "^[0-9a-f]{64}$",
        example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    )]
    refresh_token: String,
    /// How to send the access token.
    #[schema(pattern = "^bearer$", example = "bearer")]
    token_type: &'static str,
    /// How long the access token works, in seconds.
    #[schema(minimum = 1, example = 900)]
    expires_in: u64,
    /// Who came in.
    user: UserRead,
}

impl From<TokenGrant> for TokenResponse {
    fn from(grant: TokenGrant) -> Self {
        Self {
            access_token: grant.access_token.expose_secret().to_owned(),
            refresh_token: grant.refresh_token.expose_secret().to_owned(),
            token_type: "bearer",
            expires_in: grant.expires_in.as_secs(),
            user: (&grant.user).into(),
        }
    }
}

impl From<RegisterError> for Problem {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::EmailTaken => Self::new(Code::EmailTaken),
            RegisterError::Hash(error) => error.into(),
            RegisterError::Store(error) => error.into(),
            RegisterError::Token(error) => Self::internal(error),
        }
    }
}

impl From<LogInError> for Problem {
    fn from(error: LogInError) -> Self {
        match error {
            LogInError::Password(error) => error.into(),
            LogInError::Token(error) => Self::internal(error),
        }
    }
}

impl From<RefreshError> for Problem {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Invalid => Self::new(Code::RefreshTokenInvalid),
            RefreshError::Used => Self::refresh_token_reused(),
            RefreshError::Store(error) => error.into(),
            RefreshError::Token(error) => Self::internal(error),
        }
    }
}

refusals!(RegisterRefusals: EmailTaken);
refusals!(LoginRefusals: InvalidCredentials, AccountLocked);
refusals!(RefreshRefusals: RefreshTokenInvalid);

/// Register
///
/// Makes an account, opens a session of its user, and sends a mail that asks to verify the address.
#[utoipa::path(
    operation_id = "register", tag = "auth", request_body = RegisterBody,
    responses(
        (status = 201, description = "The account is made and signed in", body = TokenResponse),
        RegisterRefusals,
    ),
)]
#[post("/api/v1/auth/register")]
pub(super) async fn register(
    api: web::Data<Api>,
    Client(client): Client,
    Public(Body((email, password, full_name))): Public<Body<RegisterBody>>,
) -> Answer {
    let command = Register {
        email,
        password,
        full_name,
        client,
    };
    let grant = api.accounts.register(command).await?;
    Ok(HttpResponse::Created().json(TokenResponse::from(grant)))
}

/// Log in
///
/// Opens a session. A wrong address and a wrong password are the same 401 `invalid_credentials`. The
/// fifth failure in a row locks the account for 15 minutes, and is itself answered with 403
/// `account_locked`; under the lock the right password is refused so, too.
#[utoipa::path(
    operation_id = "login", tag = "auth", request_body = LoginBody,
    responses(
        (status = 200, description = "Signed in", body = TokenResponse),
        LoginRefusals,
    ),
)]
#[post("/api/v1/auth/login")]
pub(super) async fn log_in(
    api: web::Data<Api>,
    Client(client): Client,
    Public(Body((email, password))): Public<Body<LoginBody>>,
) -> Answer {
    let command = LogIn {
        email,
        password,
        client,
    };
    let grant = api.accounts.log_in(command).await?;
    Ok(ok(&TokenResponse::from(grant)))
}

/// Refresh
///
/// Exchanges a refresh token, which is good once, for a new pair. Any other gets 401
/// `refresh_token_invalid`. A used token that comes again within 10 s is taken for a retry or a
/// second tab, and the session goes on; later it is taken for stolen and ends the session.
#[utoipa::path(
    operation_id = "refresh", tag = "auth", request_body = RefreshTokenBody,
    responses(
        (status = 200, description = "A new pair", body = TokenResponse),
        RefreshRefusals,
    ),
)]
#[post("/api/v1/auth/refresh")]
pub(super) async fn refresh(
    api: web::Data<Api>,
    Client(client): Client,
    Public(Body(refresh_token)): Public<Body<RefreshTokenBody>>,
) -> Answer {
    let command = Refresh {
        refresh_token,
        client,
    };
    let grant = api.accounts.refresh(command).await?;
    Ok(ok(&TokenResponse::from(grant)))
}

/// Log out
///
/// Ends the session of a refresh token, used or not, with its access tokens. An unknown token is
/// no error.
#[utoipa::path(
    operation_id = "logout", tag = "auth", request_body = RefreshTokenBody,
    responses((status = 204, description = "The session, if there was one, has ended")),
)]
#[post("/api/v1/auth/logout")]
pub(super) async fn log_out(
    api: web::Data<Api>,
    Client(client): Client,
    Public(Body(refresh_token)): Public<Body<RefreshTokenBody>>,
) -> Answer {
    api.accounts.log_out(&refresh_token, client.address).await?;
    Ok(no_content())
}

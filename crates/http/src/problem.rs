//! Problem documents (RFC 9457): the one form of every refusal.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use tasks_domain::BoxError;
use tasks_domain::access::{AccessError, EmailNotVerified};
use tasks_domain::account::{AccessTokenError, HashError, Locked, PasswordError};
use tasks_domain::clock::Timestamp;
use tasks_domain::store::StoreError;
use tasks_domain::task::Version;
use tasks_domain::text::Invalid;
use utoipa::ToSchema;

use crate::time::Time;

/// How long a caller should wait after a 503: long enough for a burst to pass or a store to return.
const RETRY_AFTER_UNAVAILABLE: Duration = Duration::from_secs(1);

/// The media type of problem documents.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

macro_rules! problem_codes {
    ($($variant:ident, $status:ident, $code:literal, $title:literal, $detail:literal;)*) => {
        /// What can be refused: the stable names that programs switch on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// Every code.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The status that goes with it.
            pub(crate) const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// The name on the wire.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// What people read first.
            pub(crate) const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What people read next, where nothing better is known.
            pub(crate) const fn detail(self) -> &'static str {
                match self { $(Self::$variant => $detail,)* }
            }
        }
    };
}

problem_codes! {
    ValidationFailed, BAD_REQUEST, "validation_failed", "Validation failed", "the request is not valid";
    MalformedJson, BAD_REQUEST, "malformed_json", "Malformed JSON", "the body is not a JSON object";
    InvalidToken, BAD_REQUEST, "invalid_token", "Token not valid", "the token is unknown, used, replaced by a newer one or expired; ask for another mail";
    InvalidCredentials, UNAUTHORIZED, "invalid_credentials", "Invalid credentials", "wrong e-mail address or password";
    TokenMissing, UNAUTHORIZED, "token_missing", "Access token missing", "send an access token in the Authorization header, as Bearer";
    TokenInvalid, UNAUTHORIZED, "token_invalid", "Access token not valid", "the access token is not valid, or its session has ended; log in again";
    TokenExpired, UNAUTHORIZED, "token_expired", "Access token expired", "the access token is expired; refresh it";
    RefreshTokenInvalid, UNAUTHORIZED, "refresh_token_invalid", "Refresh token not valid", "the refresh token is unknown, expired, revoked or already used; log in again";
    AccountLocked, FORBIDDEN, "account_locked", "Account locked", "too many failed logins; try again when the lock has ended";
    Forbidden, FORBIDDEN, "forbidden", "Forbidden", "this belongs to somebody else";
    EmailNotVerified, FORBIDDEN, "email_not_verified", "E-mail address not verified", "verify your e-mail address first: follow the link in the mail";
    NotFound, NOT_FOUND, "not_found", "Not found", "there is nothing here, or it is deleted";
    MethodNotAllowed, METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", "this path does not take that method";
    PayloadTooLarge, PAYLOAD_TOO_LARGE, "payload_too_large", "Body too large", "the body is too large";
    UnsupportedMediaType, UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Unsupported media type", "send the body as application/json";
    EmailTaken, CONFLICT, "email_taken", "E-mail address taken", "an account with this e-mail address exists";
    CategoryNameTaken, CONFLICT, "category_name_taken", "Category name taken", "you have another category of this name";
    CategoryAlreadyAssigned, CONFLICT, "category_already_assigned", "Category already assigned", "the task has this category already";
    VersionConflict, CONFLICT, "version_conflict", "Version conflict", "the task changed since you read it; read it again";
    RateLimited, TOO_MANY_REQUESTS, "rate_limited", "Too many requests", "too many requests; wait as long as Retry-After says";
    InternalError, INTERNAL_SERVER_ERROR, "internal_error", "Internal error", "something went wrong here; the request id helps to find out what";
    Unavailable, SERVICE_UNAVAILABLE, "unavailable", "Temporarily unavailable", "the service cannot answer right now; try again soon";
}

impl Code {
    /// What RFC 6750 asks of a 401.
    pub(crate) fn challenge(self) -> Option<&'static str> {
        if self == Self::TokenInvalid {
            Some(
                r#"Bearer error="invalid_token", error_description="the access token is not valid""#,
            )
        } else if self == Self::TokenExpired {
            Some(r#"Bearer error="invalid_token", error_description="the access token is expired""#)
        } else {
            (self.status() == StatusCode::UNAUTHORIZED).then_some("Bearer")
        }
    }

    /// The reason under which `auth_failures_total` counts it.
    fn auth_failure(self) -> Option<&'static str> {
        let is_counted = self.status() == StatusCode::UNAUTHORIZED || self == Self::AccountLocked;
        is_counted.then_some(self.as_str())
    }

    /// The document's `type`.
    pub(crate) fn type_uri(self) -> String {
        format!("/problems/{}", self.as_str().replace('_', "-"))
    }
}

/// One member, parameter or path segment that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({
    "field": "title", "code": "length", "message": "must be 3 to 200 characters",
}))]
pub(crate) struct FieldError {
    /// The member of the body, the query parameter or the path parameter.
    #[schema(example = "title")]
    pub(crate) field: Cow<'static, str>,
    /// The broken rule, stable over versions: `required`, `null`, `type`, `length`, `format`, `one_of`, `range`, `past`, `repeated`, …
    #[schema(example = "length")]
    pub(crate) code: Cow<'static, str>,
    /// What is allowed.
    #[schema(example = "must be 3 to 200 characters")]
    pub(crate) message: Cow<'static, str>,
}

impl FieldError {
    /// The refusal of a value in a field of that name.
    pub(crate) fn new(field: impl Into<Cow<'static, str>>, invalid: Invalid) -> Self {
        Self {
            field: field.into(),
            code: invalid.code.into(),
            message: invalid.message,
        }
    }
}

/// A refusal on its way to the caller. Boxed, since most results are none.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Refused>);

#[derive(Clone, Debug)]
struct Refused {
    code: Code,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    locked_until: Option<Locked>,
    current_version: Option<Version>,
    retry_after: Option<Duration>,
    auth_failure: Option<&'static str>,
    allow: Option<String>,
    source: Option<Arc<BoxError>>,
}

impl Problem {
    /// A refusal with the usual words.
    pub(crate) fn new(code: Code) -> Self {
        Self(Box::new(Refused {
            code,
            detail: code.detail().into(),
            errors: Vec::new(),
            locked_until: None,
            current_version: None,
            retry_after: (code == Code::Unavailable).then_some(RETRY_AFTER_UNAVAILABLE),
            auth_failure: code.auth_failure(),
            allow: None,
            source: None,
        }))
    }

    /// What is refused.
    pub(crate) fn code(&self) -> Code {
        self.0.code
    }

    /// Other words, for this refusal only.
    pub(crate) fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// What happened, for the log.
    pub(crate) fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(Arc::new(source.into()));
        self
    }

    /// All fields that break a rule.
    pub(crate) fn validation(errors: Vec<FieldError>) -> Self {
        let mut problem = Self::new(Code::ValidationFailed).with_detail(match errors.len() {
            1 => "1 field is not valid".to_owned(),
            n => format!("{n} fields are not valid"),
        });
        problem.0.errors = errors;
        problem
    }

    /// The one field that breaks a rule.
    pub(crate) fn invalid_field(field: &'static str, invalid: Invalid) -> Self {
        Self::validation(vec![FieldError::new(field, invalid)])
    }

    /// A method that the path does not take; `allow` lists those that it does.
    pub(crate) fn method_not_allowed(allow: String) -> Self {
        let mut problem =
            Self::new(Code::MethodNotAllowed).with_detail(format!("this path takes only {allow}"));
        problem.0.allow = Some(allow);
        problem
    }

    /// Too many requests; one more passes after `reset`.
    pub(crate) fn rate_limited(reset: Duration) -> Self {
        let mut problem = Self::new(Code::RateLimited);
        problem.0.retry_after = Some(reset);
        problem
    }

    /// Too many failed logins.
    pub(crate) fn account_locked(locked: Locked) -> Self {
        let mut problem = Self::new(Code::AccountLocked);
        problem.0.locked_until = Some(locked);
        problem
    }

    /// Why a signed-in user may not do what takes their password again: the usual words would ask them
    /// about their address.
    pub(crate) fn reauthentication(error: PasswordError) -> Self {
        let problem = Self::from(error);
        if problem.code() == Code::InvalidCredentials {
            problem.with_detail("wrong password")
        } else {
            problem
        }
    }

    /// A refresh token that was used before: counted apart, and told like any other.
    pub(crate) fn refresh_token_reused() -> Self {
        let mut problem = Self::new(Code::RefreshTokenInvalid);
        problem.0.auth_failure = Some("refresh_token_reused");
        problem
    }

    /// The task is at another version than the caller thinks.
    pub(crate) fn version_conflict(current: Version) -> Self {
        let mut problem = Self::new(Code::VersionConflict);
        problem.0.current_version = Some(current);
        problem
    }

    /// A bug.
    pub(crate) fn internal(source: impl Into<BoxError>) -> Self {
        Self::new(Code::InternalError).caused_by(source)
    }

    /// Why a password or token was refused, if one was.
    pub(crate) fn auth_failure(&self) -> Option<&'static str> {
        self.0.auth_failure
    }

    /// What happened, for the log.
    pub(crate) fn source(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.0.source.as_ref().map(|source| &***source)
    }

    /// The document, for a request of that id and path.
    pub(crate) fn document<'a>(
        &'a self,
        request_id: &'a str,
        instance: &'a str,
    ) -> ProblemDocument<'a> {
        let Refused { code, .. } = *self.0;
        ProblemDocument {
            r#type: code.type_uri(),
            title: code.title(),
            status: code.status().as_u16(),
            detail: &self.0.detail,
            code: code.as_str(),
            instance,
            request_id,
            errors: &self.0.errors,
            locked_until: self.0.locked_until.map(|locked| Time(locked.until)),
            current_version: self.0.current_version.map(Version::get),
        }
    }

    /// The whole answer at an instant, for a request of that id and path.
    pub(crate) fn render(
        &self,
        request_id: &str,
        instance: &str,
        now: Timestamp,
    ) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::build(self.0.code.status());
        response.content_type(MEDIA_TYPE);
        let rest_of_lock = self.0.locked_until.map(|locked| locked.until.since(now));
        if let Some(wait) = self.0.retry_after.or(rest_of_lock) {
            // Rounded up, since a caller who comes a moment too early is refused again.
            response.insert_header((header::RETRY_AFTER, whole_seconds(wait).max(1)));
        }
        if let Some(allow) = &self.0.allow {
            response.insert_header((header::ALLOW, allow.as_str()));
        }
        if let Some(challenge) = self.0.code.challenge() {
            response.insert_header((header::WWW_AUTHENTICATE, challenge));
        }
        let document = self.document(request_id, instance);
        response.body(serde_json::to_vec(&document).unwrap_or_default())
    }
}

/// Whole seconds, rounded up.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// An error with everything that caused it, for one line of the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.as_str(), self.0.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.0.code.status()
    }

    /// A place-holder: the outermost middleware knows the request, and renders the problem.
    fn error_response(&self) -> HttpResponse<BoxBody> {
        HttpResponse::new(self.0.code.status())
    }
}

/// A problem document as it is written; `openapi.rs` describes it.
#[derive(Serialize)]
pub(crate) struct ProblemDocument<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    instance: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(skip_serializing_if = "Option::is_none")]
    locked_until: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_version: Option<i64>,
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Unavailable(_) => Code::Unavailable,
            StoreError::Corrupt { .. } | StoreError::Other(_) => Code::InternalError,
        };
        Self::new(code).caused_by(error)
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        Self::new(match error {
            AccessError::NotFound => Code::NotFound,
            AccessError::Forbidden => Code::Forbidden,
        })
    }
}

impl From<EmailNotVerified> for Problem {
    fn from(EmailNotVerified: EmailNotVerified) -> Self {
        Self::new(Code::EmailNotVerified)
    }
}

impl From<AccessTokenError> for Problem {
    fn from(error: AccessTokenError) -> Self {
        Self::new(match error {
            AccessTokenError::Expired => Code::TokenExpired,
            AccessTokenError::Invalid => Code::TokenInvalid,
        })
    }
}

impl From<HashError> for Problem {
    fn from(error: HashError) -> Self {
        let code = match error {
            HashError::Overloaded => Code::Unavailable,
            HashError::Failed(_) => Code::InternalError,
        };
        Self::new(code).caused_by(error)
    }
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Wrong => Self::new(Code::InvalidCredentials),
            PasswordError::Locked(locked) => Self::account_locked(locked),
            PasswordError::Hash(error) => error.into(),
            PasswordError::Store(error) => error.into(),
        }
    }
}

//! Who calls: extractors that a handler names to get the caller and the input, in this order,
//! which is the contract's: token 401, content 415, 413, 400, then 403.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use futures_util::future::LocalBoxFuture;
use tasks_domain::account::{AccessClaims, AuthenticateError, SessionRef, User};
use tasks_domain::id::Id;
use tasks_domain::rate_limit::{Decision, Quota};

use crate::app::Api;
use crate::input::Input;
use crate::middleware::observe::Notes;
use crate::problem::{Code, Problem};

/// How long the look-up of a session may take: the rest of the 5 s is for what was asked.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// Who calls, as far as the bearer token of a request tells.
#[derive(Debug)]
pub(crate) enum Identity {
    /// A signed-in user, in a session.
    User(User, SessionRef),
    /// Nobody: there is no token, or one that is refused.
    Nobody(Problem),
    /// The user of a good token, of whom the store did not say whether they are still signed in.
    Unconfirmed(Id<User>, Problem),
}

impl Identity {
    /// Checks the token of a request, and looks up its session. With a quota for users there is also the decision
    /// on the request, if both could be had at once.
    pub(crate) async fn of(
        headers: &HeaderMap,
        api: &Api,
        quota: Option<Quota>,
    ) -> (Self, Option<Decision>) {
        let claims = match claims(headers, api) {
            Ok(claims) => claims,
            Err(problem) => return (Self::Nobody(problem), None),
        };
        let look_up = async {
            match quota {
                Some(quota) => api.accounts.authenticate_and_count(&claims, quota).await,
                None => (api.accounts.authenticate(&claims).await, None),
            }
        };
        let Ok((found, decision)) = tokio::time::timeout(LOOK_UP_TIMEOUT, look_up).await else {
            let problem = Problem::new(Code::Unavailable);
            let problem = problem.caused_by("looking up a session took too long");
            return (Self::Unconfirmed(claims.user, problem), None);
        };
        let identity = match found {
            Ok(user) => Self::User(user, claims.session_ref()),
            Err(AuthenticateError::SessionEnded) => Self::Nobody(Problem::new(Code::TokenInvalid)),
            Err(AuthenticateError::Store(error)) => Self::Unconfirmed(claims.user, error.into()),
        };
        (identity, decision)
    }
}

/// What the one bearer token of a request claims, if it is good.
fn claims(headers: &HeaderMap, api: &Api) -> Result<AccessClaims, Problem> {
    Ok(api.accounts.verify_access_token(bearer_token(headers)?)?)
}

/// The one bearer token of a request.
fn bearer_token(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut lines = headers.get_all(header::AUTHORIZATION);
    let credentials = lines
        .next()
        .and_then(|line| str::from_utf8(line.as_bytes()).ok()?.split_once(' '))
        .filter(|(_, token)| token.is_ascii());
    match credentials {
        Some((scheme, token))
            if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() =>
        {
            if lines.next().is_some() {
                Err(Problem::new(Code::TokenInvalid))
            } else {
                Ok(token.trim())
            }
        }
        _ => Err(Problem::new(Code::TokenMissing)),
    }
}

async fn authenticate(request: &HttpRequest, api: &Api) -> Result<(User, SessionRef), Problem> {
    // The limiter may have had to know it before.
    let known = request.extensions_mut().remove::<Identity>();
    let identity = match known {
        Some(identity) => identity,
        None => Identity::of(request.headers(), api, None).await.0,
    };
    match identity {
        Identity::User(user, session) => {
            Notes::of(request).set_caller(user.id);
            Ok((user, session))
        }
        Identity::Nobody(problem) | Identity::Unconfirmed(_, problem) => Err(problem),
    }
}

/// The input of somebody who need not be signed in.
#[derive(Debug)]
pub(crate) struct Public<I>(pub(crate) I);

/// A signed-in user, the session that they call in, and their input.
#[derive(Debug)]
pub(crate) struct SignedIn<I = ()> {
    pub(crate) caller: User,
    pub(crate) session: SessionRef,
    pub(crate) input: I,
}

/// A signed-in user who may work with tasks and categories, and their input.
#[derive(Debug)]
pub(crate) struct Member<I = ()> {
    pub(crate) caller: User,
    pub(crate) input: I,
}

impl<I: Input> FromRequest for Public<I> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let api = Api::of(&request)?;
            Ok(Self(I::read(&request, &mut payload, &api).await?))
        })
    }
}

impl<I: Input> FromRequest for SignedIn<I> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let api = Api::of(&request)?;
            let (caller, session) = authenticate(&request, &api).await?;
            let input = I::read(&request, &mut payload, &api).await?;
            Ok(Self {
                caller,
                session,
                input,
            })
        })
    }
}

impl<I: Input + 'static> FromRequest for Member<I> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let signed_in = SignedIn::from_request(request, payload);
        let api = Api::of(request);
        Box::pin(async move {
            let SignedIn { caller, input, .. } = signed_in.await?;
            api?.settings.verified_only.admit(&caller)?;
            Ok(Self { caller, input })
        })
    }
}

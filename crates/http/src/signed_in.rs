//! Who calls: extractors that a handler names to get the caller and the input, in this order,
//! which is the contract's: token 401, content 415, 413, 400, then 403.

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures_util::future::LocalBoxFuture;
use tasks_domain::account::{AccessClaims, User};

use crate::app::Api;
use crate::input::Input;
use crate::problem::{Code, Problem};

/// What the bearer token of a request came to.
#[derive(Clone, Debug)]
pub(crate) enum Bearer {
    /// There is none.
    Missing,
    /// It is refused.
    Refused(Problem),
    /// It is good, as far as a token alone can tell.
    Good(AccessClaims),
}

impl Bearer {
    /// Reads the token of a request and checks its signature and times.
    pub(crate) fn of(headers: &header::HeaderMap, api: &Api) -> Self {
        let mut lines = headers.get_all(header::AUTHORIZATION);
        let (Some(line), another) = (lines.next(), lines.next()) else {
            return Self::Missing;
        };
        let Some((scheme, token)) = line.to_str().unwrap_or_default().split_once(' ') else {
            return Self::Missing;
        };
        if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
            return Self::Missing;
        }
        if another.is_some() {
            return Self::Refused(Problem::new(Code::TokenInvalid));
        }
        match api.accounts.verify_access_token(token.trim()) {
            Ok(claims) => Self::Good(claims),
            Err(error) => Self::Refused(error.into()),
        }
    }
}

/// The id of the user who signed in, for the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallerId(pub(crate) tasks_domain::id::Id<User>);

async fn authenticate(request: &HttpRequest, api: &Api) -> Result<User, Problem> {
    let known = request.extensions().get::<Bearer>().cloned();
    let claims = match known.unwrap_or_else(|| Bearer::of(request.headers(), api)) {
        Bearer::Missing => return Err(Problem::new(Code::TokenMissing)),
        Bearer::Refused(problem) => return Err(problem),
        Bearer::Good(claims) => claims,
    };
    let user = api.accounts.authenticate(&claims).await?;
    request.extensions_mut().insert(CallerId(user.id));
    Ok(user)
}

fn api_of(request: &HttpRequest) -> Result<web::Data<Api>, Problem> {
    request
        .app_data::<web::Data<Api>>()
        .cloned()
        .ok_or_else(|| Problem::internal("the application has no API"))
}

/// The input of somebody who need not be signed in.
#[derive(Debug)]
pub(crate) struct Public<I>(pub(crate) I);

/// A signed-in user and their input.
#[derive(Debug)]
pub(crate) struct SignedIn<I = ()> {
    pub(crate) caller: User,
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
            let api = api_of(&request)?;
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
            let api = api_of(&request)?;
            let caller = authenticate(&request, &api).await?;
            let input = I::read(&request, &mut payload, &api).await?;
            Ok(Self { caller, input })
        })
    }
}

impl<I: Input + 'static> FromRequest for Member<I> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let signed_in = SignedIn::from_request(request, payload);
        let api = api_of(request);
        Box::pin(async move {
            let SignedIn { caller, input } = signed_in.await?;
            api?.settings.verified_only.admit(&caller)?;
            Ok(Self { caller, input })
        })
    }
}

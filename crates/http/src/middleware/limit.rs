//! How often somebody may call.

use std::cell::RefCell;
use std::rc::Rc;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};
use tasks_domain::rate_limit::{Decision, Quota, RateLimitKey};

use crate::app::{Api, RateLimits};
use crate::client;
use crate::problem::{Problem, chain, whole_seconds};
use crate::routes::API_PREFIX;
use crate::signed_in::Bearer;

/// What the quota is, as the IETF draft on rate-limit headers writes it.
pub(crate) const RATE_LIMIT_POLICY: &str = "ratelimit-policy";
/// What is left of the quota, likewise.
pub(crate) const RATE_LIMIT: &str = "ratelimit";

/// What an answer tells of its limit. The outermost layer shares and writes it, since an answer
/// to a request that panics or takes too long never comes by here.
#[derive(Clone, Debug, Default)]
pub(crate) struct LimitHeaders(Rc<RefCell<Vec<(HeaderName, HeaderValue)>>>);

impl LimitHeaders {
    /// Writes them into an answer's headers.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        for (name, value) in self.0.borrow().iter().cloned() {
            headers.insert(name, value);
        }
    }
}

/// Counts requests to the API; health, metrics and documentation are not limited.
pub(crate) async fn limit(
    api: web::Data<Api>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if !request.path().starts_with(API_PREFIX) {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let bearer = Bearer::of(request.headers(), &api);
    let Some(limits) = api.settings.rate_limits else {
        request.extensions_mut().insert(bearer);
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let bucket = Bucket::of(&request, &bearer, &api, limits);
    request.extensions_mut().insert(bearer);
    let decision = match api.limiter.hit(bucket.key, bucket.quota).await {
        Ok(decision) => decision,
        Err(error) => {
            // A limiter that does not answer keeps nobody out.
            tracing::warn!(error = %chain(&error), "the rate limiter did not answer");
            return Ok(next.call(request).await?.map_into_boxed_body());
        }
    };
    if let Some(told) = request.extensions().get::<LimitHeaders>() {
        bucket.describe(decision, told);
    }
    if !decision.allowed {
        return Ok(request
            .error_response(Problem::rate_limited(decision.reset))
            .map_into_boxed_body());
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

/// Which requests are counted together, and how many of them pass.
struct Bucket {
    name: &'static str,
    key: RateLimitKey,
    quota: Quota,
}

impl Bucket {
    fn of(request: &ServiceRequest, bearer: &Bearer, api: &Api, limits: RateLimits) -> Self {
        if let Bearer::Good(claims) = bearer {
            return Self {
                name: "user",
                key: RateLimitKey::User(claims.user),
                quota: limits.user,
            };
        }
        let address = client::address(request.request(), &api.settings.trusted_proxies);
        let key = RateLimitKey::Address(client::counted_address(address));
        Self {
            name: "anonymous",
            key,
            quota: limits.anonymous,
        }
    }

    fn describe(&self, decision: Decision, told: &LimitHeaders) {
        let Self { name, quota, .. } = self;
        let policy = format!("\"{name}\";q={};w={}", quota.limit, quota.window.as_secs());
        let left = format!(
            "\"{name}\";r={};t={}",
            decision.remaining,
            whole_seconds(decision.reset)
        );
        for (header, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                told.0
                    .borrow_mut()
                    .push((HeaderName::from_static(header), value));
            }
        }
    }
}

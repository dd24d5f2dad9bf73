//! How often somebody may call.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};
use tasks_domain::account::User;
use tasks_domain::rate_limit::{Decision, Quota, RateLimitKey};

use crate::app::{Api, RateLimits, Settings};
use crate::client;
use crate::middleware::observe::Notes;
use crate::problem::{Problem, whole_seconds};
use crate::routes::{API_PREFIX, AUTH_PREFIX};
use crate::signed_in::Identity;

/// What the quota is, as the IETF draft on rate-limit headers writes it.
pub(crate) const RATE_LIMIT_POLICY: &str = "ratelimit-policy";
/// What is left of the quota, likewise.
pub(crate) const RATE_LIMIT: &str = "ratelimit";

/// Counts requests to the API; health, metrics and documentation are not limited.
pub(crate) async fn limit(
    api: web::Data<Api>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let notes = Notes::of(request.request());
    // The route, not the path, which can be spelt in more than one way.
    let route = notes.route().unwrap_or_default();
    if let Some(limits) = &api.limits
        && route.starts_with(API_PREFIX)
    {
        // A token whose session has ended is spent on its sender's quota, not on its user's.
        let quota = limits.user.quota;
        let (identity, decision) = Identity::of(request.headers(), &api, Some(quota)).await;
        let bucket = Bucket::of(&request, &identity, &api.settings, limits);
        request.extensions_mut().insert(identity);
        let decision = match decision {
            Some(decision) if bucket.is_of_user() => Some(decision),
            // Nothing is counted yet, or on a user who turned out to be none.
            _ => decide(&api, route, &bucket).await,
        };
        if let Some(decision) = decision {
            notes.set_limit(bucket.headers(decision));
            if !decision.allowed {
                api.instruments
                    .count_rate_limit_rejection(bucket.limit.name);
                let problem = Problem::rate_limited(decision.reset);
                return Ok(request.error_response(problem).map_into_boxed_body());
            }
        }
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

/// What the limiter says. One that does not answer (which is its own to report) keeps nobody
/// out, but where passwords are tried another stands in.
async fn decide(api: &Api, route: &str, bucket: &Bucket<'_>) -> Option<Decision> {
    let (key, quota) = (bucket.key, bucket.limit.quota);
    match api.limiter.hit(key, quota).await {
        Ok(decision) => Some(decision),
        Err(_) if route.starts_with(AUTH_PREFIX) => api.stand_in_limiter.hit(key, quota).await.ok(),
        Err(_) => None,
    }
}

/// How often somebody may call, as answers tell it.
pub(crate) struct Limits {
    user: Limit,
    anonymous: Limit,
}

impl Limits {
    /// The limits in the words of answers.
    pub(crate) fn of(limits: RateLimits) -> Self {
        Self {
            user: Limit::new("user", limits.user),
            anonymous: Limit::new("anonymous", limits.anonymous),
        }
    }
}

struct Limit {
    name: &'static str,
    quota: Quota,
    /// It never changes, so it is written once.
    policy: HeaderValue,
}

impl Limit {
    fn new(name: &'static str, quota: Quota) -> Self {
        let Quota { limit, window } = quota;
        let policy = value(format!("\"{name}\";q={limit};w={}", window.as_secs()));
        Self {
            name,
            quota,
            policy,
        }
    }
}

/// Names and numbers are always the value of a header.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// Which requests are counted together, and how many of them pass.
struct Bucket<'a> {
    key: RateLimitKey,
    limit: &'a Limit,
}

impl<'a> Bucket<'a> {
    fn of(
        request: &ServiceRequest,
        identity: &Identity,
        settings: &Settings,
        limits: &'a Limits,
    ) -> Self {
        match identity {
            Identity::User(User { id: user, .. }, _) | Identity::Unconfirmed(user, _) => Self {
                key: RateLimitKey::User(*user),
                limit: &limits.user,
            },
            Identity::Nobody(_) => {
                let address = client::address(request.request(), &settings.trusted_proxies);
                Self {
                    key: RateLimitKey::Address(client::counted_address(address)),
                    limit: &limits.anonymous,
                }
            }
        }
    }

    fn is_of_user(&self) -> bool {
        matches!(self.key, RateLimitKey::User(_))
    }

    fn headers(&self, decision: Decision) -> [(HeaderName, HeaderValue); 2] {
        let Limit { name, policy, .. } = self.limit;
        let Decision {
            remaining, reset, ..
        } = decision;
        let left = format!("\"{name}\";r={remaining};t={}", whole_seconds(reset));
        [
            (HeaderName::from_static(RATE_LIMIT_POLICY), policy.clone()),
            (HeaderName::from_static(RATE_LIMIT), value(left)),
        ]
    }
}

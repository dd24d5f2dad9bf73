//! Which foreign origins may call.

use actix_cors::Cors;
use actix_web::dev::RequestHead;
use actix_web::http::header::{self, HeaderName, HeaderValue};

use crate::app::Settings;
use crate::middleware::limit::{RATE_LIMIT, RATE_LIMIT_POLICY};
use crate::middleware::observe::X_REQUEST_ID;

/// How long a browser may remember a preflight's answer, in seconds: an hour.
const MAX_AGE: usize = 3600;

/// The media types and ids that pages send, and the headers that they may read.
pub(crate) fn cors(settings: &Settings) -> Cors {
    let settings = settings.clone();
    Cors::default()
        .allowed_origin_fn(move |origin, head| allows(&settings, origin, head))
        .allowed_methods(["GET", "HEAD", "POST", "PATCH", "DELETE"])
        .allowed_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            HeaderName::from_static(X_REQUEST_ID),
        ])
        .expose_headers([
            header::LOCATION,
            header::RETRY_AFTER,
            HeaderName::from_static(X_REQUEST_ID),
            HeaderName::from_static(RATE_LIMIT),
            HeaderName::from_static(RATE_LIMIT_POLICY),
        ])
        .max_age(MAX_AGE)
        // Otherwise a foreign page could not read an answer, but its request would be carried out.
        .block_on_origin_mismatch(true)
}

/// Whether a page of that origin may call: one that is configured, or one of the service's own,
/// such as the documentation.
pub(crate) fn allows(settings: &Settings, origin: &HeaderValue, head: &RequestHead) -> bool {
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    let is_own = || {
        let host = head
            .headers()
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        origin
            .split_once("://")
            .is_some_and(|(_, authority)| Some(authority) == host)
    };
    settings
        .cors_origins
        .iter()
        .any(|allowed| allowed == "*" || allowed == origin)
        || is_own()
}

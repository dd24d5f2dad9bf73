//! The outermost layer: gives every request an id, every refusal its document, every answer its
//! headers, and the log its line.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, web};
use futures_util::FutureExt;
use tracing::Instrument;

use crate::app::{Api, Settings};
use crate::middleware::cors;
use crate::middleware::limit::LimitHeaders;
use crate::problem::{Code, Problem, chain};
use crate::routes::API_PREFIX;
use crate::signed_in::CallerId;

/// The caller's own id of a request, or the one that it was given.
pub(crate) const X_REQUEST_ID: &str = "x-request-id";

/// The longest id of a request that is taken over, in characters.
const MAX_REQUEST_ID: usize = 128;

/// The last resort: a request that was not answered by then is answered 503, so that every one
/// is answered within 5 s. The parts have shorter time-outs of their own.
const REQUEST_DEADLINE: Duration = Duration::from_millis(4_500);

/// What is known of a request before it goes in.
struct Observed {
    request_id: String,
    method: String,
    path: String,
    route: String,
    /// For answers that are made where the CORS middleware does not see them.
    allowed_origin: Option<HeaderValue>,
    limit: LimitHeaders,
    started: Instant,
}

impl Observed {
    fn of(request: &ServiceRequest, api: &Api) -> Self {
        let request_id = request
            .headers()
            .get(X_REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|id| is_request_id(id))
            .map_or_else(|| api.ids.next_uuid().to_string(), str::to_owned);
        let origin = request.headers().get(header::ORIGIN);
        let limit = LimitHeaders::default();
        request.extensions_mut().insert(limit.clone());
        Self {
            request_id,
            method: request.method().to_string(),
            path: request.path().to_owned(),
            route: request
                .match_pattern()
                .unwrap_or_else(|| "unmatched".to_owned()),
            allowed_origin: origin
                .filter(|origin| cors::allows(&api.settings, origin, request.head()))
                .cloned(),
            limit,
            started: Instant::now(),
        }
    }

    /// The headers that every answer carries.
    fn finish(&self, settings: &Settings, headers: &mut HeaderMap) {
        let mut set = |name: &'static str, value: &'static str| {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        };
        if self.path.starts_with(API_PREFIX) {
            set("cache-control", "no-store");
        }
        if settings.production {
            set(
                "strict-transport-security",
                "max-age=63072000; includeSubDomains",
            );
            set("x-content-type-options", "nosniff");
            set("x-frame-options", "DENY");
            set("referrer-policy", "strict-origin-when-cross-origin");
        }
        self.limit.write(headers);
        if let Ok(id) = HeaderValue::try_from(self.request_id.as_str()) {
            headers.insert(HeaderName::from_static(X_REQUEST_ID), id);
        }
    }

    /// The one line that a request leaves, and what went wrong, if something did.
    fn log(&self, status: StatusCode, caller: Option<CallerId>, problem: Option<&Problem>) {
        if let Some(source) = problem.and_then(Problem::source) {
            if status == StatusCode::SERVICE_UNAVAILABLE {
                tracing::warn!(error = %chain(source), "request refused for now");
            } else if status.is_server_error() {
                tracing::error!(error = %chain(source), "request failed");
            }
        }
        let micros = u32::try_from(self.started.elapsed().as_micros()).unwrap_or(u32::MAX);
        let duration_ms = f64::from(micros) / 1_000.0;
        let Self {
            method,
            path,
            route,
            ..
        } = self;
        let status = status.as_u16();
        match caller {
            Some(CallerId(user_id)) => tracing::info!(
                %method, %path, %route, status, duration_ms, %user_id, "request completed"
            ),
            None => {
                tracing::info!(%method, %path, %route, status, duration_ms, "request completed");
            }
        }
    }
}

fn is_request_id(id: &str) -> bool {
    (1..=MAX_REQUEST_ID).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// See the module.
pub(crate) async fn observe(
    api: web::Data<Api>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let observed = Observed::of(&request, &api);
    let span = tracing::info_span!("request", request_id = %observed.request_id);
    async {
        let answer = AssertUnwindSafe(next.call(request)).catch_unwind();
        let problem = match tokio::time::timeout(REQUEST_DEADLINE, answer).await {
            Ok(Ok(Ok(response))) => return Ok(complete(&observed, &api, response)),
            Ok(Ok(Err(error))) => problem_of(&error),
            Ok(Err(panic)) => Problem::internal(panic_message(&*panic)),
            Err(_elapsed) => Problem::new(Code::Unavailable).caused_by("the request took too long"),
        };
        Err(abandon(&observed, &api, &problem))
    }
    .instrument(span)
    .await
}

/// An answer on its way out: a refusal becomes its document here.
fn complete(
    observed: &Observed,
    api: &Api,
    response: ServiceResponse<impl MessageBody + 'static>,
) -> ServiceResponse<BoxBody> {
    let problem = response.response().error().map(problem_of);
    let mut response = match &problem {
        None => response.map_into_boxed_body(),
        Some(problem) => {
            let (request, refused) = response.into_parts();
            let mut rendered = problem.render(&observed.request_id, &observed.path);
            // What the layers below have said of it: CORS, limits.
            for (name, value) in refused.headers() {
                if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
                    rendered.headers_mut().append(name.clone(), value.clone());
                }
            }
            ServiceResponse::new(request, rendered)
        }
    };
    observed.finish(&api.settings, response.headers_mut());
    let caller = response.request().extensions().get::<CallerId>().copied();
    observed.log(response.status(), caller, problem.as_ref());
    response
}

/// The answer to a request that is lost: it panicked or took too long.
fn abandon(observed: &Observed, api: &Api, problem: &Problem) -> Error {
    let mut response: HttpResponse = problem.render(&observed.request_id, &observed.path);
    observed.finish(&api.settings, response.headers_mut());
    if let Some(origin) = &observed.allowed_origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    observed.log(response.status(), None, Some(problem));
    InternalError::from_response(problem.clone(), response).into()
}

/// The problem behind an error, also where the framework made it.
fn problem_of(error: &Error) -> Problem {
    if let Some(problem) = error.as_error::<Problem>() {
        return problem.clone();
    }
    if let Some(cors) = error.as_error::<actix_cors::CorsError>() {
        return Problem::new(Code::Forbidden).with_detail(format!("CORS: {cors}"));
    }
    let status = error.as_response_error().status_code();
    let code = match status {
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => Code::PayloadTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        status if status.is_client_error() => Code::ValidationFailed,
        _ => Code::InternalError,
    };
    Problem::new(code).caused_by(error.to_string())
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", message.unwrap_or_default())
}

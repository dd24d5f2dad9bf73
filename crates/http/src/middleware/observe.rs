//! The outermost layer: gives every request an id, every refusal its document, every answer its
//! headers, and the log its line.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, web};
use tasks_domain::account::User;
use tasks_domain::id::Id;
use tracing::{Instrument, Span};

use crate::app::Api;
use crate::middleware::{cors, trace};
use crate::problem::{Code, Problem, chain};
use crate::routes::API_PREFIX;

/// The caller's own id of a request, or the one that it was given.
pub(crate) const X_REQUEST_ID: &str = "x-request-id";

/// The longest id of a request that is taken over, in characters.
const MAX_REQUEST_ID: usize = 128;

/// The longest path that is told whole, in bytes.
const MAX_TOLD_PATH: usize = 512;

/// The longest part of a path that is told. All of ours are shorter, ids have 36 bytes, and tokens more: what a
/// caller puts into a path instead of a body must not end up in logs.
const MAX_TOLD_SEGMENT: usize = 40;

/// The status in the log where the client went away before it was answered; nothing carries it.
const CLIENT_GONE: u16 = 499;

/// What the layers below tell of a request, also where their answer is lost: where it panics or
/// takes too long.
#[derive(Default)]
pub(crate) struct Notes {
    /// The pattern of its path, where one matched: found once, since all patterns have to be tried.
    route: Option<String>,
    caller: Cell<Option<Id<User>>>,
    limit: Cell<Option<[(HeaderName, HeaderValue); 2]>>,
}

impl Notes {
    /// The notes on a request.
    pub(crate) fn of(request: &HttpRequest) -> Rc<Self> {
        request
            .extensions_mut()
            .get_or_insert_with(Rc::<Self>::default)
            .clone()
    }

    /// The pattern of the request's path.
    pub(crate) fn route(&self) -> Option<&str> {
        self.route.as_deref()
    }

    /// Who has signed in, for the log.
    pub(crate) fn set_caller(&self, caller: Id<User>) {
        self.caller.set(Some(caller));
    }

    /// What the answer tells of its limit.
    pub(crate) fn set_limit(&self, headers: [(HeaderName, HeaderValue); 2]) {
        self.limit.set(Some(headers));
    }
}

/// What is known of a request outside of it. Dropped without an answer, it logs that the client
/// has gone.
struct Observed {
    api: web::Data<Api>,
    request_id: String,
    method: Method,
    path: String,
    /// For answers that are made where the CORS middleware does not see them.
    allowed_origin: Option<HeaderValue>,
    notes: Rc<Notes>,
    span: Span,
    started: Instant,
    is_logged: bool,
}

impl Drop for Observed {
    fn drop(&mut self) {
        if !self.is_logged {
            self.log(CLIENT_GONE, None);
        }
    }
}

impl Observed {
    fn of(request: &ServiceRequest, api: &web::Data<Api>) -> Self {
        api.instruments.request_began();
        let id = api.ids.next_uuid();
        let request_id = request
            .headers()
            .get(X_REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|id| is_request_id(id))
            .map_or_else(|| id.to_string(), str::to_owned);
        let notes = Rc::new(Notes {
            route: request.match_pattern(),
            ..Notes::default()
        });
        request.extensions_mut().insert(notes.clone());
        let seen = trace::Seen {
            request,
            settings: &api.settings,
            request_id: &request_id,
            route: notes.route(),
            id,
        };
        let origin = request.headers().get(header::ORIGIN);
        Self {
            api: api.clone(),
            span: seen.span(),
            request_id,
            method: request.method().clone(),
            path: request.path().to_owned(),
            allowed_origin: origin
                .filter(|origin| cors::allows(&api.settings, origin, request.head()))
                .cloned(),
            notes,
            started: Instant::now(),
            is_logged: false,
        }
    }

    fn route(&self) -> &str {
        self.notes.route().unwrap_or("unmatched")
    }

    /// The headers that every answer carries.
    fn finish(&self, api: &Api, response: &mut HttpResponse) {
        if api.is_draining() {
            // The next request belongs to another instance.
            response
                .head_mut()
                .set_connection_type(ConnectionType::Close);
        }
        let headers = response.headers_mut();
        let mut set = |name: &'static str, value: &'static str| {
            let name = HeaderName::from_static(name);
            // A page may have said something stricter.
            if !headers.contains_key(&name) {
                headers.insert(name, HeaderValue::from_static(value));
            }
        };
        if [self.route(), &self.path]
            .iter()
            .any(|path| path.starts_with(API_PREFIX))
        {
            set("cache-control", "no-store");
        }
        if api.settings.production {
            set(
                "strict-transport-security",
                "max-age=63072000; includeSubDomains",
            );
            set("x-content-type-options", "nosniff");
            set("x-frame-options", "DENY");
            set("referrer-policy", "strict-origin-when-cross-origin");
        }
        for (name, value) in self.notes.limit.take().into_iter().flatten() {
            headers.insert(name, value);
        }
        if let Ok(id) = HeaderValue::try_from(self.request_id.as_str()) {
            headers.insert(HeaderName::from_static(X_REQUEST_ID), id);
        }
    }

    /// What remains of it: its span's end and its line.
    fn answered(&mut self, status: StatusCode, problem: Option<&Problem>) {
        trace::answered(&self.span, status.as_u16());
        self.log(status.as_u16(), problem);
    }

    /// The one line that a request leaves, and what went wrong, if something did.
    fn log(&mut self, status: u16, problem: Option<&Problem>) {
        self.is_logged = true;
        let _entered = self.span.enter();
        if let Some(source) = problem.and_then(Problem::source) {
            if status == StatusCode::SERVICE_UNAVAILABLE.as_u16() {
                tracing::warn!(error = %chain(source), "request refused for now");
            } else if status >= StatusCode::INTERNAL_SERVER_ERROR.as_u16() {
                tracing::error!(error = %chain(source), "request failed");
            }
        }
        let took = self.started.elapsed();
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let duration_ms = f64::from(micros) / 1_000.0;
        let (method, route) = (self.method.as_str(), self.route());
        self.api
            .instruments
            .request_ended(method, route, status, took);
        let path = &*told_path(&self.path);
        match self.notes.caller.get() {
            Some(user_id) => tracing::info!(
                method, path, route, status, duration_ms, %user_id, "request completed"
            ),
            None => {
                tracing::info!(
                    method,
                    path,
                    route,
                    status,
                    duration_ms,
                    "request completed"
                );
            }
        }
    }
}

/// The path of a request as the log and its span tell it.
pub(crate) fn told_path(path: &str) -> Cow<'_, str> {
    let is_long = |segment: &str| segment.len() > MAX_TOLD_SEGMENT;
    if path.len() <= MAX_TOLD_PATH && !path.split('/').any(is_long) {
        return Cow::Borrowed(path);
    }
    let told = path
        .split('/')
        .map(|segment| if is_long(segment) { "***" } else { segment });
    let mut told = told.collect::<Vec<_>>().join("/");
    told.truncate(told.floor_char_boundary(MAX_TOLD_PATH));
    Cow::Owned(told)
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
    let mut observed = Observed::of(&request, &api);
    // A task of its own: a client that goes away, and the deadline, end the waiting and not the
    // work, of which half would be done: a session ended in the store and alive in the cache.
    let work = async move {
        next.call(request)
            .await
            .map(ServiceResponse::map_into_boxed_body)
    };
    let answer = actix_web::rt::spawn(work.instrument(observed.span.clone()));
    // The last resort: the parts have shorter time-outs of their own.
    let deadline = api.settings.bounds.deadline();
    let problem = match tokio::time::timeout(deadline, answer).await {
        Ok(Ok(Ok(response))) => return Ok(complete(&mut observed, &api, response)),
        Ok(Ok(Err(error))) => problem_of(&error),
        Ok(Err(panic)) => Problem::internal(panic.to_string()),
        Err(_elapsed) => Problem::new(Code::Unavailable).caused_by("the request took too long"),
    };
    Err(abandon(&mut observed, &api, &problem))
}

/// An answer on its way out: a refusal becomes its document here.
fn complete(
    observed: &mut Observed,
    api: &Api,
    response: ServiceResponse,
) -> ServiceResponse<BoxBody> {
    let problem = response.response().error().map(problem_of);
    let mut response = match &problem {
        None => response,
        Some(problem) => {
            let (request, refused) = response.into_parts();
            if let Some(reason) = problem.auth_failure() {
                api.instruments.count_auth_failure(reason);
            }
            let now = api.clock.now();
            let mut rendered = problem.render(&observed.request_id, &observed.path, now);
            // What the layers below have said of it: CORS.
            for (name, value) in refused.headers() {
                if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
                    rendered.headers_mut().append(name.clone(), value.clone());
                }
            }
            ServiceResponse::new(request, rendered)
        }
    };
    observed.finish(api, response.response_mut());
    observed.answered(response.status(), problem.as_ref());
    response
}

/// The answer to a request that is lost: it panicked or took too long.
fn abandon(observed: &mut Observed, api: &Api, problem: &Problem) -> Error {
    let now = api.clock.now();
    let mut response = problem.render(&observed.request_id, &observed.path, now);
    observed.finish(api, &mut response);
    if let Some(origin) = &observed.allowed_origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    observed.answered(response.status(), Some(problem));
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

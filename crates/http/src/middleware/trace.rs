//! Where a request stands in a trace: its span, by the semantic conventions of HTTP, and the ids that
//! its log lines carry.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{self, HeaderMap};
use actix_web::http::uri::Authority;
use opentelemetry::propagation::Extractor;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry::{Context, global};
use tasks_domain::trace::TraceParent;
use tracing::Span;
use tracing::field::{Empty, display};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

use crate::app::Settings;
use crate::client;
use crate::metrics::known_method;
use crate::middleware::observe::told_path;
use crate::routes;

/// The header that names the caller's own span.
const TRACEPARENT: &str = "traceparent";

/// The header with what vendors add to it.
const TRACESTATE: &str = "tracestate";

/// The longest `tracestate` that is passed on, in bytes: what the W3C asks for at least. Every span of a request
/// carries it, and anybody can send one.
const MAX_TRACESTATE: usize = 512;

/// The longest text of a caller that a span keeps whole, in characters.
const MAX_TEXT: usize = 512;

/// What is known of a request that a span tells.
pub(crate) struct Seen<'a> {
    pub(crate) request: &'a ServiceRequest,
    pub(crate) settings: &'a Settings,
    pub(crate) request_id: &'a str,
    /// Its pattern, where one matched.
    pub(crate) route: Option<&'a str>,
    /// What ids are made of where nobody else gives them.
    pub(crate) id: Uuid,
}

impl Seen<'_> {
    /// The span that everything of a request happens in.
    ///
    /// Its log lines carry `request_id`, `trace_id` and `span_id`, whether or not traces are exported. If
    /// they are, it is the server span, which goes on with the caller's trace, but for what a machine asks
    /// every few seconds.
    pub(crate) fn span(&self) -> Span {
        // Half of it is random, and never zero.
        let (_, half) = self.id.as_u64_pair();
        let lines = tracing::info_span!(
            "request",
            request_id = self.request_id,
            trace_id = %self.id.simple(),
            span_id = %format_args!("{half:016x}"),
        );
        let caller = Caller::of(self.request.headers()).map(|caller| {
            global::get_text_map_propagator(|propagator| propagator.extract(&caller))
        });
        let server = if self.route.is_some_and(routes::is_for_machines) {
            Span::none()
        } else {
            self.server_span(&lines)
        };
        if let Some(caller) = &caller {
            // It fails only where traces are not exported.
            server.set_parent(caller.clone()).ok();
        }
        let exported = span_context(&server.context());
        if exported.is_valid() {
            lines.record("trace_id", display(exported.trace_id()));
            lines.record("span_id", display(exported.span_id()));
            return server;
        }
        let caller = caller.as_ref().map(span_context);
        if let Some(caller) = caller.filter(SpanContext::is_valid) {
            lines.record("trace_id", display(caller.trace_id()));
        }
        lines
    }

    fn server_span(&self, lines: &Span) -> Span {
        let (request, headers) = (self.request, self.request.headers());
        let sent = request.method().as_str();
        let method = known_method(sent);
        let span = tracing::info_span!(
            parent: lines,
            "server",
            otel.kind = "server",
            otel.name = Empty,
            otel.status_code = Empty,
            error.type = Empty,
            http.request.method = method.unwrap_or("_OTHER"),
            http.request.method_original = Empty,
            http.route = self.route,
            http.response.status_code = Empty,
            url.scheme = client::scheme(request.request(), &self.settings.trusted_proxies),
            url.path = Empty,
            server.address = Empty,
            server.port = Empty,
            client.address = Empty,
            network.protocol.version = Empty,
            user_agent.original = Empty,
        );
        if span.is_disabled() {
            return span;
        }
        match self.route {
            Some(route) => span.record(
                "otel.name",
                display(format_args!("{} {route}", method.unwrap_or("HTTP"))),
            ),
            None => span.record("otel.name", method.unwrap_or("HTTP")),
        };
        if method.is_none() {
            span.record("http.request.method_original", short(sent));
        }
        span.record("url.path", &*told_path(request.path()));
        if let Some(host) = text(headers, header::HOST.as_str())
            && let Ok(host) = Authority::try_from(host)
        {
            span.record("server.address", short(host.host()));
            if let Some(port) = host.port_u16() {
                span.record("server.port", i64::from(port));
            }
        }
        let client = client::address(request.request(), &self.settings.trusted_proxies);
        span.record("client.address", display(client));
        let version = format!("{:?}", request.version());
        span.record(
            "network.protocol.version",
            version.trim_start_matches("HTTP/"),
        );
        if let Some(agent) = text(headers, header::USER_AGENT.as_str()) {
            span.record("user_agent.original", short(agent));
        }
        span
    }
}

/// Tells the span of a request how it was answered.
pub(crate) fn answered(span: &Span, status: u16) {
    // Of whole numbers only those with a sign arrive as numbers.
    span.record("http.response.status_code", i64::from(status));
    // What a client did wrong is no error of the server.
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", display(status));
    }
}

fn span_context(context: &Context) -> SpanContext {
    context.span().span_context().clone()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn short(text: &str) -> &str {
    text.char_indices()
        .nth(MAX_TEXT)
        .and_then(|(end, _)| text.get(..end))
        .unwrap_or(text)
}

/// Where the caller says that it is in a trace.
struct Caller<'a> {
    parent: &'a str,
    state: String,
}

impl<'a> Caller<'a> {
    /// `None` unless it says so once, in the form of the W3C, with which OpenTelemetry would be lenient.
    fn of(headers: &'a HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT);
        let parent = parents.next()?.to_str().ok()?;
        TraceParent::parse(parent)?;
        if parents.next().is_some() {
            return None;
        }
        let states = headers.get_all(TRACESTATE);
        let states: Vec<&str> = states.filter_map(|state| state.to_str().ok()).collect();
        let mut state = states.join(",");
        if state.len() > MAX_TRACESTATE {
            state.clear();
        }
        Some(Self { parent, state })
    }
}

impl Extractor for Caller<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => Some(self.parent),
            TRACESTATE => Some(&self.state)
                .filter(|state| !state.is_empty())
                .map(String::as_str),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

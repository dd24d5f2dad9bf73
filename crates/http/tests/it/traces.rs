//! Contract §6: where a request stands in a trace.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock};

use actix_web::http::Method;
use opentelemetry::global;
use opentelemetry::trace::{SpanKind, Status, TracerProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, SdkTracerProvider, SimpleSpanProcessor, SpanData,
};
use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

use crate::support::{Fault, Scene, World};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Another subscriber, which nobody uses. As long as there is only one in the process, a thread
/// without it can make tracing believe that nobody wants a span.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| {
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    Dispatch::new(subscriber.with_writer(io::sink).finish())
});

/// The server spans of this thread, as long as it lives.
struct Spans {
    exporter: InMemorySpanExporter,
    _guard: DefaultGuard,
}

impl Spans {
    fn new() -> Self {
        LazyLock::force(&ANOTHER);
        global::set_text_map_propagator(TraceContextPropagator::new());
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(SimpleSpanProcessor::new(exporter.clone()))
            .build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("test"))
            .with_context_activation(false)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false);
        let subscriber = tracing_subscriber::registry().with(layer);
        Self {
            exporter,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// Those since the last time.
    fn take(&self) -> Vec<SpanData> {
        let mut spans = self.exporter.get_finished_spans().unwrap();
        self.exporter.reset();
        spans.retain(|span| span.span_kind == SpanKind::Server);
        spans
    }

    fn take_one(&self) -> SpanData {
        let mut spans = self.take();
        assert_eq!(spans.len(), 1, "{spans:?}");
        spans.remove(0)
    }
}

fn attributes(span: &SpanData) -> BTreeMap<&str, String> {
    let pairs = span.attributes.iter();
    pairs
        .map(|pair| (pair.key.as_str(), pair.value.to_string()))
        .collect()
}

#[actix_web::test]
async fn a_request_is_a_server_span_by_the_conventions() {
    let scene = Scene::new().await;
    let spans = Spans::new();
    let path = format!("/api/v1/tasks/{}", scene.task);
    let answer = scene
        .ada
        .get(&format!("{path}?access_token=hush-hush"))
        .from(Ipv4Addr::new(203, 0, 113, 7))
        .header("host", "tasks.example.com:8443")
        .header("user-agent", "robot/1.0")
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .header("tracestate", "vendor=1")
        .await;
    assert_eq!(answer.status, 200);
    let span = spans.take_one();
    assert_eq!(span.name, "GET /api/v1/tasks/{id}");
    assert_eq!(span.span_context.trace_id().to_string(), TRACE);
    assert_eq!(span.parent_span_id.to_string(), CALLER);
    assert_eq!(span.span_context.trace_state().header(), "vendor=1");
    assert_eq!(span.status, Status::Unset);
    let expected = [
        ("client.address", "203.0.113.7"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/api/v1/tasks/{id}"),
        ("network.protocol.version", "1.1"),
        ("server.address", "tasks.example.com"),
        ("server.port", "8443"),
        ("url.path", &path),
        ("url.scheme", "http"),
        ("user_agent.original", "robot/1.0"),
    ];
    for number in ["http.response.status_code", "server.port"] {
        let found = span
            .attributes
            .iter()
            .find(|pair| pair.key.as_str() == number);
        assert!(
            matches!(found.unwrap().value, opentelemetry::Value::I64(_)),
            "{number}"
        );
    }
    assert_eq!(
        attributes(&span),
        expected
            .map(|(name, value)| (name, value.to_owned()))
            .into()
    );
}

#[actix_web::test]
async fn names_are_few_whatever_is_asked() {
    let world = World::new().await;
    let spans = Spans::new();
    for (method, path, name, original) in [
        ("GET", "/x/y", "GET", None),
        ("PUT", "/api/v1/tasks", "PUT /api/v1/tasks", None),
        ("BREW", "/docs", "HTTP /docs", Some("BREW")),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        world.call(method.clone(), path).await;
        let span = spans.take_one();
        assert_eq!(span.name, name);
        let attributes = attributes(&span);
        let sent = attributes.get("http.request.method_original");
        assert_eq!(sent.map(String::as_str), original);
        let known = if original.is_some() {
            "_OTHER"
        } else {
            method.as_str()
        };
        assert_eq!(attributes["http.request.method"], known);
    }
    let long = "a".repeat(10_000);
    world
        .get(&format!("/{long}"))
        .header("user-agent", &long)
        .await;
    for (name, value) in attributes(&spans.take_one()) {
        assert!(value.len() <= 512, "{name}");
    }
}

#[actix_web::test]
async fn only_the_servers_own_failures_are_errors() {
    let scene = Scene::new().await;
    let spans = Spans::new();
    for path in ["/x", "/api/v1/tasks?limit=0", "/api/v1/tasks/1"] {
        assert!(scene.ada.get(path).await.status < 500);
        let span = spans.take_one();
        assert_eq!(span.status, Status::Unset, "{path}");
        assert!(!attributes(&span).contains_key("error.type"));
    }
    for (fault, status) in [
        (Fault::Panic, "500"),
        (Fault::Corrupt, "500"),
        (Fault::Unavailable, "503"),
    ] {
        scene.world.store.fail(fault);
        scene.ada.get("/api/v1/tasks").await;
        let span = spans.take_one();
        assert_eq!(span.status, Status::error(""), "{status}");
        assert_eq!(attributes(&span)["error.type"], status);
        assert_eq!(attributes(&span)["http.response.status_code"], status);
    }
}

#[actix_web::test]
async fn what_machines_ask_every_few_seconds_is_not_traced() {
    let world = World::with(|setup| setup.metrics = Some(Arc::new(|| Ok(String::new())))).await;
    let spans = Spans::new();
    for path in ["/health", "/health/live", "/health/ready", "/metrics"] {
        world.get(path).await;
        assert_eq!(spans.take(), [], "{path}");
    }
    world.get("/docs").await;
    spans.take_one();
}

#[actix_web::test]
async fn what_is_no_traceparent_begins_a_trace() {
    let world = World::new().await;
    let spans = Spans::new();
    let good = format!("00-{TRACE}-{CALLER}-01");
    for parents in [
        vec![""],
        vec!["nonsense"],
        vec!["00-1-2-01"],
        vec![&good.replace("-b", "-+")],
        vec![&good.to_uppercase()],
        vec![&format!("{good}-00")],
        vec![&format!("00-{TRACE}-{}-01", "0".repeat(16))],
        vec![&format!("00-{}-{CALLER}-01", "0".repeat(32))],
        vec![&good, &good],
    ] {
        let mut call = world.get("/x");
        for parent in &parents {
            call = call.header("traceparent", parent);
        }
        call.await;
        let span = spans.take_one();
        assert!(!span.parent_span_is_remote, "{parents:?}");
        assert_ne!(span.span_context.trace_id().to_string(), TRACE);
    }
}

/// Every span of the request would carry it.
#[actix_web::test]
async fn a_tracestate_is_passed_on_unless_it_is_long() {
    let world = World::new().await;
    let spans = Spans::new();
    let long = format!("a={},b={}", "x".repeat(252), "x".repeat(255));
    assert_eq!(long.len(), 512);
    for (states, passed_on) in [
        (vec!["a=1"], "a=1"),
        (vec!["a=1", "b=2"], "a=1,b=2"),
        (vec![&*long], &*long),
        (vec![&*long, "c=3"], ""),
        (vec!["no state"], ""),
    ] {
        let parent = format!("00-{TRACE}-{CALLER}-01");
        let mut call = world.get("/x").header("traceparent", parent);
        for state in &states {
            call = call.header("tracestate", state);
        }
        call.await;
        let span = spans.take_one();
        assert_eq!(span.span_context.trace_id().to_string(), TRACE);
        assert_eq!(span.span_context.trace_state().header(), passed_on);
    }
}

#[actix_web::test]
async fn a_trusted_proxy_says_whether_it_was_spoken_to_by_tls() {
    let trusted = Ipv4Addr::new(10, 0, 0, 1);
    let world =
        World::with(|setup| setup.settings.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()])
            .await;
    let spans = Spans::new();
    for (peer, said, scheme) in [
        (trusted, "https", "https"),
        (trusted, "http", "http"),
        (Ipv4Addr::new(203, 0, 113, 7), "https", "http"),
    ] {
        world
            .get("/x")
            .from(peer)
            .header("x-forwarded-proto", said)
            .await;
        assert_eq!(
            attributes(&spans.take_one())["url.scheme"],
            scheme,
            "{peer} {said}"
        );
    }
}

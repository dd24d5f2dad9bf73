//! Traces: the spans of `tracing` that OpenTelemetry sends to a collector.
//!
//! A span is for traces if it declares the field [`STATUS`]; the others are for log lines. At INFO it begins
//! a trace, or goes on with the caller's; at DEBUG it is sent only within one that is. So adapters describe
//! what they do and need not know who asked: of health checks and of work in the background nothing is sent.
//!
//! OpenTelemetry reads the `OTEL_…` variables by itself; the configuration has checked them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, TraceContextExt, TracerProvider};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter, SpanProcessor,
};
use tasks_domain::id::IdGenerator;
use tasks_domain::mail::{Mail, MailError, MailKind, Mailer};
use tasks_domain::trace::{CurrentTrace, TraceParent};
use tasks_security::UuidV7Ids;
use tracing::field::Empty;
use tracing::{Instrument, Level, Metadata, Subscriber, warn};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::filter::{DynFilterFn, LevelFilter, dynamic_filter_fn};
use tracing_subscriber::layer::{Context as LayerContext, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::config::Telemetry;
use crate::failure::Failure;
use crate::logs::BoxedLayer;

/// The field that makes a span one for traces: what went wrong is said in it.
pub(crate) const STATUS: &str = "otel.status_code";

/// Where the spans come from.
const SCOPE: &str = "task-api";

/// How the service is called where `OTEL_SERVICE_NAME` does not say it.
const SERVICE: &str = "task-api";

/// So long the last spans, and then the last figures, may take when the service ends: a collector that
/// has not answered by then will not.
pub(crate) const FLUSH: Duration = Duration::from_secs(5);

/// So often it is said that spans cannot be sent, while that lasts.
const WARNINGS: Duration = Duration::from_mins(1);

/// Spans that no collector got.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many spans were finished that no collector got.
pub(crate) fn dropped_spans() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Whether a span is for traces.
pub(crate) fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.fields().field(STATUS).is_some()
}

/// What the service tells of itself to a collector.
pub(crate) fn resource(telemetry: &Telemetry) -> Resource {
    let mut resource = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if !telemetry.names("service.name", "OTEL_SERVICE_NAME") {
        resource = resource.with_service_name(SERVICE);
    }
    if !telemetry.names("service.instance.id", "") {
        // Or the figures of two instances would be taken for one's.
        let id = UuidV7Ids.next_uuid().to_string();
        resource = resource.with_attribute(KeyValue::new("service.instance.id", id));
    }
    resource.build()
}

/// Sends traces, if they are wanted.
pub(crate) struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Call it within a runtime, which gRPC needs, but not on it.
    pub(crate) fn start(telemetry: &Telemetry) -> Result<Self, Failure> {
        // The log continues the caller's trace, whether or not it is sent.
        global::set_text_map_propagator(TraceContextPropagator::new());
        if !telemetry.traces {
            return Ok(Self(None));
        }
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .build()
            .map_err(|error| Failure::new("cannot send traces", &error))?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let exporter = CountingExporter {
            exporter,
            waiting: waiting.clone(),
            said: Mutex::default(),
        };
        let processor = BoundedProcessor {
            processor: BatchSpanProcessor::builder(exporter).build(),
            waiting,
            capacity: telemetry.span_queue,
        };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource(telemetry))
            .with_span_processor(processor)
            .build();
        Ok(Self(Some(provider)))
    }

    /// What hands spans over, if they are sent.
    pub(crate) fn layer(&self) -> Option<BoxedLayer> {
        let tracer = self.0.as_ref()?.tracer(SCOPE);
        Some(layer(tracer).with_filter(within_a_trace()).boxed())
    }

    /// Sends what is left. Call it within the runtime, but not on it.
    pub(crate) fn finish(self) {
        if let Some(Err(error)) = self.0.map(|provider| provider.shutdown_with_timeout(FLUSH)) {
            warn!(%error, "the last spans were not sent");
        }
    }
}

fn layer<S>(tracer: SdkTracer) -> OpenTelemetryLayer<S, SdkTracer>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    // Nothing but what a span says itself.
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_context_activation(false)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false)
}

/// Admits spans that begin a trace, and those within one.
fn within_a_trace<S>() -> DynFilterFn<S, impl Fn(&Metadata<'_>, &LayerContext<'_, S>) -> bool>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    dynamic_filter_fn(|metadata: &Metadata<'_>, context: &LayerContext<'_, S>| {
        is_traced(metadata)
            && (*metadata.level() <= Level::INFO || context.lookup_current().is_some())
    })
    .with_max_level_hint(LevelFilter::DEBUG)
}

/// Counts what waits, and refuses what is too much. The processor inside would drop it as well, but not say so.
#[derive(Debug)]
struct BoundedProcessor<P> {
    processor: P,
    /// Finished spans that were not given to the exporter yet.
    waiting: Arc<AtomicUsize>,
    capacity: usize,
}

impl<P: SpanProcessor> SpanProcessor for BoundedProcessor<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.capacity {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            DROPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.processor.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

/// Counts what does not arrive.
#[derive(Debug)]
struct CountingExporter<E> {
    exporter: E,
    waiting: Arc<AtomicUsize>,
    /// When it was last said that they do not.
    said: Mutex<Option<Instant>>,
}

impl<E> CountingExporter<E> {
    /// Says it, but not again and again.
    fn say(&self, error: &OTelSdkError) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|before| before.elapsed() >= WARNINGS) {
            *said = Some(Instant::now());
            warn!(%error, dropped = dropped_spans(), "spans could not be sent");
        }
    }
}

impl<E: SpanExporter> SpanExporter for CountingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        let result = self.exporter.export(batch).await;
        if let Err(error) = &result {
            DROPPED.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
            self.say(error);
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// The trace that the current span of `tracing` is in.
pub(crate) struct CurrentSpan;

impl CurrentTrace for CurrentSpan {
    fn parent(&self) -> Option<TraceParent> {
        let mut carrier = std::collections::HashMap::new();
        let context = tracing::Span::current().context();
        TraceContextPropagator::new().inject_context(&context, &mut carrier);
        TraceParent::parse(carrier.get("traceparent")?)
    }
}

/// Sends mails in a trace of their own, each with a link to the request that asked for it.
pub(crate) struct TracedMailer(pub(crate) Arc<dyn Mailer>);

#[async_trait]
impl Mailer for TracedMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let span = tracing::info_span!(
            parent: None,
            "send mail",
            otel.kind = "client",
            otel.name = match mail.kind {
                MailKind::VerifyEmail => "send verify_email",
                MailKind::ResetPassword => "send reset_password",
            },
            otel.status_code = Empty,
            error.type = Empty,
        );
        if let Some(cause) = &mail.cause {
            span.add_link(place(cause));
        }
        let sent = self.0.send(mail).instrument(span.clone()).await;
        if let Err(error) = &sent {
            span.record(STATUS, "ERROR");
            span.record(
                "error.type",
                match error {
                    MailError::Unavailable(_) => "unavailable",
                    MailError::Refused(_) => "refused",
                },
            );
        }
        sent
    }
}

/// The place in a trace that a text names.
fn place(parent: &TraceParent) -> SpanContext {
    let carrier = [("traceparent".to_owned(), parent.as_str().to_owned())];
    let carrier = std::collections::HashMap::from(carrier);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    context.span().span_context().clone()
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Link, SpanId, SpanKind, Status};
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SimpleSpanProcessor};
    use tasks_testkit::build;
    use tasks_testkit::fakes::RecordingMailer;
    use tracing::{debug_span, info_span};
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// The spans that are exported meanwhile.
    fn exported(work: impl FnOnce()) -> Vec<SpanData> {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(SimpleSpanProcessor::new(exporter.clone()))
            .build();
        let layer = layer(provider.tracer(SCOPE)).with_filter(within_a_trace());
        tracing::subscriber::with_default(Registry::default().with(layer), work);
        exporter.get_finished_spans().unwrap()
    }

    fn names(spans: &[SpanData]) -> Vec<&str> {
        spans.iter().map(|span| &*span.name).collect()
    }

    #[test]
    fn a_span_within_a_trace_is_sent_and_one_outside_is_not() {
        let spans = exported(|| {
            let outside = debug_span!("outside", otel.status_code = Empty);
            outside.in_scope(|| debug_span!("outside too", otel.status_code = Empty));
            let server = info_span!("server", otel.status_code = Empty);
            server.in_scope(|| {
                info_span!("for lines", request_id = "abc").in_scope(|| {
                    debug_span!("within", otel.status_code = "ERROR");
                });
            });
        });
        assert_eq!(names(&spans), ["within", "server"]);
        let [within, server] = &spans[..] else {
            panic!("two");
        };
        assert_eq!(within.parent_span_id, server.span_context.span_id());
        assert!(matches!(within.status, Status::Error { .. }));
        assert_eq!(server.parent_span_id, SpanId::INVALID);
        assert_eq!(server.attributes, [], "nothing but what it says itself");
    }

    #[test]
    fn the_current_place_is_that_of_the_innermost_span() {
        assert_eq!(CurrentSpan.parent(), None);
        let mut place = None;
        let spans = exported(|| {
            let server = info_span!("server", otel.status_code = Empty);
            server.in_scope(|| place = CurrentSpan.parent());
        });
        let context = &spans[0].span_context;
        let expected = format!("00-{}-{}-01", context.trace_id(), context.span_id());
        assert_eq!(place.unwrap().as_str(), expected);
    }

    fn send(mailer: RecordingMailer, mail: &Mail) -> Vec<SpanData> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.unwrap();
        exported(|| {
            let around = info_span!("around", otel.status_code = Empty);
            let mailer = TracedMailer(Arc::new(mailer));
            // Its outcome is the mailer's own.
            runtime.block_on(mailer.send(mail).instrument(around)).ok();
        })
    }

    fn mail(kind: MailKind, cause: Option<TraceParent>) -> Mail {
        Mail {
            id: build::id(),
            kind,
            to: build::email("ada@example.com"),
            name: build::full_name("Ada"),
            token: "hush-hush".to_owned().into(),
            cause,
        }
    }

    #[test]
    fn a_mail_has_a_trace_of_its_own_that_links_to_its_cause() {
        let cause = build::trace_parent();
        let mailer = RecordingMailer::default();
        let spans = send(
            mailer.clone(),
            &mail(MailKind::VerifyEmail, Some(cause.clone())),
        );
        assert_eq!(mailer.sent().len(), 1);
        assert_eq!(names(&spans), ["send verify_email", "around"]);
        let span = &spans[0];
        assert_eq!(span.span_kind, SpanKind::Client);
        assert_eq!(span.parent_span_id, SpanId::INVALID);
        assert_eq!(span.status, Status::Unset);
        let links: Vec<&Link> = span.links.iter().collect();
        let [link] = links[..] else {
            panic!("one link");
        };
        let (trace, span_id) = (link.span_context.trace_id(), link.span_context.span_id());
        assert_eq!(format!("00-{trace}-{span_id}-01"), cause.as_str());
        assert!(!format!("{span:?}").contains("ada@example.com"));
        assert!(!format!("{span:?}").contains("hush-hush"));
    }

    #[test]
    fn a_mail_that_fails_says_so_and_one_without_a_cause_has_no_link() {
        for (error, kind) in [
            (MailError::Unavailable("down".into()), "unavailable"),
            (MailError::Refused("unknown".into()), "refused"),
        ] {
            let mailer = RecordingMailer::default();
            mailer.fail_next(error);
            let spans = send(mailer, &mail(MailKind::ResetPassword, None));
            let span = &spans[0];
            assert_eq!(span.name, "send reset_password");
            assert!(matches!(span.status, Status::Error { .. }));
            let said = span
                .attributes
                .iter()
                .find(|a| a.key.as_str() == "error.type");
            assert_eq!(said.unwrap().value.as_str(), kind);
            assert_eq!(span.links.len(), 0);
        }
    }

    /// Takes what it gets, or fails.
    #[derive(Clone, Debug, Default)]
    struct Sink {
        spans: Arc<Mutex<Vec<SpanData>>>,
        fails: bool,
    }

    impl SpanProcessor for Sink {
        fn on_start(&self, _: &mut Span, _: &Context) {}

        fn on_end(&self, span: SpanData) {
            self.spans.lock().unwrap().push(span);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    impl SpanExporter for Sink {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            if self.fails {
                return Err(OTelSdkError::InternalFailure("down".to_owned()));
            }
            self.spans.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    /// One test, since what is dropped is counted for the whole process.
    #[test]
    fn what_is_too_much_and_what_does_not_arrive_is_counted() {
        let one = exported(|| drop(info_span!("one", otel.status_code = Empty)));
        let one = one.first().unwrap();
        let waiting = Arc::new(AtomicUsize::new(0));
        let sink = Sink::default();
        let processor = BoundedProcessor {
            processor: sink.clone(),
            waiting: waiting.clone(),
            capacity: 3,
        };
        for _ in 0..5 {
            processor.on_end(one.clone());
        }
        assert_eq!((sink.spans.lock().unwrap().len(), dropped_spans()), (3, 2));

        let export = |fails, count| {
            let exporter = CountingExporter {
                exporter: Sink {
                    fails,
                    ..Sink::default()
                },
                waiting: waiting.clone(),
                said: Mutex::default(),
            };
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime
                .unwrap()
                .block_on(exporter.export(vec![one.clone(); count]))
        };
        export(false, 2).unwrap();
        assert_eq!((waiting.load(Ordering::Relaxed), dropped_spans()), (1, 2));
        export(true, 1).unwrap_err();
        assert_eq!((waiting.load(Ordering::Relaxed), dropped_spans()), (0, 3));
        processor.on_end(one.clone());
        assert_eq!(sink.spans.lock().unwrap().len(), 4, "there is room again");
    }
}

//! Keeps the trace spans of a test. The stores' tests have this file too.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tracing::field::{Empty, Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Span, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// A span as it was recorded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded {
    number: usize,
    parent: Option<usize>,
    pub(crate) fields: BTreeMap<&'static str, String>,
    pub(crate) is_closed: bool,
}

impl Recorded {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// Its name, and its error if it failed.
    pub(crate) fn outcome(&self) -> (&str, Option<&str>) {
        assert!(self.is_closed, "{self:?}");
        let error = self.field("error.type");
        let status = self.field("otel.status_code");
        assert_eq!(status, error.map(|_| "ERROR"), "{self:?}");
        (self.field("otel.name").unwrap(), error)
    }
}

impl Visit for Recorded {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

static SPANS: Mutex<Vec<Recorded>> = Mutex::new(Vec::new());

fn spans<T>(f: impl FnOnce(&mut Vec<Recorded>) -> T) -> T {
    f(&mut SPANS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Takes trace spans in the manner of the binary: those at DEBUG only inside of another.
struct Collector;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collector {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        metadata.is_span()
            && metadata.fields().field("otel.status_code").is_some()
            && (*metadata.level() == Level::INFO || context.lookup_current().is_some())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let parent = span
            .parent()
            .map(|parent| *parent.extensions().get::<usize>().unwrap());
        let mut recorded = Recorded {
            parent,
            ..Recorded::default()
        };
        attributes.record(&mut recorded);
        spans(|spans| {
            recorded.number = spans.len();
            span.extensions_mut().insert(recorded.number);
            spans.push(recorded);
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let number = *context
            .span(id)
            .unwrap()
            .extensions()
            .get::<usize>()
            .unwrap();
        spans(|spans| values.record(spans.get_mut(number).unwrap()));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let number = *context
            .span(&id)
            .unwrap()
            .extensions()
            .get::<usize>()
            .unwrap();
        spans(|spans| spans.get_mut(number).unwrap().is_closed = true);
    }
}

/// A use case's span.
pub(crate) struct UseCase {
    pub(crate) span: Span,
    label: String,
}

impl UseCase {
    pub(crate) fn begin() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // In every thread; a second time it is there already.
        drop(tracing::subscriber::set_global_default(
            Registry::default().with(Collector),
        ));
        let label = NEXT.fetch_add(1, Ordering::SeqCst).to_string();
        let span = tracing::info_span!("use case", label, otel.status_code = Empty);
        assert!(!span.is_disabled());
        Self { span, label }
    }

    pub(crate) fn recorded(&self) -> Recorded {
        let is_it = |span: &&Recorded| span.field("label") == Some(&self.label);
        spans(|spans| spans.iter().find(is_it).cloned().unwrap())
    }

    /// The spans of its statements, in the order in which they began.
    pub(crate) fn statements(&self) -> Vec<Recorded> {
        let parent = Some(self.recorded().number);
        let children = |spans: &mut Vec<Recorded>| {
            spans
                .iter()
                .filter(|span| span.parent == parent)
                .cloned()
                .collect()
        };
        spans(children)
    }
}

/// What became of statements.
pub(crate) fn outcomes(statements: &[Recorded]) -> Vec<(&str, Option<&str>)> {
    statements.iter().map(Recorded::outcome).collect()
}

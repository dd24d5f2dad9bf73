//! What a test's code traces.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, Interest, NoSubscriber};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// What was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(pub(crate) BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// A span, or a line of the log.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) parent: Option<&'static str>,
    pub(crate) fields: Fields,
}

impl Seen {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.0.get(name).map(String::as_str)
    }
}

/// What is traced and logged on this thread, in the order in which it began.
#[derive(Clone, Default)]
pub(crate) struct Spans {
    spans: Arc<Mutex<Vec<Seen>>>,
    lines: Arc<Mutex<Vec<Seen>>>,
}

/// Where a span is in the list.
struct Place(usize);

impl Spans {
    /// Collects until the guard is dropped.
    pub(crate) fn collect() -> (Self, DefaultGuard) {
        // As long as there is only one subscriber, `tracing` asks the first thread that comes by a
        // span whether it is wanted, though it be another than the subscriber's.
        static ANOTHER: LazyLock<Dispatch> =
            LazyLock::new(|| Dispatch::new(NoSubscriber::default()));
        LazyLock::force(&ANOTHER);
        let spans = Self::default();
        let subscriber = tracing_subscriber::registry().with(spans.clone());
        (spans, tracing::subscriber::set_default(subscriber))
    }

    /// The spans.
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.spans.lock().unwrap().clone()
    }

    /// The lines of the log.
    pub(crate) fn lines(&self) -> Vec<Seen> {
        self.lines.lock().unwrap().clone()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    /// The rule of the service: what is at DEBUG is wanted only inside what is traced.
    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        *metadata.level() <= Level::INFO || metadata.is_span() && context.lookup_current().is_some()
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let span = context.span(id).unwrap();
        let mut spans = self.spans.lock().unwrap();
        span.extensions_mut().insert(Place(spans.len()));
        spans.push(Seen {
            parent: span.parent().map(|parent| parent.name()),
            fields,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let place = span.extensions().get::<Place>().unwrap().0;
        values.record(&mut self.spans.lock().unwrap()[place].fields);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let parent = context.event_span(event).map(|span| span.name());
        self.lines.lock().unwrap().push(Seen { parent, fields });
    }
}

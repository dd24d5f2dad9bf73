//! What a test's code traces and logs on its thread.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, Interest, NoSubscriber};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// What was recorded, by the names of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub BTreeMap<&'static str, String>);

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
pub struct Seen {
    /// Of a line, that of the event.
    pub name: &'static str,
    /// The name of the span that it is in.
    pub parent: Option<&'static str>,
    /// What it tells.
    pub fields: Fields,
    /// Whether it has ended; a line has.
    pub is_over: bool,
}

impl Seen {
    /// What one field tells.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.0.get(name).map(String::as_str)
    }
}

/// What is traced and logged on this thread, in the order in which it began.
#[derive(Clone, Default)]
pub struct Spans {
    spans: Arc<Mutex<Vec<Seen>>>,
    lines: Arc<Mutex<Vec<Seen>>>,
}

/// Where a span is in the list.
struct Place(usize);

impl Spans {
    /// Collects until the guard is dropped.
    pub fn collect() -> (Self, DefaultGuard) {
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
    pub fn all(&self) -> Vec<Seen> {
        self.spans.lock().unwrap().clone()
    }

    /// The lines of the log.
    pub fn lines(&self) -> Vec<Seen> {
        self.lines.lock().unwrap().clone()
    }

    fn change<S>(&self, id: &Id, context: &Context<'_, S>, change: impl FnOnce(&mut Seen))
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let span = context.span(id).unwrap();
        let place = span.extensions().get::<Place>().unwrap().0;
        change(self.spans.lock().unwrap().get_mut(place).unwrap());
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
            name: span.name(),
            parent: span.parent().map(|parent| parent.name()),
            fields,
            is_over: false,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.change(id, &context, |span| values.record(&mut span.fields));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let parent = context.event_span(event).map(|span| span.name());
        self.lines.lock().unwrap().push(Seen {
            name: event.metadata().name(),
            parent,
            fields,
            is_over: true,
        });
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.change(&id, &context, |span| span.is_over = true);
    }
}

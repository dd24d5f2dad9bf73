//! What a test's code traces.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, Interest, NoSubscriber};
use tracing::{Dispatch, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// The fields of a span that were recorded.
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

#[derive(Clone, Debug)]
pub(crate) struct TraceSpan {
    pub(crate) name: &'static str,
    pub(crate) parent: Option<&'static str>,
    pub(crate) fields: Fields,
    pub(crate) is_over: bool,
}

/// The spans of this thread, in the order in which they began.
#[derive(Clone, Default)]
pub(crate) struct Spans(Arc<Mutex<Vec<TraceSpan>>>);

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

    pub(crate) fn all(&self) -> Vec<TraceSpan> {
        self.0.lock().unwrap().clone()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    /// The rule of the service: what is at DEBUG is wanted only inside what is traced.
    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        metadata.is_span()
            && (*metadata.level() <= Level::INFO || context.lookup_current().is_some())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let span = context.span(id).unwrap();
        let mut spans = self.0.lock().unwrap();
        span.extensions_mut().insert(Place(spans.len()));
        spans.push(TraceSpan {
            name: span.name(),
            parent: span.parent().map(|parent| parent.name()),
            fields,
            is_over: false,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let place = span.extensions().get::<Place>().unwrap().0;
        values.record(&mut self.0.lock().unwrap()[place].fields);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let place = span.extensions().get::<Place>().unwrap().0;
        self.0.lock().unwrap()[place].is_over = true;
    }
}

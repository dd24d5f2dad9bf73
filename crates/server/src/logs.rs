//! Log lines on standard output: JSON for programs, text for people.
//!
//! The formats of `tracing-subscriber` nest the fields of spans; ours stand beside those of the
//! event, so that `request_id` is found in the same place in every line.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use tasks_domain::clock::{Clock, Timestamp};
use tasks_security::SystemClock;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, SpanRef};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Registry};

use crate::config::LogFormat;
use crate::telemetry::{Traces, is_traced};

/// The time of day, for people who watch.
const TIME_OF_DAY: &[BorrowedFormatItem<'_>] =
    format_description!("[hour]:[minute]:[second].[subsecond digits:3]Z");

/// What plain `info` stands for: without the framework's own lines about its threads, which would
/// bury ours, without an error for whatever a stranger sends that is not HTTP, and without what
/// OpenTelemetry says of itself, with every batch that it cannot send: that is said once a minute elsewhere.
const QUIET_INFO: &str = "info,actix_server=warn,actix_http::h1=off,opentelemetry=off";

/// At the levels below INFO this driver logs the values of statements, password hashes among them. Nobody can
/// ask for that.
const TELLS_VALUES: &str = "tokio_postgres";

/// As many fields as a line has room for before it takes more: the line of a request has ten.
const FIELDS: usize = 16;

/// The names that each line begins with. A field of one of these names is not repeated.
const HEAD: [&str; 4] = ["timestamp", "level", "target", "message"];

/// Sends the events of the whole process, panics included, to standard output.
pub(crate) fn install(level: &str, format: LogFormat, traces: &Traces) -> Result<(), TryInitError> {
    let colors = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = Lines::new(format, colors, io::stdout);
    subscriber(level, lines, traces.layer()).try_init()?;
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload_as_str().unwrap_or("no message");
        let location = panic.location().map(ToString::to_string);
        tracing::error!(panic = payload, location, "a thread panicked");
    }));
    Ok(())
}

/// The level decides on events. Spans are not lines: they are kept, so that a warning has its
/// request's id where nothing else is logged. Those for traces are kept only where traces are sent: the way
/// to a request's span may lead through them.
fn subscriber<L>(
    level: &str,
    lines: L,
    traces: Option<BoxedLayer>,
) -> impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync
where
    L: Layer<Registry> + Send + Sync,
{
    let traces_are_sent = traces.is_some();
    let level = if level.eq_ignore_ascii_case("info") {
        QUIET_INFO
    } else {
        level
    };
    // The configuration has already checked the level.
    let events = EnvFilter::builder().parse_lossy(level);
    let admitted = filter_fn(|metadata| {
        let tells_values = metadata.target().starts_with(TELLS_VALUES);
        !metadata.is_span() && (!tells_values || *metadata.level() <= Level::INFO)
    });
    // Without a hint of its own it would hide the level's: every `debug!` of the process would ask.
    let events = events.and(admitted.with_max_level_hint(LevelFilter::TRACE));
    let spans = filter_fn(move |metadata| {
        if is_traced(metadata) {
            traces_are_sent
        } else {
            metadata.is_span() && *metadata.level() <= Level::INFO
        }
    });
    let deepest = if traces_are_sent {
        Level::DEBUG
    } else {
        Level::INFO
    };
    let spans = spans.with_max_level_hint(deepest);
    // Not `with` an `Option`, which counts as a layer that wants every span also where it is none.
    let mut layers = vec![lines.with_filter(events.or(spans)).boxed()];
    layers.extend(traces);
    Registry::default().with(layers)
}

/// A layer of any kind.
pub(crate) type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// A layer that writes one line for each event.
struct Lines<W> {
    format: LogFormat,
    colors: bool,
    open: W,
}

impl<O: Write, W: Fn() -> O> Lines<W> {
    fn new(format: LogFormat, colors: bool, open: W) -> Self {
        Self {
            format,
            colors,
            open,
        }
    }
}

impl<S, O, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    O: Write,
    W: Fn() -> O + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Fields::default();
        event.record(&mut own);
        let metadata = event.metadata();
        // Events of the `log` crate carry their true target in a field.
        let (target, message) = (own.take("log.target"), own.take("message"));
        let spans: Vec<_> = context.event_scope(event).into_iter().flatten().collect();
        let around: Vec<_> = spans.iter().map(SpanRef::extensions).collect();
        // What is nearer wins: the event over its span, a span over the one around it.
        let around = around.iter().filter_map(|span| span.get::<Fields>());
        let line = Line {
            at: SystemClock.now(),
            level: *metadata.level(),
            target: target.as_deref().unwrap_or(metadata.target()),
            message: message.as_deref().unwrap_or_default(),
            fields: told(std::iter::once(&own).chain(around)),
        };
        let mut text = match self.format {
            LogFormat::Json => line.json(),
            LogFormat::Pretty => line.pretty(self.colors),
        };
        text.push('\n');
        // Nobody is left to be told that the log cannot be written.
        (self.open)().write_all(text.as_bytes()).ok();
    }
}

/// The fields of a line: each name once, without those that repeat the line's head and the `log` crate's own.
fn told<'a>(sources: impl Iterator<Item = &'a Fields>) -> Vec<(&'static str, &'a Value)> {
    let mut told: Vec<(&'static str, &Value)> = Vec::with_capacity(FIELDS);
    for (name, value) in sources.flat_map(|fields| &fields.0) {
        let own = HEAD.contains(name) || name.starts_with("log.");
        if !own && told.iter().all(|(known, _)| known != name) {
            told.push((name, value));
        }
    }
    told
}

/// Named values in the order in which they were recorded, each name once.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        // Names in parts are those of traces, but for what the `log` crate says of its events.
        if name.contains('.') && !name.starts_with("log.") {
            return;
        }
        let name = name.strip_prefix("r#").unwrap_or(name);
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value.into(),
            None => self.0.push((name, value.into())),
        }
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        let (_, value) = self.0.remove(at);
        Some(
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned),
        )
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }
}

/// What a line says.
struct Line<'a> {
    at: Timestamp,
    level: Level,
    target: &'a str,
    message: &'a str,
    fields: Vec<(&'static str, &'a Value)>,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        let at = self.at.to_rfc3339();
        let head = [&at, self.level.as_str(), self.target, self.message];
        for (name, value) in HEAD.into_iter().zip(head) {
            line.serialize_entry(name, value)?;
        }
        for (name, value) in &self.fields {
            line.serialize_entry(name, value)?;
        }
        line.end()
    }
}

impl Line<'_> {
    fn json(&self) -> String {
        // Neither strings nor numbers can fail to be written.
        let line = serde_json::to_string(self).unwrap_or_default();
        // It has escaped those below a space.
        if line.is_ascii() && !line.as_bytes().contains(&0x7f) {
            return line;
        }
        without_controls(line)
    }

    fn pretty(&self, colors: bool) -> String {
        let (dim, color, plain) = match (colors, self.level) {
            (false, _) => ("", "", ""),
            (true, Level::ERROR) => ("\x1b[2m", "\x1b[31m", "\x1b[0m"),
            (true, Level::WARN) => ("\x1b[2m", "\x1b[33m", "\x1b[0m"),
            (true, Level::INFO) => ("\x1b[2m", "\x1b[32m", "\x1b[0m"),
            (true, _) => ("\x1b[2m", "\x1b[34m", "\x1b[0m"),
        };
        let time = self.at.to_utc().format(TIME_OF_DAY).unwrap_or_default();
        let level = self.level;
        let message = without_controls(self.message.to_owned());
        let mut text = format!("{dim}{time}{plain} {color}{level:>5}{plain} {message}");
        for (name, value) in &self.fields {
            let value = match value.as_str().filter(|text| is_word(text)) {
                Some(word) => word.to_owned(),
                None => without_controls(value.to_string()),
            };
            text.extend([" ", dim, name, "=", plain, &value]);
        }
        text
    }
}

/// Whether a value needs no quotes to be told from what follows.
fn is_word(text: &str) -> bool {
    let apart = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\');
    !text.is_empty() && !text.contains(apart)
}

/// The text with control characters written as JSON writes them: what a caller sends must
/// neither begin a new line nor steer a terminal. (JSON itself leaves U+007F to U+009F alone.)
fn without_controls(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let escaped = text.chars().map(|c| {
        if c.is_control() {
            format!("\\u{:04x}", u32::from(c))
        } else {
            c.to_string()
        }
    });
    escaped.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;
    use tracing::{debug, debug_span, info, info_span, warn};
    use tracing_subscriber::layer::Identity;

    use time::OffsetDateTime;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that are written meanwhile, where traces are not sent.
    fn lines(level: &str, format: LogFormat, colors: bool, log: impl FnOnce()) -> Vec<String> {
        lines_beside_traces(level, format, colors, false, log)
    }

    fn lines_beside_traces(
        level: &str,
        format: LogFormat,
        colors: bool,
        traces_are_sent: bool,
        log: impl FnOnce(),
    ) -> Vec<String> {
        let page = Page::default();
        let open = {
            let page = page.clone();
            move || page.clone()
        };
        let traces = traces_are_sent.then(|| Identity::new().boxed());
        let subscriber = subscriber(level, Lines::new(format, colors, open), traces);
        tracing::subscriber::with_default(subscriber, log);
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn one_json(log: impl FnOnce()) -> (String, Value) {
        let mut lines = lines("trace", LogFormat::Json, false, log);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line = lines.remove(0);
        let value = serde_json::from_str(&line).unwrap();
        (line, value)
    }

    #[test]
    fn a_json_line_has_its_head_and_the_fields_at_the_top() {
        let (line, mut value) = one_json(|| {
            info!(
                status = 201,
                duration_ms = 1.5,
                ok = true,
                route = "/x",
                n = -1,
                "done \"so\""
            );
        });
        let at = value["timestamp"].take();
        let at = at.as_str().unwrap();
        let parsed =
            OffsetDateTime::parse(at, &time::format_description::well_known::Rfc3339).unwrap();
        assert!(parsed.offset().is_utc() && at.ends_with('Z'), "{at}");
        assert_eq!(
            value,
            json!({
                "timestamp": null, "level": "INFO", "target": module_path!(),
                "message": "done \"so\"", "status": 201, "duration_ms": 1.5, "ok": true,
                "route": "/x", "n": -1
            })
        );
        assert!(line.starts_with(r#"{"timestamp":""#), "{line}");
    }

    #[test]
    fn fields_of_spans_stand_at_the_top_and_what_is_nearer_wins() {
        let (line, value) = one_json(|| {
            let request = info_span!(
                "request",
                request_id = "abc",
                who = "outer",
                late = tracing::field::Empty
            );
            request.record("late", "recorded");
            let _request = request.entered();
            let _inner = info_span!("inner", who = "inner", status = 1).entered();
            info!(status = 200, "request completed");
        });
        assert_eq!(value["request_id"], "abc");
        assert_eq!(value["late"], "recorded");
        assert_eq!(value["who"], "inner");
        assert_eq!(value["status"], 200);
        assert!(value.get("span").is_none() && value.get("spans").is_none());
        for name in ["request_id", "who", "status", "late"] {
            assert_eq!(line.matches(&format!("\"{name}\":")).count(), 1, "{line}");
        }
    }

    #[test]
    fn where_nobody_traces_no_span_for_traces_is_made() {
        let lines = || Lines::new(LogFormat::Json, false, io::sink);
        let is_made = |traces| {
            tracing::subscriber::with_default(subscriber("info", lines(), traces), || {
                let span = debug_span!("statement", otel.status_code = tracing::field::Empty);
                !span.is_disabled()
            })
        };
        assert!(!is_made(None));
        assert!(is_made(Some(Identity::new().boxed())));
        // So that a comparison is all that they cost.
        let quiet = subscriber("info", lines(), None);
        assert_eq!(quiet.max_level_hint(), Some(LevelFilter::INFO));
    }

    #[test]
    fn a_field_cannot_stand_in_for_the_head() {
        let (line, value) = one_json(|| info!(level = "fake", target = "fake", r#type = 1, "true"));
        assert_eq!(value["level"], "INFO");
        assert_eq!(value["target"], module_path!());
        assert_eq!(value["type"], 1);
        assert_eq!(line.matches("\"level\":").count(), 1);
    }

    #[test]
    fn a_line_stays_a_line_and_steers_no_terminal() {
        let evil = "a\nb\r\u{1b}[31m\u{7f}\u{9b}2J";
        let (line, value) = one_json(|| info!(evil, shown = %evil, "{evil}"));
        assert!(!line.contains(char::is_control), "{line:?}");
        assert_eq!(value["message"], evil);
        assert_eq!(value["evil"], evil);
        assert_eq!(value["shown"], evil);

        let pretty = lines("info", LogFormat::Pretty, false, || {
            info!(evil, shown = %evil, "{evil}");
        });
        assert_eq!(pretty.len(), 1);
        assert!(!pretty[0].contains(char::is_control), "{pretty:?}");
    }

    #[test]
    fn a_pretty_line_reads_well() {
        let log = || {
            warn!(
                address = "http://127.0.0.1:1",
                why = "not so good",
                n = 3,
                "listening"
            );
        };
        let line = lines("info", LogFormat::Pretty, false, log).remove(0);
        let (time, rest) = line.split_at("12:34:56.789Z".len());
        assert!(
            time.chars()
                .all(|c| c.is_ascii_digit() || ":.Z".contains(c))
        );
        assert_eq!(
            rest,
            "  WARN listening address=http://127.0.0.1:1 why=\"not so good\" n=3"
        );
    }

    #[test]
    fn colors_are_for_terminals() {
        for colors in [true, false] {
            let line = lines("info", LogFormat::Pretty, colors, || info!("x")).remove(0);
            assert_eq!(line.contains('\x1b'), colors, "{line:?}");
        }
    }

    #[test]
    fn a_warning_has_its_request_where_only_warnings_are_logged() {
        let lines = lines("warn", LogFormat::Json, false, || {
            let _request = info_span!("request", request_id = "abc").entered();
            info!("no");
            warn!("yes");
        });
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains(r#""request_id":"abc""#), "{lines:?}");
    }

    #[test]
    fn the_framework_is_quiet_unless_asked() {
        for (level, count) in [("info", 1), ("info,actix_server=info", 2), ("debug", 2)] {
            let lines = lines(level, LogFormat::Json, false, || {
                info!(target: "actix_server::builder", "starting 2 workers");
                warn!(target: "actix_server::accept", "trouble");
            });
            assert_eq!(lines.len(), count, "{level}");
        }
    }

    #[test]
    fn what_is_for_traces_is_not_in_lines_and_hides_nothing() {
        for traces_are_sent in [true, false] {
            for level in ["info", "trace"] {
                let log = || {
                    let _request = info_span!("request", request_id = "abc").entered();
                    let server = info_span!(
                        "server",
                        url.path = "/x",
                        otel.status_code = tracing::field::Empty
                    );
                    assert_eq!(server.is_disabled(), !traces_are_sent);
                    let _server = server.entered();
                    let statement = debug_span!("statement", otel.status_code = "ERROR");
                    assert_eq!(statement.is_disabled(), !traces_are_sent);
                    let _statement = statement.entered();
                    info!(status = 200, "request completed");
                };
                let lines =
                    lines_beside_traces(level, LogFormat::Json, false, traces_are_sent, log);
                assert_eq!(lines.len(), 1, "{lines:?}");
                let mut line: Value = serde_json::from_str(&lines[0]).unwrap();
                for varies in ["timestamp", "target"] {
                    line[varies].take();
                }
                assert_eq!(
                    line,
                    json!({
                        "timestamp": null, "level": "INFO", "target": null,
                        "message": "request completed", "status": 200, "request_id": "abc"
                    })
                );
            }
        }
    }

    #[test]
    fn values_of_statements_are_not_logged_whoever_asks() {
        for level in [
            "trace",
            "tokio_postgres=trace",
            "debug,tokio_postgres::query=debug",
        ] {
            let lines = lines(level, LogFormat::Json, false, || {
                debug!(target: "tokio_postgres::query", "executing statement with parameters: …");
                info!(target: "tokio_postgres::connection", "a notice");
            });
            assert!(
                !lines.iter().any(|line| line.contains("executing")),
                "{level}"
            );
        }
    }

    #[test]
    fn the_level_filters() {
        let log = || {
            debug!("no");
            debug!(target: "tasks_http", "yes");
            info!("yes");
        };
        let lines = lines("info,tasks_http=debug", LogFormat::Json, false, log);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.contains("\"yes\"")));
    }
}

//! Metrics: kept by OpenTelemetry, told in Prometheus's text format.

use std::error::Error;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::metrics::{AsyncInstrument, Counter};
use opentelemetry::{KeyValue, global};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Registry, TextEncoder};
use tasks_domain::clock::Clock;
use tasks_domain::health::{PoolProbe, PoolState};
use tasks_domain::housekeeping::Leftover;
use tasks_domain::mail::{Backlog, MailKind, Outbox};
use tasks_http::RenderMetrics;
use tasks_redis::RedisStore;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::config::Config;
use crate::failure::Failure;
use crate::telemetry::{self, FLUSH};

/// Where the program's instruments come from.
const METER: &str = "task-api";

/// How often the outbox is looked into: as often as Prometheus asks, or more.
const OUTBOX_INTERVAL: Duration = Duration::from_secs(5);

/// Requests that Redis did not count, `rate_limiter_unavailable_total`.
const LIMITER_UNAVAILABLE: &str = "rate_limiter_unavailable";
const LIMITER_UNAVAILABLE_MEANS: &str =
    "Requests that were let through, or decided by the process, since Redis did not answer";

/// Mails by what became of them, `emails_total`: a label with the kind and one with the outcome.
static EMAILS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = global::meter(METER);
    meter
        .u64_counter("emails")
        .with_description("Attempts to send a mail, by what became of them")
        .build()
});

/// What housekeeping removed, `housekeeping_removed_total`.
static REMOVED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = global::meter(METER);
    meter
        .u64_counter("housekeeping_removed")
        .with_description("What was removed when its time was past")
        .build()
});

/// Keeps metrics.
pub(crate) struct Metrics {
    provider: SdkMeterProvider,
    registry: Registry,
}

impl Metrics {
    /// From now on metrics are kept, if they are wanted. Otherwise every instrument does nothing. Call it within
    /// a runtime, which sending them needs, but not on it.
    pub(crate) fn start(config: &Config) -> Result<Option<Self>, Failure> {
        if !config.metrics {
            return Ok(None);
        }
        let failed = |error: &dyn Error| Failure::new("cannot keep metrics", error);
        let registry = Registry::new();
        registry
            .register(Box::new(ProcessCollector::for_self()))
            .map_err(|error| failed(&error))?;
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .build()
            .map_err(|error| failed(&error))?;
        let mut provider = SdkMeterProvider::builder().with_reader(exporter);
        if config.telemetry.metrics {
            let exporter = opentelemetry_otlp::MetricExporter::builder()
                .build()
                .map_err(|error| Failure::new("cannot send metrics", &error))?;
            provider = provider
                .with_resource(telemetry::resource(&config.telemetry))
                .with_periodic_exporter(exporter);
        }
        let provider = provider.build();
        global::set_meter_provider(provider.clone());
        let meter = global::meter(METER);
        meter
            .u64_gauge("task_api_build_info")
            .with_description("1, with what is running as a label")
            .build()
            .record(1, &[KeyValue::new("version", env!("CARGO_PKG_VERSION"))]);
        meter
            .u64_observable_counter("trace_spans_dropped")
            .with_description("Spans that no collector got")
            .with_callback(|counter| counter.observe(telemetry::dropped_spans(), &[]))
            .build();
        count_from_zero();
        Ok(Some(Self { provider, registry }))
    }

    /// What `/metrics` tells.
    pub(crate) fn page(&self) -> RenderMetrics {
        let registry = self.registry.clone();
        Arc::new(move || Ok(TextEncoder::new().encode_to_string(&registry.gather())?))
    }

    /// Sends the last figures, if they are sent at all. Call it within the runtime, but not on it.
    pub(crate) fn finish(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH) {
            warn!(%error, "the last figures were not sent");
        }
    }
}

/// A counter that begins with its first event hides that event from whoever asks for the increase.
fn count_from_zero() {
    for kind in MailKind::ALL {
        for outcome in MAIL_OUTCOMES {
            EMAILS.add(0, &mail_labels(kind, outcome));
        }
    }
    for what in Leftover::ALL {
        count_removed(what, 0);
    }
}

/// From now on it is told how busy the connections to the database and to Redis are, whenever somebody
/// asks.
pub(crate) fn watch_pools(database: Arc<dyn PoolProbe>, redis: Option<RedisStore>) {
    let meter = global::meter(METER);
    let pool = database.clone();
    meter
        .u64_observable_gauge("db_pool_connections")
        .with_description("Connections to the database")
        .with_callback(move |gauge| observe(gauge, pool.pool()))
        .build();
    meter
        .u64_observable_gauge("db_pool_waiting")
        .with_description("Calls that wait for a connection to the database")
        .with_callback(move |gauge| gauge.observe(number(database.pool().waiting), &[]))
        .build();
    let Some(redis) = redis else {
        // The limiter in the process always answers.
        meter
            .u64_counter(LIMITER_UNAVAILABLE)
            .with_description(LIMITER_UNAVAILABLE_MEANS)
            .build()
            .add(0, &[]);
        return;
    };
    let pool = redis.clone();
    meter
        .u64_observable_gauge("redis_pool_connections")
        .with_description("Connections to Redis")
        .with_callback(move |gauge| observe(gauge, pool.pool()))
        .build();
    meter
        .u64_observable_counter(LIMITER_UNAVAILABLE)
        .with_description(LIMITER_UNAVAILABLE_MEANS)
        .with_callback(move |counter| counter.observe(redis.unavailable_total(), &[]))
        .build();
}

/// Tells how much is in the outbox, as of a moment ago, until the task is aborted.
pub(crate) fn watch_outbox(outbox: Arc<dyn Outbox>, clock: Arc<dyn Clock>) -> JoinHandle<()> {
    let seen = Arc::new(Mutex::new(Backlog::default()));
    let latest = |seen: &Mutex<Backlog>| *seen.lock().unwrap_or_else(PoisonError::into_inner);
    let meter = global::meter(METER);
    let counted = seen.clone();
    meter
        .u64_observable_gauge("outbox_mails")
        .with_description("Mails in the outbox")
        .with_callback(move |gauge| {
            let Backlog { waiting, dead, .. } = latest(&counted);
            for (state, count) in [("waiting", waiting), ("dead", dead)] {
                gauge.observe(count, &[KeyValue::new("state", state)]);
            }
        })
        .build();
    let timed = seen.clone();
    meter
        .f64_observable_gauge("outbox_oldest_age")
        .with_unit("s")
        .with_description("How long the oldest mail has been waiting")
        .with_callback(move |gauge| {
            let age = latest(&timed)
                .oldest
                .map(|oldest| clock.now().since(oldest));
            gauge.observe(age.unwrap_or_default().as_secs_f64(), &[]);
        })
        .build();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(OUTBOX_INTERVAL).await;
            // One that does not answer is told by others; what was seen last stands.
            if let Ok(backlog) = outbox.backlog().await {
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = backlog;
            }
        }
    })
}

fn observe(gauge: &dyn AsyncInstrument<u64>, pool: PoolState) {
    for (state, count) in [("idle", pool.idle), ("in_use", pool.in_use)] {
        gauge.observe(number(count), &[KeyValue::new("state", state)]);
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// What becomes of an attempt to send a mail.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MailOutcome {
    Sent,
    Retried,
    Dead,
}

const MAIL_OUTCOMES: [MailOutcome; 3] =
    [MailOutcome::Sent, MailOutcome::Retried, MailOutcome::Dead];

fn mail_labels(kind: MailKind, outcome: MailOutcome) -> [KeyValue; 2] {
    let outcome = match outcome {
        MailOutcome::Sent => "sent",
        MailOutcome::Retried => "retried",
        MailOutcome::Dead => "dead",
    };
    [
        KeyValue::new("kind", kind.as_str()),
        KeyValue::new("outcome", outcome),
    ]
}

/// Counts an attempt to send a mail.
pub(crate) fn count_mail(kind: MailKind, outcome: MailOutcome) {
    EMAILS.add(1, &mail_labels(kind, outcome));
}

/// Counts what was removed.
pub(crate) fn count_removed(what: Leftover, count: u64) {
    REMOVED.add(count, &[KeyValue::new("what", what.as_str())]);
}

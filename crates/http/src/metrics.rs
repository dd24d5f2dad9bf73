//! What is counted of requests. Every instrument of the crate is made here.

use std::time::Duration;

use opentelemetry::metrics::{Counter, Histogram, UpDownCounter};
use opentelemetry::{KeyValue, global};

/// Where the API's instruments come from.
const METER: &str = "tasks-http";

/// What answers take, in seconds: from what a look-up needs to what no answer may exceed, about twice
/// as much each time.
const DURATIONS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The methods that have a name in metrics and traces: others are anybody's invention.
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
];

/// Why a password or a token is refused.
const AUTH_FAILURES: [&str; 7] = [
    "invalid_credentials",
    "account_locked",
    "token_missing",
    "token_invalid",
    "token_expired",
    "refresh_token_invalid",
    "refresh_token_reused",
];

/// Whose limit a request can be beyond.
const SCOPES: [&str; 2] = ["user", "anonymous"];

/// The method, if it has a name.
pub(crate) fn known_method(method: &str) -> Option<&'static str> {
    METHODS.into_iter().find(|known| *known == method)
}

/// The instruments, which belong to the meter provider that is installed when they are made. Their names
/// are without the endings that Prometheus's format adds: `_total` and the unit.
pub(crate) struct Instruments {
    requests: Counter<u64>,
    durations: Histogram<f64>,
    in_flight: UpDownCounter<i64>,
    auth_failures: Counter<u64>,
    rate_limit_rejections: Counter<u64>,
    is_on: bool,
}

impl Instruments {
    /// Instruments of the meter provider of now; where metrics are off, they cost nothing.
    pub(crate) fn new(is_on: bool) -> Self {
        let meter = global::meter(METER);
        let this = Self {
            requests: meter
                .u64_counter("http_requests")
                .with_description("Requests that were answered")
                .build(),
            durations: meter
                .f64_histogram("http_request_duration")
                .with_unit("s")
                .with_description("How long requests took")
                .with_boundaries(DURATIONS.to_vec())
                .build(),
            in_flight: meter
                .i64_up_down_counter("http_requests_in_flight")
                .with_description("Requests that are being answered")
                .build(),
            auth_failures: meter
                .u64_counter("auth_failures")
                .with_description("Refused passwords and tokens, by why they were refused")
                .build(),
            rate_limit_rejections: meter
                .u64_counter("rate_limit_rejections")
                .with_description("Requests beyond their limit, by whose limit it was")
                .build(),
            is_on,
        };
        // A counter that begins with its first event hides that event from whoever asks for the increase.
        for reason in AUTH_FAILURES {
            this.auth_failures
                .add(0, &[KeyValue::new("reason", reason)]);
        }
        for scope in SCOPES {
            this.rate_limit_rejections
                .add(0, &[KeyValue::new("scope", scope)]);
        }
        this
    }

    /// A request came in.
    pub(crate) fn request_began(&self) {
        if self.is_on {
            self.in_flight.add(1, &[]);
        }
    }

    /// A request was answered, or given up.
    pub(crate) fn request_ended(&self, method: &str, route: &str, status: u16, took: Duration) {
        if !self.is_on {
            return;
        }
        self.in_flight.add(-1, &[]);
        let method = KeyValue::new("method", known_method(method).unwrap_or("OTHER"));
        let route = KeyValue::new("route", route.to_owned());
        let status = KeyValue::new("status", i64::from(status));
        self.durations
            .record(took.as_secs_f64(), &[method.clone(), route.clone()]);
        self.requests.add(1, &[method, route, status]);
    }

    /// A password or token was refused.
    pub(crate) fn count_auth_failure(&self, reason: &'static str) {
        self.auth_failures
            .add(1, &[KeyValue::new("reason", reason)]);
    }

    /// A request was beyond its limit.
    pub(crate) fn count_rate_limit_rejection(&self, scope: &'static str) {
        self.rate_limit_rejections
            .add(1, &[KeyValue::new("scope", scope)]);
    }
}

//! Contract §6: what is counted, and where it is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ScopeMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use tasks_http::RateLimits;

use crate::support::{Fault, NEW_PASSWORD, PASSWORD, Setup, WRONG, World, per_minute};

const ADA: &str = "ada@example.com";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// An application, and what it counts.
struct Counted {
    world: World,
    provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
}

impl Counted {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let exporter = InMemoryMetricExporter::default();
        let provider = SdkMeterProvider::builder()
            .with_periodic_exporter(exporter.clone())
            .build();
        let meter = provider.clone();
        Self {
            world: World::with(|setup| {
                setup.meter = meter;
                setup.metrics = Some(Arc::new(|| Ok(String::new())));
                setup.settings.rate_limits = Some(RateLimits {
                    user: per_minute(1_000),
                    anonymous: per_minute(40),
                });
                change(setup);
            })
            .await,
            provider,
            exporter,
        }
    }

    /// The points of a metric now, by the values of its labels, which have these names.
    fn points(&self, name: &str, labels: &[&str]) -> BTreeMap<String, f64> {
        self.exporter.reset();
        self.provider.force_flush().unwrap();
        let mut points = BTreeMap::new();
        let mut add = |attributes: Vec<&KeyValue>, value: f64| {
            let value_of = |label: &&str| {
                let found = attributes.iter().find(|pair| pair.key.as_str() == *label);
                found.unwrap().value.to_string()
            };
            assert_eq!(attributes.len(), labels.len(), "{attributes:?}");
            let values: Vec<_> = labels.iter().map(value_of).collect();
            points.insert(values.join(" "), value);
        };
        for resource in self.exporter.get_finished_metrics().unwrap() {
            let metrics = resource.scope_metrics().flat_map(ScopeMetrics::metrics);
            for metric in metrics.filter(|metric| metric.name() == name) {
                match metric.data() {
                    AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                        assert!(sum.is_monotonic());
                        // Counters whose labels are known begin with 0.
                        for point in sum.data_points().filter(|point| point.value() > 0) {
                            let value = u32::try_from(point.value()).unwrap();
                            add(point.attributes().collect(), value.into());
                        }
                    }
                    AggregatedMetrics::I64(MetricData::Sum(sum)) => {
                        assert!(!sum.is_monotonic());
                        for point in sum.data_points() {
                            let value = i32::try_from(point.value()).unwrap();
                            add(point.attributes().collect(), value.into());
                        }
                    }
                    AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                        for point in histogram.data_points() {
                            let bounds: Vec<_> = point.bounds().collect();
                            assert_eq!(bounds[..2], [0.001, 0.0025]);
                            assert_eq!(bounds.last(), Some(&10.0));
                            let value = u32::try_from(point.count()).unwrap();
                            add(point.attributes().collect(), value.into());
                        }
                    }
                    AggregatedMetrics::U64(_)
                    | AggregatedMetrics::I64(_)
                    | AggregatedMetrics::F64(_) => panic!("{metric:?}"),
                }
            }
        }
        points
    }

    /// Failures so far, by reason.
    fn auth_failures(&self) -> BTreeMap<String, f64> {
        self.points("auth_failures", &["reason"])
    }
}

fn counts(of: &[(&str, u32)]) -> BTreeMap<String, f64> {
    of.iter()
        .map(|(labels, count)| ((*labels).to_owned(), (*count).into()))
        .collect()
}

#[actix_web::test]
async fn requests_are_counted_by_method_route_and_status() {
    let counted = Counted::new().await;
    let world = &counted.world;
    let ada = world.register(ADA).await;
    ada.me().await.expect(200);
    ada.me().await.expect(200);
    world.get("/api/v1/users/me").await.expect(401);
    let id = "0198c7a2-5f0e-7c3b-9d41-3a5b8e2f7c10";
    let task = format!("/api/v1/tasks/{id}");
    world.get(&task).await.expect(401);
    world.get("/nothing/here").await.expect(404);
    let invented = Method::from_bytes(b"INVENTED").unwrap();
    world.call(invented, "/api/v1/tasks").await.expect(405);

    assert_eq!(
        counted.points("http_requests", &["method", "route", "status"]),
        counts(&[
            ("POST /api/v1/auth/register 201", 1),
            ("GET /api/v1/users/me 200", 2),
            ("GET /api/v1/users/me 401", 1),
            ("GET /api/v1/tasks/{id} 401", 1),
            ("GET unmatched 404", 1),
            ("OTHER /api/v1/tasks 405", 1),
        ])
    );
    assert_eq!(
        counted.points("http_request_duration", &["method", "route"]),
        counts(&[
            ("POST /api/v1/auth/register", 1),
            ("GET /api/v1/users/me", 3),
            ("GET /api/v1/tasks/{id}", 1),
            ("GET unmatched", 1),
            ("OTHER /api/v1/tasks", 1),
        ])
    );
    assert_eq!(
        counted.points("http_requests_in_flight", &[]),
        counts(&[("", 0)])
    );
}

/// Else the first one of its kind would be no increase.
#[actix_web::test]
async fn counters_whose_labels_are_known_begin_with_zero() {
    let counted = Counted::new().await;
    counted.provider.force_flush().unwrap();
    let mut zeros = BTreeMap::new();
    for resource in counted.exporter.get_finished_metrics().unwrap() {
        for metric in resource.scope_metrics().flat_map(ScopeMetrics::metrics) {
            if let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() {
                assert!(sum.data_points().all(|point| point.value() == 0));
                zeros.insert(metric.name().to_owned(), sum.data_points().count());
            }
        }
    }
    assert_eq!(zeros.get("auth_failures"), Some(&7));
    assert_eq!(zeros.get("rate_limit_rejections"), Some(&2));
}

#[actix_web::test]
async fn requests_beyond_a_limit_are_counted_by_whose_limit_it_was() {
    let counted = Counted::new().await;
    let world = &counted.world;
    for _ in 0..40 {
        world.get("/api/v1/tasks").await.expect(401);
    }
    world.get("/api/v1/tasks").await.expect(429);
    world.get("/api/v1/tasks").await.expect(429);
    assert_eq!(
        counted.points("rate_limit_rejections", &["scope"]),
        counts(&[("anonymous", 2)])
    );
}

/// Whoever counts.
#[actix_web::test]
async fn requests_beyond_a_users_limit_are_counted_once() {
    for cache_counts in [false, true] {
        let counted = Counted::with(|setup| {
            setup.cache_counts = cache_counts;
            setup.settings.rate_limits = Some(RateLimits {
                user: per_minute(2),
                anonymous: per_minute(40),
            });
        })
        .await;
        let ada = counted.world.register(ADA).await;
        for status in [200, 200, 429, 429, 429] {
            ada.me().await.expect(status);
        }
        assert_eq!(
            counted.points("rate_limit_rejections", &["scope"]),
            counts(&[("user", 3)])
        );
    }
}

#[actix_web::test]
async fn every_refused_password_and_token_is_counted_once_by_its_reason() {
    let counted = Counted::new().await;
    let world = &counted.world;
    let ada = world.register(ADA).await;
    let other = ada.log_in_again(ADA).await;
    world.log_in("nobody@example.com", WRONG).await.expect(401);
    for _ in 0..3 {
        world.log_in(ADA, WRONG).await.expect(401);
    }
    ada.change_password(WRONG, NEW_PASSWORD).await.expect(401);
    assert_eq!(
        counted.auth_failures(),
        counts(&[("invalid_credentials", 5)])
    );
    ada.delete_account(WRONG).await.expect(403);
    world.log_in(ADA, PASSWORD).await.expect(403);
    world.get("/api/v1/tasks").await.expect(401);
    world.get("/api/v1/tasks").bearer("x").await.expect(401);
    world.log_out(&other.refresh_token).await.expect(204);
    other.me().await.expect(401);
    world.refresh("x").await.expect(401);
    world.refresh(&other.refresh_token).await.expect(401);
    world.refresh(&ada.refresh_token).await.expect(200);
    // A retry, and a theft.
    world.refresh(&ada.refresh_token).await.expect(401);
    world.clock.advance(Duration::from_secs(11));
    world.refresh(&ada.refresh_token).await.expect(401);
    world.clock.advance(Duration::from_hours(1));
    ada.me().await.expect(401);
    assert_eq!(
        counted.auth_failures(),
        counts(&[
            ("invalid_credentials", 5),
            ("account_locked", 2),
            ("token_missing", 1),
            ("token_invalid", 2),
            ("token_expired", 1),
            ("refresh_token_invalid", 2),
            ("refresh_token_reused", 2),
        ])
    );
}

#[actix_web::test]
async fn other_refusals_are_no_failures_of_that_kind() {
    let counted = Counted::new().await;
    let world = &counted.world;
    let ada = world.register(ADA).await;
    world.log_in("ada", WRONG).await.expect(400);
    world.verify_email("x").await.expect(400);
    world.get("/api/v1/nothing").await.expect(404);
    // A bad token where none is needed.
    let call = world.log_in(ADA, PASSWORD).bearer("x");
    call.await.expect(200);
    world.store.fail(Fault::Unavailable);
    world.log_in(ADA, WRONG).await.expect(503);
    world.store.fail(None);
    ada.me().await.expect(200);
    assert_eq!(counted.auth_failures(), counts(&[]));
}

#[actix_web::test]
async fn metrics_are_told_where_there_are_any() {
    let world = World::with(|setup| {
        setup.metrics = Some(Arc::new(|| Ok("# HELP x\n".to_owned())));
        setup.settings.rate_limits = Some(RateLimits {
            user: per_minute(1),
            anonymous: per_minute(1),
        });
    })
    .await;
    for _ in 0..3 {
        let answer = world.get("/metrics").await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "# HELP x\n"));
        assert_eq!(answer.header("content-type"), Some(PROMETHEUS));
        assert_eq!(answer.header("ratelimit"), None);
    }
    let head = world.call(Method::HEAD, "/metrics").await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), Some(PROMETHEUS));
    let post = world.call(Method::POST, "/metrics").await;
    post.assert_problem(405, "method_not_allowed");
}

#[actix_web::test]
async fn elsewhere_there_is_no_such_page() {
    let world = World::new().await;
    for method in [Method::GET, Method::HEAD, Method::POST] {
        let answer = world.call(method, "/metrics").await;
        answer.assert_problem(404, "not_found");
    }
}

#[actix_web::test]
async fn metrics_that_cannot_be_told_are_500() {
    let world = World::with(|setup| {
        setup.metrics = Some(Arc::new(|| Err(crate::support::DRIVER_MESSAGE.into())));
    })
    .await;
    let answer = world.get("/metrics").await;
    answer.assert_problem(500, "internal_error");
    assert!(!answer.text.contains(crate::support::DRIVER_MESSAGE));
}

//! What alerts and the dashboard go by is told.

use crate::support::{Store, eventually};

/// What they ask for, as `.ci/deploy` found it in their files.
const NAMES: &str = include_str!("../../deploy/observability/metric-names");

#[test]
fn every_metric_that_alerts_and_the_dashboard_ask_for_is_told() {
    let store = Store::postgres_and_redis();
    let service = store.setup.start();
    service.register("ada@example.com");
    let told = service.metrics();
    for name in NAMES.lines() {
        let is_told = told.iter().any(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        assert!(is_told, "{name}: {told:#?}");
    }
}

/// Mails that wait are seen from outside, and for how long they have.
#[test]
fn what_waits_in_the_outbox_is_told() {
    let store = Store::postgres_and_redis();
    let service = store.setup.clone().without_mail_server().start();
    service.register("ada@example.com");
    let waits = || {
        let told = service.metrics();
        let one = told
            .iter()
            .any(|line| line == "outbox_mails{state=\"waiting\"} 1");
        let age = told.iter().find_map(|line| {
            let age = line.strip_prefix("outbox_oldest_age_seconds ")?;
            age.parse::<f64>().ok()
        });
        (one && age? > 0.0).then_some(())
    };
    eventually("a mail that waits", waits);
}

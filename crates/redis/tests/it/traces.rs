//! What traces say of commands. On runtimes with one thread, which is the one that is collected on:
//! what is spawned there runs outside the caller's span as well, unless it was carried along.

use std::time::Duration;

use tasks_domain::account::{CacheLookup, SignedInCache};
use tasks_domain::health::HealthProbe;
use tasks_domain::rate_limit::RateLimiter;
use tasks_redis::RedisStore;
use tasks_testkit::servers::RedisServer;
use tasks_testkit::{build, tokio};
use tracing::{Instrument, Span, info_span};

use crate::spans::{Fields, Seen, Spans};
use crate::{patient, quota, session_of, shared, shared_url, somebody, until};

/// What the caller is in.
fn use_case() -> Span {
    info_span!("use case", otel.status_code = tracing::field::Empty)
}

/// Counts a request in a use case, and whether it was counted.
async fn hit(store: &RedisStore) -> bool {
    let hit = store.hit(somebody(), quota(1)).instrument(use_case());
    hit.await.is_ok()
}

/// The spans of commands, after that of the one use case.
fn commands(spans: &Spans) -> Vec<Seen> {
    let mut all = spans.all();
    let caller = all.remove(0);
    // Requests go on without Redis.
    assert_eq!(caller.fields, Fields::default(), "{caller:?}");
    for command in &all {
        assert_eq!(command.parent, Some("use case"), "{command:?}");
    }
    all
}

/// Of a command, its name and what failed.
fn outcome(command: &Seen) -> [Option<&str>; 4] {
    [
        "otel.name",
        "otel.status_code",
        "error.type",
        "db.response.status_code",
    ]
    .map(|field| command.field(field))
}

fn well(command: &str) -> [Option<&str>; 4] {
    [Some(command), None, None, None]
}

fn cut_off(command: &str) -> [Option<&str>; 4] {
    [Some(command), Some("ERROR"), Some("connection"), None]
}

/// All fields are here, so none has a key or a value.
#[tokio::test]
async fn each_command_is_a_span_of_its_callers_and_says_no_key_or_value() {
    let (store, url) = (shared().await, shared_url().await);
    let (host, database) = url
        .strip_prefix("redis://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let (address, port) = host.rsplit_once(':').unwrap();
    let user = build::user().build();
    let session = session_of(&user);
    let (spans, _collecting) = Spans::collect();
    async {
        store.hit(somebody(), quota(1)).await.unwrap();
        let CacheLookup::Miss(lease) = store.get(session).await else {
            panic!("is remembered already");
        };
        store.put(session, &user, lease).await;
        store.get_and_count(session, quota(1)).await.1.unwrap();
        store.invalidate(user.id).await;
    }
    .instrument(use_case())
    .await;

    let script = |name: &'static str| ("EVALSHA", Some(name));
    let expected = [
        script("hit"),
        script("get_signed_in"),
        script("put_signed_in"),
        script("get_signed_in_and_hit"),
        ("UNLINK", None),
    ];
    let commands = commands(&spans);
    for (command, (name, script)) in commands.iter().zip(expected) {
        let mut fields = Fields::default();
        let title = script.map_or_else(|| name.to_owned(), |script| format!("{name} {script}"));
        for (field, value) in [
            ("otel.kind", "client"),
            ("otel.name", &*title),
            ("db.system.name", "redis"),
            ("db.operation.name", name),
            ("db.namespace", database),
            ("server.address", address),
            ("server.port", port),
        ] {
            fields.0.insert(field, value.to_owned());
        }
        if let Some(script) = script {
            fields
                .0
                .insert("db.stored_procedure.name", script.to_owned());
        }
        assert_eq!(command.fields, fields);
    }
    assert_eq!(commands.len(), expected.len(), "{commands:?}");
}

#[tokio::test]
async fn nothing_is_traced_for_somebody_who_is_not() {
    let store = shared().await;
    let (spans, _collecting) = Spans::collect();
    store.hit(somebody(), quota(1)).await.unwrap();
    store.invalidate(build::id()).await;
    store.check().await.unwrap();
    assert_eq!(spans.all().len(), 0);
}

/// Not the asking in the background either, which is no request's.
#[tokio::test]
async fn nothing_is_traced_while_redis_is_left_alone() {
    let server = RedisServer::start().await;
    let store = patient(&server.url());
    server.stop();
    let (spans, _collecting) = Spans::collect();
    async {
        for _ in 0..4 {
            assert!(store.hit(somebody(), quota(1)).await.is_err());
        }
    }
    .instrument(use_case())
    .await;
    server.restart();
    until("is well again", || async {
        store.hit(somebody(), quota(1)).await.is_ok()
    })
    .await;
    // Of the first request: what was to be sent, and what comes before it is sent again.
    let commands = commands(&spans);
    let expected = [cut_off("EVALSHA hit"), cut_off("UNLINK")];
    assert!(commands.iter().map(outcome).eq(expected), "{commands:?}");
}

#[tokio::test]
async fn a_redis_that_does_not_answer_in_time_has_failed() {
    let server = RedisServer::start().await;
    server.freeze();
    let limit = Duration::from_millis(10);
    let store = RedisStore::connect_with_limit(&server.url(), limit).unwrap();
    let (spans, _collecting) = Spans::collect();
    assert!(!hit(&store).await);
    let commands = commands(&spans);
    let late = [Some("EVALSHA hit"), Some("ERROR"), Some("timeout"), None];
    assert!(commands.iter().map(outcome).eq([late]), "{commands:?}");
    server.thaw();
}

#[tokio::test]
async fn a_redis_that_answers_with_an_error_has_failed_by_its_code() {
    let server = RedisServer::start().await;
    let store = patient(&server.url());
    server.command("CONFIG SET maxmemory 1");
    let (spans, _collecting) = Spans::collect();
    assert!(!hit(&store).await);
    let commands = commands(&spans);
    let refused = [Some("EVALSHA hit"), Some("ERROR"), Some("OOM"), Some("OOM")];
    assert!(commands.iter().map(outcome).eq([refused]), "{commands:?}");
}

#[tokio::test]
async fn what_is_sent_again_is_traced_again() {
    let server = RedisServer::start().await;
    let store = patient(&server.url());
    store.hit(somebody(), quota(1)).await.unwrap();
    server.command("CLIENT KILL TYPE normal");
    let (spans, _collecting) = Spans::collect();
    assert!(hit(&store).await);
    let commands = commands(&spans);
    let hit = "EVALSHA hit";
    let expected = [cut_off(hit), well("UNLINK"), well(hit)];
    assert!(commands.iter().map(outcome).eq(expected), "{commands:?}");
}

/// The invalidation runs in a task of its own.
#[tokio::test]
async fn the_line_that_says_that_redis_is_away_belongs_to_the_request_that_noticed() {
    for invalidating in [false, true] {
        let store = patient("redis://127.0.0.1:1");
        let (spans, _collecting) = Spans::collect();
        if invalidating {
            store.invalidate(build::id()).instrument(use_case()).await;
        } else {
            assert!(!hit(&store).await);
        }
        let first = spans.lines().remove(0);
        assert_eq!(first.field("message"), Some("redis does not answer"));
        assert_eq!(first.parent, Some("use case"), "{first:?}");
    }
}

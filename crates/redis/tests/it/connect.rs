//! URLs, good and bad.

use tasks_domain::health::{HealthProbe, PoolProbe};
use tasks_domain::rate_limit::RateLimiter;
use tasks_redis::{ConnectError, RedisStore};
use tasks_testkit::servers::RedisServer;
use tasks_testkit::tokio;

use crate::{healthy, patient, quota, shared, somebody};

#[tokio::test]
async fn a_url_that_is_none_is_refused_in_one_line_without_the_password() {
    for url in [
        "",
        "localhost:6379",
        "http://me:hunter2@localhost",
        "redis://me:hunter2@localhost:port",
        "redis://me:hunter2@localhost/first",
        "redis://me:hunter2@",
        "redis://me:hunter2@localhost?protocol=hunter2",
        "rediss://me:hunter2@localhost/#hunter2",
    ] {
        let error = RedisStore::connect_lazy(url).unwrap_err();
        assert!(matches!(error, ConnectError::Url { .. }), "{url}");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("hunter2") && !text.contains('\n'), "{text}");
        }
        assert!(error.to_string().starts_with("not a Redis URL"), "{error}");
    }
}

#[test]
fn without_a_runtime_there_is_no_store() {
    let error = RedisStore::connect_lazy("redis://localhost").unwrap_err();
    assert!(matches!(error, ConnectError::NoRuntime(_)));
}

#[tokio::test]
async fn nothing_is_opened_before_it_is_needed() {
    for url in [
        "redis://127.0.0.1:1",
        "rediss://me:secret@127.0.0.1:1/3",
        "redis://:secret@[::1]:1/15?protocol=resp3",
    ] {
        let store = RedisStore::connect_lazy(url).unwrap();
        assert_eq!(store.pool().idle + store.pool().in_use, 0);
        assert!(store.check().await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_a_password_and_a_database_are_taken_from_the_url() {
    let server = RedisServer::start().await;
    server.command("ACL SETUSER me on >s3cret ~tasks:* +@all");
    let at = server.url().replace("redis://", "");
    let store = patient(&format!("redis://me:s3cret@{at}/3"));
    store.hit(somebody(), quota(1)).await.unwrap();
    healthy(&store).await;
    assert!(server.command("INFO keyspace").contains("db3:keys="));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_a_failure_that_does_not_say_it() {
    let server = RedisServer::start().await;
    let at = server.url().replace("redis://", "");
    let store = patient(&format!("redis://me:hunter2@{at}"));
    for error in [
        store.hit(somebody(), quota(1)).await.unwrap_err(),
        store.check().await.unwrap_err(),
    ] {
        let text = format!("{error:?} {error} {store:?}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_fails_at_once() {
    let store = shared().await;
    store.hit(somebody(), quota(1)).await.unwrap();
    store.clone().close().await;
    assert_eq!(store.pool().idle, 0);
    assert!(store.hit(somebody(), quota(1)).await.is_err());
    assert!(store.check().await.is_err());
}

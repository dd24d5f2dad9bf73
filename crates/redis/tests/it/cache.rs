//! What a cache in Redis does beyond the contract.

use deadpool_redis::redis::{self, aio::MultiplexedConnection};
use tasks_domain::account::{CacheLookup, SignedInCache, User};
use tasks_testkit::servers::RedisServer;
use tasks_testkit::{build, tokio};

use crate::{knows, patient, raw, remember, session_of, shared, shared_url};

fn key(user: &User) -> String {
    format!("tasks:signed-in:{{{}}}", user.id)
}

async fn ask<T: redis::FromRedisValue>(redis: &mut MultiplexedConnection, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(redis).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_instance_puts_another_finds_and_forgets() {
    let (one, other) = (shared().await, shared().await);
    let user = build::user().full_name("Žofie 🦀 李").active().build();
    let session = session_of(&user);
    remember(&one, session, &user).await;
    assert_eq!(other.get(session).await, CacheLookup::Hit(user.clone()));
    other.invalidate(user.id).await;
    assert!(!knows(&one, session).await);
}

/// One reads the store, the other changes it, and the first is late to put what it read.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_from_before_a_change_elsewhere_is_not_put() {
    let (one, other) = (shared().await, shared().await);
    let user = build::user().build();
    let session = session_of(&user);
    for _ in 0..3 {
        let CacheLookup::Miss(lease) = one.get(session).await else {
            panic!("an old user is remembered");
        };
        other.invalidate(user.id).await;
        one.put(session, &user, lease).await;
        assert!(!knows(&other, session).await);
        one.put(session, &user, lease).await;
        assert!(!knows(&other, session).await);
    }
}

/// Not even where Redis has lost the generation meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_is_not_put_after_redis_was_emptied() {
    let server = RedisServer::start().await;
    let store = patient(&server.url());
    let user = build::user().build();
    let session = session_of(&user);
    let CacheLookup::Miss(lease) = store.get(session).await else {
        panic!("remembered");
    };
    store.invalidate(user.id).await;
    server.command("FLUSHALL");
    store.put(session, &user, lease).await;
    assert!(!knows(&store, session).await);
    store.put(session, &user, lease).await;
    assert!(!knows(&store, session).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_remembered_for_more_than_a_quarter_of_an_hour() {
    let (store, mut redis) = (shared().await, raw(shared_url().await).await);
    let user = build::user().build();
    remember(&store, session_of(&user), &user).await;
    let millis: i64 = ask(&mut redis, &["PTTL", &key(&user)]).await;
    assert!((800_000..=900_000).contains(&millis), "{millis}");
    // A later session does not prolong the earlier one.
    let _: () = ask(&mut redis, &["PEXPIRE", &key(&user), "300000"]).await;
    remember(&store, session_of(&user), &user).await;
    let millis: i64 = ask(&mut redis, &["PTTL", &key(&user)]).await;
    assert!((1..=300_000).contains(&millis), "{millis}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_what_a_user_is_is_kept() {
    let (store, mut redis) = (shared().await, raw(shared_url().await).await);
    let user = build::user().build();
    let session = session_of(&user);
    remember(&store, session, &user).await;
    let mut fields: Vec<String> = ask(&mut redis, &["HKEYS", &key(&user)]).await;
    fields.sort();
    let session = session.session.to_string();
    assert_eq!(fields, [&*session, "epoch", "generation"]);
    let json: String = ask(&mut redis, &["HGET", &key(&user), &session]).await;
    let kept: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
    let mut names: Vec<_> = kept.keys().collect();
    names.sort();
    assert_eq!(
        names,
        [
            "created_at",
            "email",
            "full_name",
            "is_active",
            "updated_at"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_user_is_a_miss_that_is_mended() {
    let (store, mut redis) = (shared().await, raw(shared_url().await).await);
    let user = build::user().build();
    let session = session_of(&user);
    remember(&store, session, &user).await;
    let field = session.session.to_string();
    let json: String = ask(&mut redis, &["HGET", &key(&user), &field]).await;
    let no_address = json.replace(user.email.as_str(), "nobody");
    let no_time = json.replace(&user.created_at.unix_micros().to_string(), "1e3");
    for unreadable in ["", "{}", "\u{0}", "null", &no_address, &no_time] {
        assert_ne!(unreadable, json);
        let _: () = ask(&mut redis, &["HSET", &key(&user), &field, unreadable]).await;
        remember(&store, session, &user).await;
    }
    assert_eq!(store.unavailable_total(), 0);
}

/// The client went away while its change was being answered.
#[tokio::test(flavor = "multi_thread")]
async fn an_invalidation_that_is_given_up_is_done_all_the_same() {
    let (store, other) = (shared().await, shared().await);
    let user = build::user().build();
    let session = session_of(&user);
    remember(&store, session, &user).await;
    tokio::select! {
        biased;
        () = store.invalidate(user.id) => {}
        () = std::future::ready(()) => {}
    }
    // Nobody waited for it, so nothing says how soon: not even for this instance.
    crate::until("it is forgotten", || async {
        !knows(&other, session).await
    })
    .await;
    crate::until("it can be remembered again", || async {
        if let CacheLookup::Miss(lease) = store.get(session).await {
            store.put(session, &user, lease).await;
        }
        knows(&store, session).await
    })
    .await;
}

//! Where a user is signed in, and putting an end to it, on every store.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Client, PASSWORD, Service, Store, on_every_store};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";
const SESSIONS: &str = "/api/v1/users/me/sessions";

on_every_store!(
    sessions_are_listed_newest_first,
    one_session_is_ended,
    all_sessions_are_ended,
    a_session_that_expired_is_over,
);

/// Somebody who has just logged in, and what they got.
fn log_in(service: &Service, email: &str) -> (Client, Value) {
    let answer = service.client().log_in(email, PASSWORD);
    assert_eq!(answer.status, 200, "{answer:?}");
    (service.signed_in(&answer.body), answer.body)
}

/// The client's sessions.
fn list(client: &Client) -> Vec<Value> {
    let answer = client.get(SESSIONS);
    assert_eq!(answer.status, 200, "{answer:?}");
    let items = answer.body["items"].as_array().unwrap().clone();
    assert_eq!(answer.body["total"], items.len());
    items
}

/// The path of the session that the client itself is in.
fn own(client: &Client) -> String {
    let sessions = list(client);
    let mut current = sessions.iter().filter(|session| session["current"] == true);
    let id = current.next().unwrap()["id"].as_str().unwrap();
    assert!(current.next().is_none(), "{sessions:?}");
    format!("{SESSIONS}/{id}")
}

fn paths(client: &Client) -> Vec<String> {
    let path = |session: &Value| format!("{SESSIONS}/{}", session["id"].as_str().unwrap());
    list(client).iter().map(path).collect()
}

fn sessions_are_listed_newest_first(store: &Store) {
    let service = store.setup.start();
    let (first, registered) = service.register(ADA);
    let (second, _) = log_in(&service, ADA);
    let (third, _) = log_in(&service, ADA);
    service.register(BOB);
    assert_eq!(paths(&first), [&third, &second, &first].map(own));

    let sessions = list(&second);
    let names = [
        "id",
        "created_at",
        "last_used_at",
        "expires_at",
        "user_agent",
        "ip_address",
        "current",
    ];
    let current: Vec<_> = sessions.iter().map(|session| &session["current"]).collect();
    assert_eq!(current, [false, true, false]);
    for session in &sessions {
        let found = session.as_object().unwrap().keys().map(String::as_str);
        assert_eq!(found.collect::<BTreeSet<_>>(), BTreeSet::from(names));
        assert!(session["user_agent"].as_str().unwrap().starts_with("ureq/"));
        assert_eq!(session["ip_address"], "127.0.0.1");
        assert_eq!(session["last_used_at"], session["created_at"]);
        // All in UTC and of one length: they sort as text.
        assert!(session["expires_at"].as_str() > session["created_at"].as_str());
    }

    // Refreshing uses a session, and makes it neither another nor younger.
    let before = list(&first).pop().unwrap();
    assert_eq!(first.refresh(&registered).status, 200);
    let after = list(&first).pop().unwrap();
    for name in ["id", "created_at", "current"] {
        assert_eq!(after[name], before[name], "{name}");
    }
    for name in ["last_used_at", "expires_at"] {
        assert!(after[name].as_str() > before[name].as_str(), "{name}");
    }
    assert_eq!(paths(&first), [&third, &second, &first].map(own));
}

fn one_session_is_ended(store: &Store) {
    let service = store.setup.start();
    let (first, registered) = service.register(ADA);
    let (second, logged_in) = log_in(&service, ADA);
    let (bob, _) = service.register(BOB);
    let path = own(&first);

    let answer = bob.delete(&path);
    assert!(answer.is_refusal(403, "forbidden"), "{answer:?}");
    let answer = second.delete(&format!("{SESSIONS}/0198c7a2-5f0e-7c3b-9d41-3a5b8e2f7c10"));
    assert!(answer.is_refusal(404, "not_found"), "{answer:?}");
    let answer = second.delete(&format!("{SESSIONS}/first"));
    assert!(answer.is_refusal(400, "validation_failed"), "{answer:?}");
    service.are_open(&[&registered, &logged_in]);

    let answer = second.delete(&path);
    assert_eq!((answer.status, answer.body), (204, Value::Null));
    service.are_over(&[&registered]);
    assert_eq!(paths(&second), [own(&second)]);
    for client in [&second, &bob] {
        let answer = client.delete(&path);
        assert!(answer.is_refusal(404, "not_found"), "{answer:?}");
    }

    // One's own as well.
    assert_eq!(second.delete(&own(&second)).status, 204);
    service.are_over(&[&logged_in]);
    assert_eq!(bob.me().status, 200);
}

fn all_sessions_are_ended(store: &Store) {
    let service = store.setup.start();
    let (_, registered) = service.register(ADA);
    let (second, logged_in) = log_in(&service, ADA);
    let (bob, _) = service.register(BOB);
    service.are_open(&[&registered, &logged_in]);
    let answer = second.delete(SESSIONS);
    assert_eq!((answer.status, answer.body), (204, Value::Null));
    service.are_over(&[&registered, &logged_in]);
    assert_eq!(list(&bob).len(), 1);
    let (ada, _) = log_in(&service, ADA);
    assert_eq!(paths(&ada), [own(&ada)]);
}

fn a_session_that_expired_is_over(store: &Store) {
    const LIFE: i64 = 7 * 24 * 60 * 60;
    let service = store.setup.start();
    let (first, registered) = service.register(ADA);
    let path = own(&first);
    for table in ["sessions", "refresh_tokens"] {
        let past = store.earlier("expires_at", LIFE);
        store.execute(&format!("UPDATE {table} SET expires_at = {past}"));
    }
    let (second, _) = log_in(&service, ADA);
    assert_eq!(paths(&second), [own(&second)]);
    let answer = second.delete(&path);
    assert!(answer.is_refusal(404, "not_found"), "{answer:?}");
    let answer = service.client().refresh(&registered);
    assert!(
        answer.is_refusal(401, "refresh_token_invalid"),
        "{answer:?}"
    );
    let body = json!({ "refresh_token": registered["refresh_token"] });
    assert_eq!(service.client().auth("logout", &body).status, 204);
}

//! Accounts from their first day to their last, on every store. Mails are read in the log.

use serde_json::{Value, json};

use crate::journey::tells_none_of;
use crate::support::{
    Answer, Client, NEW_PASSWORD, PASSWORD, Service, Setup, Signal, Store, WRONG_PASSWORD, at_once,
    eventually, on_every_store, send_raw,
};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";
const VERIFY: &str = "verify_email";
const RESET: &str = "reset_password";
/// How long the links of mails work, in seconds.
const VERIFY_TTL: i64 = 24 * 60 * 60;
const RESET_TTL: i64 = 60 * 60;
/// More than passes between two steps of a test, in seconds.
const A_WHILE: i64 = 60;

on_every_store!(
    one_comes_in_and_goes,
    a_link_verifies_an_address_once,
    a_link_works_for_a_day_or_an_hour,
    a_newer_link_replaces_the_older,
    nobody_gets_a_mail_in_vain,
    a_link_resets_the_password_once,
    of_twenty_uses_of_a_link_one_succeeds,
    changing_the_password_ends_the_other_sessions,
    wrong_passwords_count_wherever_they_are_given,
    who_leaves_leaves_nothing,
    tasks_are_for_verified_users_where_that_is_required,
    a_new_key_breaks_neither_sessions_nor_links,
    what_happens_to_accounts_is_logged,
    refused_credentials_and_mails_are_counted,
);

fn verify(service: &Service, token: &str) -> Answer {
    let body = json!({ "token": token });
    service.client().auth("verify-email", &body)
}

fn reset(service: &Service, token: &str, password: &str) -> Answer {
    let body = json!({ "token": token, "new_password": password });
    service.client().auth("reset-password", &body)
}

/// Asks for a mail; the answer never tells whether there will be one.
fn ask_for_mail(service: &Service, call: &str, email: &str) {
    let answer = service.client().auth(call, &json!({ "email": email }));
    assert_eq!((answer.status, &answer.body), (202, &Value::Null), "{call}");
}

/// Somebody who has just logged in, and what they got.
fn log_in(service: &Service, email: &str, password: &str) -> (Client, Value) {
    let answer = service.client().log_in(email, password);
    assert_eq!(answer.status, 200, "{answer:?}");
    (service.signed_in(&answer.body), answer.body)
}

fn is_wrong(answer: &Answer) -> bool {
    answer.is_refusal(401, "invalid_credentials")
        && answer.header("www-authenticate").starts_with("Bearer")
}

fn is_locked(answer: &Answer) -> bool {
    answer.is_refusal(403, "account_locked") && answer.body["locked_until"].is_string()
}

fn is_invalid(answer: &Answer) -> bool {
    answer.is_refusal(400, "invalid_token")
}

fn one_comes_in_and_goes(store: &Store) {
    let service = store.setup.start();
    let (ada, registered) = service.register("Ada@Example.com");
    let registration =
        json!({ "email": "ADA@example.com", "password": PASSWORD, "full_name": "A" });
    let taken = service.client().auth("register", &registration);
    assert!(taken.is_refusal(409, "email_taken"), "{taken:?}");
    let invalid = json!({ "email": "ada", "password": "short", "full_name": " " });
    let invalid = service.client().auth("register", &invalid);
    assert!(invalid.is_refusal(400, "validation_failed"), "{invalid:?}");
    let fields = invalid.body["errors"].as_array().unwrap();
    assert_eq!(fields.len(), 3, "{fields:?}");

    assert!(is_wrong(&ada.log_in(ADA, WRONG_PASSWORD)));
    assert!(is_wrong(&ada.log_in(BOB, PASSWORD)));
    let invalid = ada.log_in("ada", PASSWORD);
    assert!(invalid.is_refusal(400, "validation_failed"), "{invalid:?}");
    let (_, logged_in) = log_in(&service, "ada@EXAMPLE.com", PASSWORD);
    assert_eq!(logged_in["user"], registered["user"]);

    let refreshed = ada.refresh(&logged_in);
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    assert_ne!(
        refreshed.body["refresh_token"], logged_in["refresh_token"],
        "a new pair"
    );
    let again = ada.refresh(&logged_in);
    assert!(again.is_refusal(401, "refresh_token_invalid"), "{again:?}");
    let unknown = json!({ "refresh_token": "0".repeat(64) });
    let answer = ada.auth("refresh", &unknown);
    assert!(
        answer.is_refusal(401, "refresh_token_invalid"),
        "{answer:?}"
    );

    let renamed = ada.patch("/api/v1/users/me", &json!({ "full_name": " Ada King " }));
    assert_eq!(renamed.status, 200, "{renamed:?}");
    assert_eq!(renamed.body["full_name"], "Ada King");
    assert_eq!(ada.me().body, renamed.body);

    service.are_open(&[&registered, &refreshed.body]);
    // Any token of a session ends it, a used one too; an unknown one ends nothing.
    for body in [
        &unknown,
        &json!({ "refresh_token": logged_in["refresh_token"] }),
    ] {
        let answer = ada.auth("logout", body);
        assert_eq!((answer.status, answer.body), (204, Value::Null));
    }
    service.are_over(&[&refreshed.body]);
    assert_eq!(ada.me().status, 200, "another session goes on");
    for call in ["refresh", "logout"] {
        let answer = ada.auth(call, &json!({}));
        assert!(answer.is_refusal(400, "validation_failed"), "{answer:?}");
    }
}

fn a_link_verifies_an_address_once(store: &Store) {
    let service = store.setup.start();
    let (ada, registered) = service.register(ADA);
    assert_eq!(registered["user"]["is_active"], false);
    let token = service.mail_token(VERIFY, ADA, 1);
    // The page of the link consumes nothing.
    let page = format!(
        "GET /verify-email?token={token} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(send_raw(service.address(), page.as_bytes()).status, 200);
    assert_eq!(ada.me().body["is_active"], false);

    let verified = verify(&service, &token);
    assert_eq!(verified.status, 200, "{verified:?}");
    assert_eq!(verified.body["is_active"], true);
    assert_eq!(verified.body["id"], registered["user"]["id"]);
    assert_eq!(ada.me().body, verified.body);
    for token in [&token, "unknown", ""] {
        let answer = verify(&service, token);
        assert!(is_invalid(&answer), "{token}: {answer:?}");
    }
    let answer = ada.auth("verify-email", &json!({}));
    assert!(answer.is_refusal(400, "validation_failed"), "{answer:?}");
}

fn a_link_works_for_a_day_or_an_hour(store: &Store) {
    let service = store.setup.start();
    service.register(ADA);
    ask_for_mail(&service, "forgot-password", ADA);
    let verification = service.mail_token(VERIFY, ADA, 1);
    let resetting = service.mail_token(RESET, ADA, 1);
    let later = |column: &str, seconds: i64| {
        let instant = store.earlier(column, seconds);
        store.execute(&format!("UPDATE users SET {column} = {instant}"));
    };

    later("verification_token_expires_at", VERIFY_TTL);
    assert!(is_invalid(&verify(&service, &verification)));
    later("verification_token_expires_at", -A_WHILE);
    assert_eq!(verify(&service, &verification).status, 200);

    later("password_reset_token_expires_at", RESET_TTL);
    assert!(is_invalid(&reset(&service, &resetting, NEW_PASSWORD)));
    later("password_reset_token_expires_at", -A_WHILE);
    assert_eq!(reset(&service, &resetting, NEW_PASSWORD).status, 204);
}

fn a_newer_link_replaces_the_older(store: &Store) {
    let service = store.setup.start();
    service.register(ADA);
    let older = service.mail_token(VERIFY, ADA, 1);
    ask_for_mail(&service, "resend-verification", "ADA@example.com");
    let newer = service.mail_token(VERIFY, ADA, 2);
    assert!(is_invalid(&verify(&service, &older)));
    assert_eq!(verify(&service, &newer).status, 200);

    ask_for_mail(&service, "forgot-password", ADA);
    let older = service.mail_token(RESET, ADA, 1);
    ask_for_mail(&service, "forgot-password", "ADA@example.com");
    let newer = service.mail_token(RESET, ADA, 2);
    assert!(is_invalid(&reset(&service, &older, NEW_PASSWORD)));
    // A link is for one purpose.
    assert!(is_invalid(&verify(&service, &newer)));
    assert_eq!(reset(&service, &newer, NEW_PASSWORD).status, 204);
}

fn nobody_gets_a_mail_in_vain(store: &Store) {
    let service = store.setup.start();
    service.register(ADA);
    let token = service.mail_token(VERIFY, ADA, 1);
    assert_eq!(verify(&service, &token).status, 200);
    ask_for_mail(&service, "resend-verification", ADA);
    ask_for_mail(&service, "resend-verification", BOB);
    ask_for_mail(&service, "forgot-password", BOB);
    for call in ["resend-verification", "forgot-password"] {
        let answer = service.client().auth(call, &json!({ "email": "bob" }));
        assert!(answer.is_refusal(400, "validation_failed"), "{answer:?}");
    }
    eventually("nothing waits", || {
        (store.count("outbox") == 0).then_some(())
    });
    let log = service.stop(Signal::Terminate).log();
    let mails = log.iter().filter(|line| line.get("mail_kind").is_some());
    assert_eq!(mails.count(), 1, "{log:?}");
}

fn a_link_resets_the_password_once(store: &Store) {
    let service = store.setup.start();
    let (ada, registered) = service.register(ADA);
    let (_, logged_in) = log_in(&service, ADA, PASSWORD);
    let (bob, _) = service.register(BOB);
    for _ in 0..4 {
        assert!(is_wrong(&ada.log_in(ADA, WRONG_PASSWORD)));
    }
    assert!(is_locked(&ada.log_in(ADA, WRONG_PASSWORD)));
    assert!(is_locked(&ada.log_in(ADA, PASSWORD)));

    ask_for_mail(&service, "forgot-password", ADA);
    let token = service.mail_token(RESET, ADA, 1);
    // What breaks a rule uses nothing up.
    let answer = reset(&service, &token, "too-short");
    assert!(answer.is_refusal(400, "validation_failed"), "{answer:?}");
    service.are_open(&[&registered, &logged_in]);

    let answer = reset(&service, &token, NEW_PASSWORD);
    assert_eq!((answer.status, answer.body), (204, Value::Null));
    service.are_over(&[&registered, &logged_in]);
    assert!(is_wrong(&ada.log_in(ADA, PASSWORD)));
    let (ada, _) = log_in(&service, ADA, NEW_PASSWORD);
    assert!(is_invalid(&reset(&service, &token, PASSWORD)));
    assert_eq!(ada.me().status, 200);
    assert_eq!(bob.me().status, 200, "others go on");
}

fn of_twenty_uses_of_a_link_one_succeeds(store: &Store) {
    const CALLERS: usize = 20;
    let service = store.setup.start();
    service.register(ADA);
    ask_for_mail(&service, "forgot-password", ADA);
    let verification = service.mail_token(VERIFY, ADA, 1);
    let resetting = service.mail_token(RESET, ADA, 1);

    let verified = at_once(CALLERS, |_| verify(&service, &verification));
    let password = |number: usize| format!("{NEW_PASSWORD}{number}");
    let changed = at_once(CALLERS, |number| {
        reset(&service, &resetting, &password(number))
    });
    for (answers, success) in [(&verified, 200), (&changed, 204)] {
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        let successes = statuses.iter().filter(|status| **status == success);
        assert_eq!(successes.count(), 1, "{statuses:?}");
        let refused = answers.iter().filter(|answer| is_invalid(answer));
        assert_eq!(refused.count(), CALLERS - 1, "{statuses:?}");
    }
    let winner = changed.iter().position(|answer| answer.status == 204);
    let winner = winner.unwrap();
    log_in(&service, ADA, &password(winner));
    let loser = (winner + 1) % CALLERS;
    assert!(is_wrong(&service.client().log_in(ADA, &password(loser))));
}

fn changing_the_password_ends_the_other_sessions(store: &Store) {
    let service = store.setup.start();
    let (_, registered) = service.register(ADA);
    let (_, other) = log_in(&service, ADA, PASSWORD);
    let (ada, own) = log_in(&service, ADA, PASSWORD);
    let (bob, _) = service.register(BOB);
    // The mail of somebody who knew the address is worth nothing afterwards.
    ask_for_mail(&service, "forgot-password", ADA);
    let token = service.mail_token(RESET, ADA, 1);

    let answer = ada.change_password(PASSWORD, "too-short");
    assert!(answer.is_refusal(400, "validation_failed"), "{answer:?}");
    assert!(is_wrong(&ada.change_password(WRONG_PASSWORD, NEW_PASSWORD)));
    service.are_open(&[&registered, &other, &own]);

    let answer = ada.change_password(PASSWORD, NEW_PASSWORD);
    assert_eq!((answer.status, answer.body), (204, Value::Null));
    assert_eq!(ada.me().status, 200);
    service.are_over(&[&registered, &other]);
    let refreshed = ada.refresh(&own);
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    assert!(is_wrong(&ada.log_in(ADA, PASSWORD)));
    log_in(&service, ADA, NEW_PASSWORD);
    assert!(is_invalid(&reset(&service, &token, PASSWORD)));
    assert_eq!(bob.me().status, 200);
    log_in(&service, BOB, PASSWORD);
}

fn wrong_passwords_count_wherever_they_are_given(store: &Store) {
    let service = store.setup.start();
    let (ada, _) = service.register(ADA);
    let log_in = || ada.log_in(ADA, WRONG_PASSWORD);
    let change = || ada.change_password(WRONG_PASSWORD, NEW_PASSWORD);
    let delete = || ada.delete_account(WRONG_PASSWORD);
    for answer in [log_in(), change(), delete(), change()] {
        assert!(is_wrong(&answer), "{answer:?}");
    }
    // The right one begins anew.
    assert_eq!(ada.change_password(PASSWORD, PASSWORD).status, 204);
    for answer in [delete(), log_in(), change(), log_in()] {
        assert!(is_wrong(&answer), "{answer:?}");
    }
    for answer in [
        change(),
        ada.change_password(PASSWORD, NEW_PASSWORD),
        ada.delete_account(PASSWORD),
        ada.log_in(ADA, PASSWORD),
    ] {
        assert!(is_locked(&answer), "{answer:?}");
    }
    assert_eq!(ada.me().status, 200, "a lock refuses passwords only");
}

fn who_leaves_leaves_nothing(store: &Store) {
    // Mails wait, so that there is something of them to erase.
    let service = store.setup.clone().without_mail_server().start();
    let own_something = |client: &Client| {
        let (task, _) = client.create_task("Write the report");
        let category = client.post("/api/v1/categories", &json!({ "name": "Work" }));
        let category = category.body["id"].as_str().unwrap().to_owned();
        let path = format!("{task}/categories/{category}");
        assert_eq!(client.send("POST", &path, None).unwrap().status, 200);
        let (deleted, _) = client.create_task("Never mind");
        assert_eq!(client.delete(&deleted).status, 204);
        task
    };
    let rows = || {
        let tables = [
            "users",
            "sessions",
            "refresh_tokens",
            "tasks",
            "categories",
            "task_categories",
            "outbox",
        ];
        tables.map(|table| (table, store.count(table)))
    };
    let (bob, _) = service.register(BOB);
    let bobs_task = own_something(&bob);
    let bobs_rows = rows();
    assert!(bobs_rows.iter().all(|(_, count)| *count > 0));

    let (ada, registered) = service.register(ADA);
    own_something(&ada);
    let (_, logged_in) = log_in(&service, ADA, PASSWORD);
    assert_eq!(ada.refresh(&registered).status, 200);
    ask_for_mail(&service, "forgot-password", ADA);

    let answer = ada.send("DELETE", "/api/v1/users/me", Some(&json!({})));
    assert!(answer.unwrap().is_refusal(400, "validation_failed"));
    assert!(is_wrong(&ada.delete_account(WRONG_PASSWORD)));
    service.are_open(&[&registered, &logged_in]);
    let answer = ada.delete_account(PASSWORD);
    assert_eq!((answer.status, answer.body), (204, Value::Null));
    service.are_over(&[&registered, &logged_in]);
    assert!(is_wrong(&ada.log_in(ADA, PASSWORD)));
    assert_eq!(rows(), bobs_rows);
    assert_eq!(bob.get(&bobs_task).status, 200);

    let (ada, again) = service.register(ADA);
    assert_ne!(again["user"]["id"], registered["user"]["id"]);
    assert_eq!(ada.get("/api/v1/tasks").body["total"], 0);
}

fn tasks_are_for_verified_users_where_that_is_required(store: &Store) {
    let setup = store.setup.clone().with("REQUIRE_VERIFIED_EMAIL", "true");
    let service = setup.start();
    let (ada, _) = service.register(ADA);
    let id = "0198c7a2-5f0e-7c3b-9d41-3a5b8e2f7c10";
    for (method, path, body) in [
        ("GET", "/api/v1/tasks".to_owned(), None),
        (
            "POST",
            "/api/v1/tasks".to_owned(),
            Some(json!({ "title": "Report" })),
        ),
        ("GET", format!("/api/v1/tasks/{id}"), None),
        ("DELETE", format!("/api/v1/tasks/{id}"), None),
        ("GET", "/api/v1/categories".to_owned(), None),
        (
            "POST",
            "/api/v1/categories".to_owned(),
            Some(json!({ "name": "Work" })),
        ),
    ] {
        let answer = ada.send(method, &path, body.as_ref()).unwrap();
        assert!(answer.is_refusal(403, "email_not_verified"), "{answer:?}");
    }
    // Their account is theirs all the same.
    assert_eq!(ada.get("/api/v1/users/me/sessions").status, 200);
    let token = service.mail_token(VERIFY, ADA, 1);
    assert_eq!(verify(&service, &token).status, 200);
    assert_eq!(ada.get("/api/v1/tasks").status, 200);
    assert_eq!(ada.get("/api/v1/categories").status, 200);
    ada.create_task("Write the report");
}

fn a_new_key_breaks_neither_sessions_nor_links(store: &Store) {
    let [old, new] = ["o", "n"].map(|letter| letter.repeat(32));
    let with_old = store.setup.clone().with("JWT_SECRET_KEY", &old);
    let with_new = store.setup.clone().with("JWT_SECRET_KEY", &new);

    let service = with_old.start();
    let (_, adas) = service.register(ADA);
    let adas_link = service.mail_token(VERIFY, ADA, 1);
    service.stop(Signal::Terminate);

    let service = with_old.without_mail_server().start();
    service.register(BOB);
    eventually("the mail was tried", || {
        (store.count("outbox WHERE attempts > 0") == 1).then_some(())
    });
    service.stop(Signal::Terminate);

    let with_both = with_new.clone().with("JWT_SECRET_KEY_PREV", &old);
    let service = with_both.start();
    assert_eq!(service.signed_in(&adas).me().status, 200);
    let refreshed = service.client().refresh(&adas);
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    assert_eq!(verify(&service, &adas_link).status, 200);
    let bobs_link = service.mail_token(VERIFY, BOB, 1);
    assert_eq!(verify(&service, &bobs_link).status, 200);
    service.stop(Signal::Terminate);

    // Until the old key is forgotten.
    let service = with_new.start();
    let answer = service.signed_in(&adas).me();
    assert!(answer.is_refusal(401, "token_invalid"), "{answer:?}");
    assert_eq!(service.signed_in(&refreshed.body).me().status, 200);
    assert_eq!(service.client().refresh(&refreshed.body).status, 200);
}

fn what_happens_to_accounts_is_logged(store: &Store) {
    let service = store.setup.start();
    let (ada, registered) = service.register(ADA);
    let id = registered["user"]["id"].as_str().unwrap();
    let mut secrets = Vec::new();
    let mut keep = |grant: &Value| {
        for name in ["access_token", "refresh_token"] {
            secrets.push(grant[name].as_str().unwrap().to_owned());
        }
    };
    keep(&registered);

    assert!(is_wrong(&ada.log_in(BOB, WRONG_PASSWORD)));
    let verification = service.mail_token(VERIFY, ADA, 1);
    assert_eq!(verify(&service, &verification).status, 200);
    assert!(is_wrong(&ada.change_password(WRONG_PASSWORD, NEW_PASSWORD)));
    assert_eq!(ada.change_password(PASSWORD, NEW_PASSWORD).status, 204);
    for _ in 0..4 {
        assert!(is_wrong(&ada.log_in(ADA, WRONG_PASSWORD)));
    }
    assert!(is_locked(&ada.log_in(ADA, WRONG_PASSWORD)));
    ask_for_mail(&service, "forgot-password", ADA);
    let resetting = service.mail_token(RESET, ADA, 1);
    assert_eq!(reset(&service, &resetting, PASSWORD).status, 204);

    let (ada, thieves) = log_in(&service, ADA, PASSWORD);
    let refreshed = ada.refresh(&thieves).body;
    // A while later.
    let earlier = store.earlier("revoked_at", 11);
    store.execute(&format!("UPDATE refresh_tokens SET revoked_at = {earlier}"));
    service.are_open(&[&refreshed]);
    assert_eq!(ada.refresh(&thieves).status, 401);
    service.are_over(&[&refreshed]);

    let (ada, ended) = log_in(&service, ADA, PASSWORD);
    let token = json!({ "refresh_token": ended["refresh_token"] });
    assert_eq!(ada.auth("logout", &token).status, 204);
    let (ada, all_ended) = log_in(&service, ADA, PASSWORD);
    assert_eq!(ada.delete("/api/v1/users/me/sessions").status, 204);
    let (ada, last) = log_in(&service, ADA, PASSWORD);
    assert_eq!(ada.delete_account(PASSWORD).status, 204);
    for grant in [&thieves, &refreshed, &ended, &all_ended, &last] {
        keep(grant);
    }
    secrets.extend([verification, resetting]);

    let log = service.stop(Signal::Terminate).log();
    let events: Vec<&Value> = log
        .iter()
        .filter(|line| line.get("event").is_some())
        .collect();
    let names: Vec<&str> = events
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    let mut expected = vec![
        "account_registered",
        "login_failed",
        "email_verified",
        "reauthentication_failed",
        "password_changed",
    ];
    expected.extend(["login_failed"; 5]);
    expected.extend([
        "account_locked",
        "password_reset",
        "refresh_reuse_detected",
        "session_ended",
        "all_sessions_ended",
        "account_deleted",
    ]);
    assert_eq!(names, expected);
    for (number, line) in events.into_iter().enumerate() {
        // The first failure was nobody's.
        let user = line.get("user_id").and_then(Value::as_str);
        assert_eq!(user, (number != 1).then_some(id), "{line}");
        assert_eq!(line["client_address"], "127.0.0.1", "{line}");
        assert!(line["request_id"].is_string(), "{line}");
    }
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    tells_none_of(&log, &secrets);
}

fn refused_credentials_and_mails_are_counted(store: &Store) {
    let service = store.setup.start();
    let (ada, registered) = service.register(ADA);
    ada.refresh(&registered);
    ada.refresh(&registered);
    service
        .client()
        .refresh(&json!({ "refresh_token": "unknown" }));
    service.client().me();
    for _ in 0..2 {
        service.client().with_token("no-token").me();
    }
    for _ in 0..6 {
        ada.log_in(ADA, WRONG_PASSWORD);
    }
    ask_for_mail(&service, "forgot-password", ADA);

    let counted = service.metrics();
    for (reason, count) in [
        ("refresh_token_reused", 1),
        ("refresh_token_invalid", 1),
        ("token_missing", 1),
        ("token_invalid", 2),
        ("invalid_credentials", 4),
        ("account_locked", 2),
    ] {
        let line = format!("auth_failures_total{{reason=\"{reason}\"}} {count}");
        assert!(counted.contains(&line), "{line}: {counted:#?}");
    }
    for kind in [VERIFY, RESET] {
        let line = format!("emails_total{{kind=\"{kind}\",outcome=\"sent\"}} 1");
        eventually(&line, || service.metrics().contains(&line).then_some(()));
    }
}

#[test]
fn without_metrics_there_is_no_page_of_them() {
    let service = Setup::new().with("ENABLE_METRICS", "false").start();
    let answer = service.client().get("/metrics");
    assert!(answer.is_refusal(404, "not_found"), "{answer:?}");
    // What would be counted is answered as ever.
    assert!(is_wrong(&service.client().log_in(ADA, PASSWORD)));
}

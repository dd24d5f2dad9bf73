//! Everything that the contract offers, with secrets that are easy to recognise, and a log that tells as
//! much as it can. That none of them is told is checked by the support: in every answer, and in the log
//! and the spans when a process ends. Here they are used in every way that might get them told.

use std::sync::Arc;

use serde_json::{Value, json};
use tasks_testkit::servers::{Collector, SmtpEncryption, SmtpServer};
use ureq::http::HeaderMap;

use crate::support::{
    Client, SERVER_PASSWORD, Secret, Service, Setup, Signal, Store, eventually, on_every_store,
    send_raw, token,
};

on_every_store!(
    no_secret_of_the_contract_is_told,
    no_secret_of_a_refused_body_is_told,
    no_secret_in_the_wrong_place_is_told,
    no_token_in_a_path_is_told,
);

const ADA: &str = "ada@example.com";
const TASKS: &str = "/api/v1/tasks";
/// Each of these looks different in JSON, in a URL and to a program that prints it.
const FIRST: &str = "Eager \"Zoë\" & 1% of \\ Cats!";
const SECOND: &str = "Lazy 'Jürgen' + 2 = {Dogs}; <b>?*";
const THIRD: &str = "Odd\tand 3 #Birds/of$a^feather";
const WRONG: &str = "Wrong \"key\" & 4 \\ Moles@home";
const KEY: &str = "hush: the key of this instance, and of no other";
const PREVIOUS_KEY: &str = "hush: the key that was there before this one";

/// A service whose log tells all that it can.
fn setup(store: &Store) -> Setup {
    let setup = store.setup.clone();
    setup
        .with("LOG_LEVEL", "trace")
        .with("ENABLE_RATE_LIMITING", "true")
        .with("RATE_LIMIT_USER", "100000")
        .with("RATE_LIMIT_ANONYMOUS", "100000")
        .with("JWT_SECRET_KEY", KEY)
        .with("JWT_SECRET_KEY_PREV", PREVIOUS_KEY)
}

fn register(service: &Service, email: &str) -> (Client, Value) {
    let body = json!({ "email": email, "password": FIRST, "full_name": "Ada Lovelace" });
    let answer = service.client().auth("register", &body);
    assert_eq!(answer.status, 201, "{answer:?}");
    (service.signed_in(&answer.body), answer.body)
}

fn log_in(service: &Service, password: &str) -> (Client, Value) {
    let answer = service.client().log_in(ADA, password);
    assert_eq!(answer.status, 200, "{answer:?}");
    (service.signed_in(&answer.body), answer.body)
}

/// Checks that the log has told much: that there is nothing in an empty one says nothing.
fn ends_having_said_much(service: Service) {
    let output = service.stop(Signal::Terminate);
    assert_eq!(output.status, 0, "{output:?}");
    for said in ["TRACE", "request completed"] {
        assert!(output.stdout.contains(said), "{said}");
    }
}

/// What only the links of mails let one do. Gets the token of the newest of a kind.
fn by_mail(service: &Service, newest: impl Fn(&str) -> String) {
    let client = service.client();
    let asked = json!({ "email": ADA });
    let verification = json!({ "token": newest("verify_email") });
    for status in [200, 400] {
        assert_eq!(client.auth("verify-email", &verification).status, status);
    }
    assert_eq!(client.auth("forgot-password", &asked).status, 202);
    let resetting = newest("reset_password");
    let reset = |password| {
        let body = json!({ "token": resetting, "new_password": password });
        client.auth("reset-password", &body).status
    };
    assert_eq!(
        [reset("Too few"), reset(THIRD), reset(FIRST)],
        [400, 204, 400]
    );
}

fn no_secret_of_the_contract_is_told(store: &Store) {
    let service = setup(store).start();
    let (ada, registered) = register(&service, ADA);
    let again = json!({ "email": ADA, "password": SECOND, "full_name": "Ada" });
    assert_eq!(ada.auth("register", &again).status, 409);
    assert_eq!(ada.log_in(ADA, WRONG).status, 401);
    assert_eq!(ada.log_in("nobody@example.com", WRONG).status, 401);
    let (ada, logged_in) = log_in(&service, FIRST);
    let refreshed = ada.refresh(&logged_in);
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    // A second tab, and a while later a thief.
    assert_eq!(ada.refresh(&logged_in).status, 401);
    let earlier = store.earlier("revoked_at", 11);
    store.execute(&format!("UPDATE refresh_tokens SET revoked_at = {earlier}"));
    assert_eq!(ada.refresh(&logged_in).status, 401);
    service.are_over(&[&refreshed.body]);

    by_mail(&service, |kind| service.mail_token(kind, ADA, 1));
    service.are_over(&[&registered]);
    let (ada, _) = log_in(&service, THIRD);
    assert_eq!(ada.change_password(WRONG, SECOND).status, 401);
    assert_eq!(ada.change_password(THIRD, SECOND).status, 204);
    assert_eq!(ada.patch("/api/v1/users/me", &json!({})).status, 200);

    let (path, _) = ada.create_task("Write the report");
    let category = ada.post("/api/v1/categories", &json!({ "name": "Work" }));
    let id = category.body["id"].as_str().unwrap();
    let assignment = format!("{path}/categories/{id}");
    assert_eq!(ada.send("POST", &assignment, None).unwrap().status, 200);
    let query = format!("{TASKS}?category_id={id}&sort_by=priority&sort_order=asc&limit=7");
    assert_eq!(ada.get(&query).body["total"], 1);
    let completed = json!({ "version": 1, "status": "completed" });
    assert_eq!(ada.patch(&path, &completed).status, 200);
    assert_eq!(ada.patch(&path, &completed).status, 409);
    for path in [&assignment, category.header("location"), &path] {
        assert_eq!(ada.delete(path).status, 204, "{path}");
    }

    let (other, ended) = log_in(&service, SECOND);
    let sessions = other.get("/api/v1/users/me/sessions").body;
    let mut sessions = sessions["items"].as_array().unwrap().iter();
    let session = sessions.find(|session| session["current"] == false);
    let session = session.unwrap()["id"].as_str().unwrap();
    let path = format!("/api/v1/users/me/sessions/{session}");
    assert_eq!(other.delete(&path).status, 204);
    let body = json!({ "refresh_token": ended["refresh_token"] });
    assert_eq!(other.auth("logout", &body).status, 204);
    let (ada, _) = log_in(&service, SECOND);
    assert_eq!(ada.delete("/api/v1/users/me/sessions").status, 204);

    let (ada, _) = log_in(&service, SECOND);
    for status in [401, 401, 401, 401, 403] {
        assert_eq!(ada.delete_account(WRONG).status, status);
    }
    assert_eq!(ada.log_in(ADA, SECOND).status, 403);
    store.execute("UPDATE users SET locked_until = NULL, failed_login_attempts = 0");
    assert_eq!(ada.delete_account(SECOND).status, 204);
    ends_having_said_much(service);
}

/// The status of the answer to a request that no client of ours would send.
fn raw(service: &Service, request_line: &str, headers: &str, body: &str) -> u16 {
    let length = body.len();
    let request = format!(
        "{request_line} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    send_raw(service.address(), request.as_bytes()).status
}

/// The tokens that somebody has: to call, to refresh, to verify.
fn tokens(service: &Service, grant: &Value) -> [String; 3] {
    let of = |name: &str| grant[name].as_str().unwrap().to_owned();
    let of_mail = service.mail_token("verify_email", ADA, 1);
    [of("access_token"), of("refresh_token"), of_mail]
}

fn no_secret_of_a_refused_body_is_told(store: &Store) {
    let service = setup(store).start();
    let (ada, grant) = register(&service, ADA);
    let tokens = tokens(&service, &grant);
    let tokens = tokens.iter().map(String::as_str);

    // What breaks a rule, what has the wrong type and what stands in the wrong member is not repeated.
    for secret in tokens.clone().chain([FIRST]) {
        for (call, body) in [
            (
                "register",
                json!({ "email": secret, "password": "", "full_name": "" }),
            ),
            (
                "register",
                json!({ "email": ADA, "password": secret.repeat(9), "full_name": "A" }),
            ),
            (
                "register",
                json!({ "email": ADA, "password": [secret], "full_name": { "a": secret } }),
            ),
            (
                "register",
                json!({ "email": ADA, "password": { secret: secret }, "full_name": 1 }),
            ),
            ("login", json!({ "email": secret, "password": secret })),
            ("login", json!([secret])),
            ("refresh", json!({ "refresh_token": [secret] })),
            (
                "refresh",
                json!({ "refresh_token": format!("{secret}{secret}") }),
            ),
            ("logout", json!({ "refresh_token": { secret: 1 } })),
            ("verify-email", json!({ "token": format!("{secret}\u{0}") })),
            ("verify-email", json!({ "token": format!("{secret}x") })),
            ("resend-verification", json!({ "email": secret })),
            ("forgot-password", json!({ "email": { "of": secret } })),
            (
                "reset-password",
                json!({ "token": secret, "new_password": "short" }),
            ),
            (
                "reset-password",
                json!({ "token": [secret], "new_password": [secret] }),
            ),
        ] {
            let status = ada.auth(call, &body).status;
            assert!(
                (400..500).contains(&status) || status == 204,
                "{call}: {status}"
            );
        }
        let change = json!({ "current_password": [secret], "new_password": secret });
        let answer = ada.post("/api/v1/users/me/change-password", &change);
        assert_eq!(answer.status, 400, "{answer:?}");
        for task in [
            json!({ "title": [secret] }),
            json!({ "title": "Report", "due_date": secret }),
            json!({ "title": "Report", "priority": secret }),
        ] {
            assert_eq!(ada.post(TASKS, &task).status, 400);
        }
        let category = json!({ "name": "Work", "color": secret });
        assert_eq!(ada.post("/api/v1/categories", &category).status, 400);
    }

    // What is no JSON.
    service.keeps(Secret::Password, WRONG);
    for secret in tokens.chain([WRONG]) {
        let quoted = Value::from(secret).to_string();
        for body in [
            format!("{{\"email\":\"{ADA}\",\"password\":{quoted}"),
            format!("{{\"email\":\"{ADA}\",\"password\":{quoted},\"password\":{quoted}}}"),
            format!("{{\"email\":\"{ADA}\",\"password\":{quoted}}}{quoted}"),
            format!("{{{quoted}}}"),
            quoted.clone(),
            quoted.trim_matches('"').to_owned(),
        ] {
            for call in ["login", "register"] {
                let line = format!("POST /api/v1/auth/{call}");
                assert_eq!(raw(&service, &line, "", &body), 400, "{call}");
            }
        }
    }

    ends_having_said_much(service);
}

fn no_secret_in_the_wrong_place_is_told(store: &Store) {
    let service = setup(store).start();
    let (_, grant) = register(&service, ADA);
    let access_token = grant["access_token"].as_str().unwrap();
    for token in &tokens(&service, &grant) {
        for (path, status) in [
            (format!("{TASKS}?page={token}"), 400),
            (format!("{TASKS}?status={token}&access_token={token}"), 400),
            (format!("{TASKS}?access_token={token}"), 401),
            (format!("/no/such/path?token={token}"), 404),
            (format!("/verify-email?token={token}"), 200),
            (format!("/reset-password?token={token}"), 200),
            (format!("/health?token={token}"), 200),
        ] {
            // Of who is not signed in no query is judged.
            let authorized = format!("authorization: Bearer {access_token}\r\n");
            let headers = if status == 400 { &authorized } else { "" };
            assert_eq!(raw(&service, &format!("GET {path}"), headers, ""), status);
        }
        for authorization in [
            format!("Bearer {token}x"),
            format!("bearer  {token}"),
            format!("Basic {token}"),
            token.clone(),
            format!("Bearer {token} {token}"),
            format!("Bearer {}", token.repeat(20)),
        ] {
            let headers = format!("authorization: {authorization}\r\n");
            let status = raw(&service, &format!("GET {TASKS}"), &headers, "");
            assert!([200, 401].contains(&status), "{status}");
        }
        // Longer than any head may be.
        let headers = format!("authorization: Bearer {}\r\n", token.repeat(10_000));
        let status = raw(&service, &format!("GET {TASKS}"), &headers, "");
        assert!([400, 431].contains(&status), "{status}");
        for header in [
            "cookie",
            "x-request-id",
            "traceparent",
            "tracestate",
            "origin",
            "referer",
        ] {
            let headers = format!("{header}: token={token}\r\n");
            raw(&service, &format!("GET {TASKS}"), &headers, "");
        }
    }
    ends_having_said_much(service);
}

/// Whoever follows a link that was cut up, or writes one by hand. It is told to nobody else.
fn no_token_in_a_path_is_told(store: &Store) {
    let service = setup(store).start();
    let (ada, grant) = register(&service, ADA);
    for token in &tokens(&service, &grant) {
        for (path, status) in [
            (format!("/verify-email/{token}"), 404),
            (format!("/api/v1/auth/reset-password/token={token}"), 404),
            (format!("{TASKS}/{token}"), 400),
            (format!("/api/v1/users/me/sessions/{token}"), 405),
        ] {
            assert_eq!(ada.get(&path).status, status, "{path}");
        }
    }
    ends_having_said_much(service);
}

/// What it takes to be let in by a collector is not told, in whatever way spans go there.
#[test]
fn no_secret_of_a_collector_is_told() {
    const CREDENTIALS: &str = "Basic dGFza3M6b3Blbi1zZXNhbWU";
    for (collector, protocol) in [
        (Collector::start_http(), "http/protobuf"),
        (Collector::start_grpc(), "grpc"),
    ] {
        let collector = Arc::new(collector);
        let headers = format!("authorization={}", CREDENTIALS.replace(' ', "%20"));
        let service = setup(&Store::sqlite())
            .traced_by(&collector)
            .with("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .with("OTEL_EXPORTER_OTLP_HEADERS", &headers)
            .start();
        register(&service, ADA);
        ends_having_said_much(service);
        let headers = collector.headers();
        let is_let_in = |headers: &HeaderMap| headers["authorization"] == CREDENTIALS;
        assert!(!headers.is_empty() && headers.iter().all(is_let_in));
    }
}

/// Mails that leave the house: neither they nor what it takes to send them is told.
#[test]
fn no_secret_of_mails_is_told() {
    let server = SmtpServer::start_with(SmtpEncryption::StartTls, Some(("tasks", SERVER_PASSWORD)));
    let service = setup(&Store::sqlite())
        .mailing_to(&server)
        // Without its handshakes, which are full of random numbers that everybody may know.
        .with("LOG_LEVEL", "trace,rustls=info")
        .with("JWT_SECRET_KEY", KEY)
        .with("SMTP_TLS", "starttls")
        .with("SMTP_USERNAME", "tasks")
        .with("SMTP_PASSWORD", SERVER_PASSWORD)
        .with("SSL_CERT_FILE", server.authority().to_str().unwrap())
        .start();
    register(&service, ADA);
    by_mail(&service, |kind| {
        let page = format!("/{}?", kind.replace('_', "-"));
        eventually("the mail arrives", || {
            let mail = server
                .mails()
                .into_iter()
                .rfind(|mail| mail.link().contains(&page))?;
            // What a mail says is as secret as its link.
            service.keeps(
                Secret::MailToken,
                mail.text().lines().find(|line| line.len() > 20)?,
            );
            Some(token(&mail))
        })
    });
    ends_having_said_much(service);
}

/// In the format for people, and with what nobody has asked for.
#[test]
fn no_secret_is_told_to_people() {
    let service = setup(&Store::sqlite()).with("LOG_FORMAT", "pretty").start();
    let (ada, grant) = register(&service, ADA);
    ada.refresh(&grant);
    ada.log_in(ADA, WRONG);
    ada.get(&format!("{TASKS}?page={WRONG}").replace([' ', '"', '\\'], "+"));
    let output = service.stop(Signal::Terminate);
    assert_eq!(output.status, 0, "{output:?}");
    let has_mail = output
        .stdout
        .lines()
        .any(|line| line.contains(" mail_url=http"));
    assert!(has_mail && output.stdout.contains("TRACE"), "{output:?}");
}

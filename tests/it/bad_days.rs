//! Many callers at once, callers that misbehave, and a disk that is full.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::SockRef;

use crate::support::{
    Answer, Client, PASSWORD, Service, Setup, Signal, at_once, eventually, raw_connection, send_raw,
};

/// How many callers compete for what only one can get.
const CALLERS: usize = 20;
/// The largest body, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// Checks that exactly so many answers fit.
#[track_caller]
fn exactly(expected: usize, answers: &[Answer], fits: impl Fn(&Answer) -> bool) {
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    let fitting = answers.iter().filter(|answer| fits(answer)).count();
    assert_eq!(fitting, expected, "{statuses:?}");
}

/// The answer to somebody who tries again as long as too many passwords wait to be hashed.
fn patiently(ask: impl Fn() -> Answer) -> Answer {
    eventually("the service is available", || {
        Some(ask()).filter(|answer| !answer.is_unavailable())
    })
}

#[test]
fn of_many_patches_with_one_version_one_succeeds() {
    let service = Service::start();
    let (client, _) = service.register("ada@example.com");
    let (path, _) = client.create_task("Write the report");
    let answers = at_once(CALLERS, |caller| {
        let change = json!({ "version": 1, "title": format!("Title of caller {caller}") });
        client.patch(&path, &change)
    });
    exactly(1, &answers, |answer| answer.status == 200);
    let is_conflict = |answer: &Answer| {
        answer.is_refusal(409, "version_conflict") && answer.body["current_version"] == 2
    };
    exactly(CALLERS - 1, &answers, is_conflict);
    let winner = answers.iter().find(|answer| answer.status == 200).unwrap();
    assert_eq!(client.get(&path).body, winner.body);
}

#[test]
fn of_many_refreshes_with_one_token_one_succeeds() {
    let service = Service::start();
    let (client, grant) = service.register("ada@example.com");
    let refresh = |token| client.post("/api/v1/auth/refresh", &json!({ "refresh_token": token }));
    let answers = at_once(CALLERS, |_| refresh(&grant["refresh_token"]));
    exactly(1, &answers, |answer| answer.status == 200);
    let is_refused = |answer: &Answer| answer.is_refusal(401, "refresh_token_invalid");
    exactly(CALLERS - 1, &answers, is_refused);
    // So soon it is a second tab, not a thief: the session goes on.
    let winner = answers.iter().find(|answer| answer.status == 200).unwrap();
    assert_eq!(refresh(&winner.body["refresh_token"]).status, 200);
}

#[test]
fn of_many_registrations_of_one_address_one_succeeds() {
    let service = Service::start();
    let client = service.client();
    let answers = at_once(CALLERS, |caller| {
        // Upper case makes no other address.
        let email = if caller % 2 == 0 {
            "ada@example.com"
        } else {
            "ADA@example.com"
        };
        let body = json!({ "email": email, "password": PASSWORD, "full_name": "Ada" });
        patiently(|| client.post("/api/v1/auth/register", &body))
    });
    exactly(1, &answers, |answer| answer.status == 201);
    let is_taken = |answer: &Answer| answer.is_refusal(409, "email_taken");
    exactly(CALLERS - 1, &answers, is_taken);
}

#[test]
fn of_many_wrong_passwords_each_counts() {
    let service = Service::start();
    let (client, _) = service.register("ada@example.com");
    let answers = at_once(CALLERS, |_| {
        patiently(|| client.log_in("ada@example.com", "Wrong-Horse-7!"))
    });
    let is_wrong = |answer: &Answer| answer.is_refusal(401, "invalid_credentials");
    exactly(4, &answers, is_wrong);
    let is_locked = |answer: &Answer| {
        answer.is_refusal(403, "account_locked")
            && answer.body["locked_until"].is_string()
            && answer.header("retry-after").parse::<u32>().is_ok()
    };
    exactly(CALLERS - 4, &answers, is_locked);
    let right = client.log_in("ada@example.com", PASSWORD);
    assert!(is_locked(&right), "{right:?}");
    // A lock refuses logins only.
    assert_eq!(client.get("/api/v1/users/me").status, 200);
}

#[test]
fn clients_that_disconnect_harm_nobody() {
    const EACH: usize = 60;
    const THREADS: usize = 8;

    let service = Service::start();
    let (client, grant) = service.register("ada@example.com");
    let token = grant["access_token"].as_str().unwrap();
    let head = format!(
        "POST /api/v1/tasks HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\n"
    );
    let whole = |body: &str| format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let create = whole(r#"{"title":"From somebody who is gone"}"#);
    let login = format!(r#"{{"email":"ada@example.com","password":"{PASSWORD}"}}"#);
    let login = whole(&login).replace("/tasks", "/auth/login");
    let list = head.replace("POST", "GET") + "\r\n";
    let requests: Vec<&[u8]> = vec![
        b"",
        b"PO",
        head.as_bytes(),
        &create.as_bytes()[..create.len() - 5],
        create.as_bytes(),
        &login.as_bytes()[..login.len() - 5],
        login.as_bytes(),
        list.as_bytes(),
    ];
    at_once(THREADS, |thread| {
        for number in 0..EACH {
            let mut stream = raw_connection(service.address());
            stream
                .write_all(requests[(thread + number) % requests.len()])
                .unwrap();
            match number % 3 {
                // Gone at once; to have an answer left unread makes that a reset.
                0 => {}
                // Says that nothing more will come.
                1 => stream.shutdown(Shutdown::Write).unwrap(),
                // Gone while the answer comes.
                _ => {
                    stream.shutdown(Shutdown::Write).unwrap();
                    drop(stream.read(&mut [0]));
                }
            }
        }
    });

    serves_normally(&client);
    let output = service.stop(Signal::Terminate);
    assert_eq!(output.status, 0);
    let log = output.log();
    let failed: Vec<_> = log.iter().filter(|line| line["status"] == 500).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

/// Sends a request and resets the connection a little later, each time at another moment of the
/// work that it asks for.
fn send_and_reset(service: &Service, path: &str, body: &Value, attempt: u32) {
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = raw_connection(service.address());
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    let sent = Instant::now();
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .unwrap();
    while sent.elapsed() < Duration::from_micros(40) * attempt {
        std::hint::spin_loop();
    }
}

#[test]
fn what_an_abandoned_request_began_is_finished() {
    const ATTEMPTS: u32 = 40;
    let service = Service::start();
    let mut ended = 0;
    for attempt in 0..ATTEMPTS {
        let (client, grant) = service.register(&format!("out-{attempt}@example.com"));
        assert_eq!(client.get("/api/v1/users/me").status, 200);
        let token = json!({ "refresh_token": grant["refresh_token"] });
        send_and_reset(&service, "/api/v1/auth/logout", &token, attempt);
        if client.post("/api/v1/auth/refresh", &token).status == 401 {
            ended += 1;
            eventually("an end of the access token", || {
                let answer = client.get("/api/v1/users/me");
                answer.is_refusal(401, "token_invalid").then_some(())
            });
        }
    }
    assert!(
        ended > 0,
        "no request was taken up before its connection was reset"
    );

    let email = |attempt| format!("in-{attempt}@example.com");
    for attempt in 0..ATTEMPTS {
        let body = json!({
            "email": email(attempt), "password": PASSWORD, "full_name": "Ada Lovelace",
        });
        send_and_reset(&service, "/api/v1/auth/register", &body, attempt * 3);
    }
    let client = service.client();
    let stored: Vec<String> = (0..ATTEMPTS)
        .map(email)
        .filter(|email| client.log_in(email, PASSWORD).status == 200)
        .collect();
    assert!(!stored.is_empty());
    let output = service.stop(Signal::Terminate);
    for email in stored {
        let mails = output
            .log()
            .iter()
            .filter(|line| line["mail_to"] == *email)
            .count();
        assert_eq!(mails, 1, "{email}");
    }
}

#[test]
fn a_login_burst_leaves_other_requests_alone() {
    const LOGINS: usize = 200;

    let service = Setup::new().with("BCRYPT_COST", "10").start();
    let (client, _) = service.register("ada@example.com");
    client.create_task("Write the report");
    let over = AtomicBool::new(false);
    let answers = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut read = 0;
            while !over.load(Ordering::Relaxed) {
                assert_eq!(client.get("/api/v1/tasks").body["total"], 1);
                assert_eq!(client.get("/health/ready").status, 200);
                read += 1;
            }
            read
        });
        let answers = at_once(LOGINS, |_| client.log_in("ada@example.com", PASSWORD));
        over.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
        answers
    });
    let is_fine = |answer: &Answer| answer.status == 200 || answer.is_unavailable();
    exactly(LOGINS, &answers, is_fine);
    assert!(answers.iter().any(|answer| answer.status == 200));
    // Nobody was locked out by having been refused.
    let logged_in = patiently(|| client.log_in("ada@example.com", PASSWORD));
    assert_eq!(logged_in.status, 200, "{logged_in:?}");
}

#[test]
fn a_body_that_is_too_large_is_refused_however_it_comes() {
    let service = Service::start();
    let (client, grant) = service.register("ada@example.com");
    let token = grant["access_token"].as_str().unwrap();
    let head = format!(
        "POST /api/v1/tasks HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\ncontent-type: application/json\r\n"
    );
    // White space around the object counts.
    let object = r#"{"title":"Write the report"}"#;
    let body = |length: usize| object.to_owned() + &" ".repeat(length - object.len());
    let length = |body: &str| format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let chunks = |body: &str| {
        let middle = body.len() / 2;
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let [one, two] = [&body[..middle], &body[middle..]].map(chunk);
        format!("{head}transfer-encoding: chunked\r\n\r\n{one}{two}0\r\n\r\n")
    };
    let expect = |body: &str| length(body).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");

    for (name, request) in [
        ("length", &length as &dyn Fn(&str) -> String),
        ("chunks", &chunks),
        ("expect", &expect),
    ] {
        let send = |size| send_raw(service.address(), request(&body(size)).as_bytes());
        let largest = send(MAX_BODY);
        assert_eq!(largest.status, 201, "{name}: {largest:?}");
        let larger = send(MAX_BODY + 1);
        assert_eq!(larger.status, 413, "{name}: {larger:?}");
        assert!(
            larger.body.contains("payload_too_large"),
            "{name}: {larger:?}"
        );
    }
    serves_normally(&client);
}

#[test]
fn head_is_get_without_the_body() {
    let service = Service::start();
    let ask = |method: &str, path: &str| {
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        send_raw(service.address(), request.as_bytes())
    };
    for (path, status) in [
        ("/health/live", 200),
        ("/openapi.json", 200),
        ("/nothing", 404),
    ] {
        let get = ask("GET", path);
        let head = ask("HEAD", path);
        assert_eq!((get.status, head.status), (status, status), "{path}");
        assert_eq!(head.body, "", "{path}");
        let length = |head: &str| {
            let line = head
                .lines()
                .find(|line| line.starts_with("content-length:"));
            line.map(str::to_owned)
        };
        // A refusal names its request, whose id has always the same length.
        assert_eq!(length(&head.head), length(&get.head), "{path}");
        assert_ne!(length(&head.head), None, "{path}");
    }
}

#[test]
fn what_is_no_request_gets_400() {
    let service = Service::start();
    for request in [
        "nonsense\r\n\r\n",
        "GET\r\n\r\n",
        "GET /health/live HTTP/9.9\r\n\r\n",
        "GET /health/live HTTP/1.1\r\nno header\r\n\r\n",
        "POST /api/v1/tasks HTTP/1.1\r\nhost: test\r\ncontent-length: many\r\n\r\n",
        "POST /api/v1/tasks HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\
         transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let answer = send_raw(service.address(), request.as_bytes());
        assert_eq!(answer.status, 400, "{request}: {answer:?}");
    }
    let (client, _) = service.register("ada@example.com");
    serves_normally(&client);
}

#[test]
fn on_a_full_disk_writes_are_refused_and_reads_go_on() {
    // What the files of the database may grow to, in blocks of 512 bytes: enough for the schema
    // and an account, and too little for many tasks. The limit stands in for a full disk, which
    // not everybody can make; where it is hit, a write fails, if the signal is ignored.
    // The profile of a coverage run would be cut too, so there is none.
    let service = Setup::new()
        .before("trap '' XFSZ; ulimit -S -f 1024")
        .with("LLVM_PROFILE_FILE", "/dev/null")
        .start();
    let (client, _) = service.register("ada@example.com");
    let (path, task) = client.create_task("Write the report");
    let description = "x".repeat(2_000);
    let write = || {
        let body = json!({ "title": "Fill the disk", "description": description });
        client.post("/api/v1/tasks", &body)
    };
    let refused = eventually("the disk is full", || {
        let answer = write();
        (answer.status != 201).then_some(answer)
    });
    assert!(refused.is_unavailable(), "{refused:?}");

    let answers = at_once(CALLERS, |_| (write(), client.get(&path)));
    for (written, read) in answers {
        // What is given back may be enough for one more.
        assert!(
            written.status == 201 || written.is_unavailable(),
            "{written:?}"
        );
        assert_eq!((read.status, &read.body), (200, &task));
    }
    assert_eq!(client.get("/health/live").status, 200);

    make_room(service.process_id());
    eventually("writes succeed again", || {
        (write().status == 201).then_some(())
    });
    serves_normally(&client);
    assert_eq!(service.stop(Signal::Terminate).status, 0);
}

/// Lifts the limit on the size of files.
fn make_room(process: u32) {
    let lifted = Command::new("prlimit")
        .args(["--pid", &process.to_string(), "--fsize=unlimited:"])
        .status()
        .expect("install prlimit (util-linux)");
    assert!(lifted.success());
}

/// A round through the service, by somebody with an account.
fn serves_normally(client: &Client) {
    let (path, task) = client.create_task("Business as usual");
    assert_eq!(client.get(&path).body, task);
    assert_eq!(client.delete(&path).status, 204);
    assert_eq!(client.get("/health/ready").status, 200);
    let logged_in = patiently(|| client.log_in("ada@example.com", PASSWORD));
    assert_eq!(logged_in.status, 200, "{logged_in:?}");
}

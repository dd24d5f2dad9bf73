//! From the start to the end, and back again.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Client, PASSWORD, Service, Setup, Signal, database, eventually, raw_connection, read_answer,
    send_raw,
};

#[test]
fn data_and_tokens_survive_a_restart() {
    let setup = Setup::new();
    survive_a_restart(&setup);
    let key = setup.database().with_file_name("jwt_secret_key");
    for file in [&key, &setup.database()] {
        let mode = fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
}

/// Checks that a second process knows what the first one was told, on every store.
pub(crate) fn survive_a_restart(setup: &Setup) {
    let service = setup.start();
    let (client, grant) = service.register("ada@example.com");
    let (path, task) = client.create_task("Write the report");
    assert_eq!(service.stop(Signal::Terminate).status, 0);

    let service = setup.start();
    let client = service
        .client()
        .with_token(grant["access_token"].as_str().unwrap());
    assert_eq!(client.get(&path).body, task);
    assert_eq!(client.log_in("ada@example.com", PASSWORD).status, 200);
    let refreshed = client.post(
        "/api/v1/auth/refresh",
        &json!({ "refresh_token": grant["refresh_token"] }),
    );
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
}

#[test]
fn a_key_can_be_rotated_without_logging_anybody_out() {
    let [old, new] = ["o", "n"].map(|letter| letter.repeat(32));
    let setup = Setup::new();
    let service = setup.clone().with("JWT_SECRET_KEY", &old).start();
    let (_, grant) = service.register("ada@example.com");
    let token = grant["access_token"].as_str().unwrap();
    service.stop(Signal::Terminate);

    let setup = setup.with("JWT_SECRET_KEY", &new);
    let service = setup.clone().with("JWT_SECRET_KEY_PREV", &old).start();
    let client = service.client().with_token(token);
    assert_eq!(client.get("/api/v1/users/me").status, 200);
    service.stop(Signal::Terminate);

    let service = setup.start();
    let client = service.client().with_token(token);
    assert!(
        client
            .get("/api/v1/users/me")
            .is_refusal(401, "token_invalid")
    );
}

#[test]
fn a_signal_ends_the_service_with_success() {
    for signal in [Signal::Terminate, Signal::Interrupt] {
        let service = Service::start();
        // An idle connection holds nothing up.
        let (_client, _) = service.register("ada@example.com");
        let output = service.stop(signal);
        assert_eq!(output.status, 0, "{signal:?}: {output:?}");
        assert_eq!(output.stderr, "");
    }
}

#[test]
fn a_request_in_flight_is_answered_before_the_end() {
    let service = Service::start();
    let address = service.address().to_owned();
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "full_name": "Ada" });
    let body = body.to_string();

    let mut stream = raw_connection(&address);
    let head = format!(
        "POST /api/v1/auth/register HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // That it asks for the body shows that it handles the request.
    let mut interim = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut interim).unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100 "));

    service.signal(Signal::Terminate);
    eventually("new connections are refused", || {
        TcpStream::connect(&address).err()
    });
    stream.write_all(body.as_bytes()).unwrap();
    let answer = read_answer(stream);
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(answer.body.contains("access_token"));
    assert_eq!(service.wait().status, 0);
}

/// Waits until the service says that it is not ready.
fn is_soon_draining(client: &Client) {
    let answer = eventually("the service is not ready", || {
        Some(client.get("/health/ready")).filter(|answer| answer.status != 200)
    });
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.body["status"], "not_ready");
}

#[test]
fn until_balancers_have_noticed_it_goes_on() {
    // As long as it takes, and another signal ends it.
    let setup = Setup::new().with("SHUTDOWN_DELAY_SECONDS", "300");
    let mut service = setup.start();
    let (client, _) = service.register("ada@example.com");
    let (path, _) = client.create_task("Before");
    assert_eq!(client.get(&path).header("connection"), "");

    service.signal(Signal::Terminate);
    is_soon_draining(&service.client());
    for path in [path, client.create_task("Meanwhile").0] {
        // The connection that is kept alive is told to close, and the next one is served too.
        let answer = client.get(&path);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("connection"), "close");
    }
    assert_eq!(service.client().get("/health/live").status, 200);
    let output = eventually("a later signal ends it at once", || {
        service.signal(Signal::Terminate);
        service.ended()
    });
    assert_eq!(output.status, 143, "{output:?}");
}

#[test]
fn a_signal_that_comes_twice_at_once_ends_the_service_with_success() {
    // Long enough for both to be seen while it goes on.
    let setup = Setup::new().with("SHUTDOWN_DELAY_SECONDS", "1");
    for signals in [
        [Signal::Terminate, Signal::Interrupt],
        [Signal::Interrupt, Signal::Terminate],
    ] {
        let service = setup.start();
        service.signals(&signals);
        let output = service.wait();
        assert_eq!(output.status, 0, "{signals:?}: {output:?}");
        assert!(output.stdout.contains("\"stopped\""), "{output:?}");
    }
}

#[test]
fn when_balancers_have_had_their_time_it_ends() {
    let delay = Duration::from_secs(1);
    let setup = Setup::new().with("SHUTDOWN_DELAY_SECONDS", "1");
    let service = setup.start();
    // An idle connection holds nothing up.
    let (_client, _) = service.register("ada@example.com");
    let asked = Instant::now();
    let output = service.stop(Signal::Terminate);
    assert_eq!(output.status, 0, "{output:?}");
    assert!(asked.elapsed() >= delay);
}

/// What shares requests out between instances that say that they are ready.
struct Balancer {
    /// Nobody where an instance is away.
    instances: [Mutex<Option<Client>>; 2],
    asked: AtomicUsize,
    is_restarting: AtomicBool,
}

impl Balancer {
    /// An instance that is ready, by turns, and its place.
    fn next(&self) -> (usize, Client) {
        let turn = self.asked.fetch_add(1, Ordering::Relaxed);
        [turn % 2, (turn + 1) % 2]
            .into_iter()
            .find_map(|place| Some((place, self.instances[place].lock().unwrap().clone()?)))
            .expect("one of two is always ready")
    }

    /// Sends a request to whoever is ready. One that is away by now may refuse the connection.
    fn send(&self, method: &str, path: &str, body: Option<&Value>, expected: u16) {
        loop {
            let (place, client) = self.next();
            match client.send(method, path, body) {
                Ok(answer) => return assert_eq!(answer.status, expected, "{answer:?}"),
                Err(ureq::Error::Io(error))
                    if error.kind() == ErrorKind::ConnectionRefused
                        && self.instances[place].lock().unwrap().is_none() => {}
                Err(error) => panic!("{method} {path}: {error}"),
            }
        }
    }
}

/// Whatever happens, callers come to an end.
struct Restarting<'a>(&'a Balancer);

impl Drop for Restarting<'_> {
    fn drop(&mut self) {
        self.0.is_restarting.store(false, Ordering::Relaxed);
    }
}

#[test]
fn two_instances_restarted_in_turn_fail_no_request() {
    const REQUESTS: usize = 10_000;
    const CALLERS: usize = 8;

    let database = database();
    let setup = Setup::new()
        // Ten spans for each of so many requests take their time.
        .untraced()
        .on_postgres(&database.url)
        .with("JWT_SECRET_KEY", &"k".repeat(32))
        .with("SHUTDOWN_DELAY_SECONDS", "2");
    let mut services = [setup.start(), setup.start()];
    let (_, grant) = services[0].register("ada@example.com");
    let balancer = Balancer {
        instances: services
            .each_ref()
            .map(|service| Mutex::new(Some(service.signed_in(&grant)))),
        asked: AtomicUsize::new(0),
        is_restarting: AtomicBool::new(true),
    };
    let created = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                let body = json!({ "title": "Go on" });
                while balancer.is_restarting.load(Ordering::Relaxed)
                    || balancer.asked.load(Ordering::Relaxed) < REQUESTS
                {
                    balancer.send("POST", "/api/v1/tasks", Some(&body), 201);
                    created.fetch_add(1, Ordering::Relaxed);
                    balancer.send("GET", "/api/v1/users/me", None, 200);
                    balancer.send("GET", "/api/v1/tasks?limit=1", None, 200);
                }
            });
        }
        let _restarting = Restarting(&balancer);
        for (service, instance) in services.iter_mut().zip(&balancer.instances) {
            service.signal(Signal::Terminate);
            is_soon_draining(&service.client());
            *instance.lock().unwrap() = None;
            let old = std::mem::replace(service, setup.start());
            assert_eq!(old.wait().status, 0);
            *instance.lock().unwrap() = Some(service.signed_in(&grant));
        }
    });
    let tasks = services[0].signed_in(&grant).get("/api/v1/tasks");
    assert_eq!(tasks.body["total"], created.into_inner(), "none is lost");
}

/// What `/metrics` at an address answers.
fn metrics_at(address: &str) -> u16 {
    let head = "GET /metrics HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    let answer = send_raw(address, head.as_bytes());
    let is_told = answer.body.contains("# TYPE task_api_build_info gauge");
    assert_eq!(is_told, answer.status == 200, "{answer:?}");
    answer.status
}

/// Where the log says that metrics are told.
fn metrics_address(service: &Service) -> Option<String> {
    let log = service.log();
    let line = log.iter().find(|line| line["metrics"].is_string())?;
    let url = line["metrics"].as_str()?;
    let address = url.strip_prefix("http://")?.strip_suffix("/metrics")?;
    Some(address.to_owned())
}

#[test]
fn metrics_may_have_a_port_of_their_own() {
    let service = Service::start();
    assert_eq!(metrics_at(service.address()), 200);
    assert_eq!(metrics_address(&service), None);

    let service = Setup::new().with("METRICS_PORT", "0").start();
    let address = metrics_address(&service).unwrap();
    assert_eq!(metrics_at(&address), 200);
    assert_eq!(metrics_at(service.address()), 404);
    let port = address.rsplit(':').next().unwrap();
    let output = Setup::new().with("METRICS_PORT", port).run(&[]);
    assert_eq!(output.status, 1, "{output:?}");
    let line = output.one_line();
    assert!(line.ends_with("choose another METRICS_PORT"), "{line}");
    assert_eq!(service.stop(Signal::Terminate).status, 0);

    let none = Setup::new().with("ENABLE_METRICS", "false");
    let service = none.with("METRICS_PORT", "0").start();
    assert_eq!(metrics_address(&service), None);
    assert_eq!(metrics_at(service.address()), 404);

    let both = Setup::new().with("PORT", port).with("METRICS_PORT", port);
    let output = both.run(&[]);
    assert_eq!(output.status, 78, "{output:?}");
    let line = output.one_line();
    assert!(line.starts_with("METRICS_PORT is PORT too: "), "{line}");
}

#[test]
fn every_acknowledged_write_survives_kill_9() {
    const WRITERS: usize = 4;
    const ENOUGH: usize = 100;

    let setup = Setup::new();
    let service = setup.start();
    let (client, grant) = service.register("ada@example.com");
    let acknowledged = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let client = client.clone();
            let acknowledged = &acknowledged;
            scope.spawn(move || {
                let body = json!({ "title": format!("Task of writer {writer}") });
                // Until the service is gone.
                while let Ok(answer) = client.send("POST", "/api/v1/tasks", Some(&body)) {
                    assert_eq!(answer.status, 201, "{answer:?}");
                    let id = answer.body["id"].as_str().unwrap().to_owned();
                    acknowledged.lock().unwrap().push(id);
                }
            });
        }
        eventually("there are many tasks", || {
            (acknowledged.lock().unwrap().len() >= ENOUGH).then_some(())
        });
        service.kill();
    });

    let service = setup.start();
    let client = service
        .client()
        .with_token(grant["access_token"].as_str().unwrap());
    for id in acknowledged.into_inner().unwrap() {
        let answer = client.get(&format!("/api/v1/tasks/{id}"));
        assert_eq!(answer.status, 200, "{id}: {answer:?}");
    }
    client.create_task("And on it goes");
}

#[test]
fn a_database_belongs_to_one_process() {
    let setup = Setup::new();
    let service = setup.start();
    for arguments in [&["serve"][..], &["migrate"]] {
        let output = setup.run(arguments);
        assert_eq!(output.status, 1, "{output:?}");
        let line = output.one_line();
        assert!(
            line.contains("tasks.db is in use by another process"),
            "{line}"
        );
    }
    assert_eq!(service.client().get("/health").status, 200);
}

#[test]
fn a_taken_port_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let setup = Setup::new().with("PORT", &address.port().to_string());
    let output = setup.run(&[]);
    assert_eq!(output.status, 1, "{output:?}");
    let line = output.one_line();
    assert!(
        line.contains(&format!("cannot listen on http://{address}")),
        "{line}"
    );
    assert!(!setup.database().exists(), "the data is left alone");
}

#[test]
fn an_unwritable_folder_is_said() {
    let setup = Setup::new();
    // Below a file there can be no folder, for root neither.
    fs::write(setup.folder().join("file"), "").unwrap();
    let database = format!("sqlite://{}/file/data/tasks.db", setup.folder().display());
    let output = setup.with("DATABASE_URL", &database).run(&[]);
    assert_eq!(output.status, 1, "{output:?}");
    let line = output.one_line();
    assert!(
        line.contains("cannot write to") && line.contains("file/data"),
        "{line}"
    );
}

#[test]
fn a_damaged_database_is_said_and_left_alone() {
    let setup = Setup::new();
    let damage: Vec<u8> = (0..8_192_u32).map(|n| (n * n / 7 % 251) as u8).collect();
    fs::create_dir(setup.database().parent().unwrap()).unwrap();
    fs::write(setup.database(), &damage).unwrap();
    let output = setup.run(&[]);
    assert_eq!(output.status, 1, "{output:?}");
    let line = output.one_line();
    assert!(
        line.contains("tasks.db is not an SQLite database"),
        "{line}"
    );
    assert!(fs::read(setup.database()).unwrap() == damage);
}

#[test]
fn a_damaged_page_is_said_too() {
    let setup = Setup::new();
    let service = setup.start();
    service.register("ada@example.com");
    assert_eq!(service.stop(Signal::Terminate).status, 0);
    // The header stays, so that it still looks like a database.
    let mut bytes = fs::read(setup.database()).unwrap();
    bytes[100..].fill(0xA5);
    fs::write(setup.database(), bytes).unwrap();
    let output = setup.run(&[]);
    assert_eq!(output.status, 1, "{output:?}");
    let line = output.one_line();
    assert!(
        line.contains("tasks.db") && line.contains("damaged"),
        "{line}"
    );
}

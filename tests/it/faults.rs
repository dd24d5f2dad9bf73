//! A database and a Redis that stop, die, freeze or refuse, and come back: the service answers all
//! the time, and needs no restart.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tasks_testkit::servers::{PostgresServer, RedisServer};

use crate::support::{
    Answer, Client, Database, PASSWORD, SERVER_PASSWORD, Service, Setup, Signal, at_once, database,
    database_on, eventually, postgres, redis, sql,
};

/// The contract: every request is answered within this time, whatever state the database is in.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How many requests come at once to a service without data.
const CALLERS: usize = 20;
/// How many write while something breaks.
const WRITERS: usize = 4;
/// So many writes show that writing goes well.
const ENOUGH: usize = 50;
/// The role that the service connects as; that of tests may do more.
const ROLE: &str = "app";

/// An answer that came in time.
fn in_time(ask: impl FnOnce() -> Answer) -> Answer {
    let asked = Instant::now();
    let answer = ask();
    assert!(asked.elapsed() < ANSWER_LIMIT, "late: {answer:?}");
    answer
}

/// A database server that a test harms, and a service on it.
struct World {
    service: Service,
    database: Database,
    server: PostgresServer,
}

impl World {
    fn new() -> Self {
        let server = postgres();
        let database = database_on(&server);
        let role = format!(
            "CREATE ROLE {ROLE} LOGIN PASSWORD '{SERVER_PASSWORD}';
             GRANT ALL ON SCHEMA public TO {ROLE}"
        );
        sql(&database.url, &role);
        let url = database.url.replace("//postgres:", &format!("//{ROLE}:"));
        assert_ne!(url, database.url);
        Self {
            service: Setup::new().on_postgres(&url).start(),
            database,
            server,
        }
    }

    /// Runs a statement as somebody who may do everything.
    fn sql(&self, statement: &str) -> Vec<Vec<String>> {
        sql(&self.database.url, statement)
    }
}

/// Ends the writers, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes before, while and after something happens; returns the ids of what was acknowledged.
/// A write that was not is refused properly.
fn while_writing(client: &Client, happens: impl FnOnce()) -> Vec<String> {
    let over = AtomicBool::new(false);
    let acknowledged = Mutex::new(Vec::new());
    let body = json!({ "title": "Write the report" });
    thread::scope(|scope| {
        let _over = Over(&over);
        for _ in 0..WRITERS {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let answer = in_time(|| client.post("/api/v1/tasks", &body));
                    if answer.status == 201 {
                        let id = answer.body["id"].as_str().unwrap().to_owned();
                        acknowledged.lock().unwrap().push(id);
                    } else {
                        assert!(answer.is_unavailable(), "{answer:?}");
                    }
                }
            });
        }
        let writing_goes_well = || {
            let before = acknowledged.lock().unwrap().len();
            eventually("writing goes well", || {
                (acknowledged.lock().unwrap().len() >= before + ENOUGH).then_some(())
            });
        };
        writing_goes_well();
        happens();
        writing_goes_well();
    });
    acknowledged.into_inner().unwrap()
}

/// The ids of all tasks.
fn stored(client: &Client) -> HashSet<String> {
    let mut ids = HashSet::new();
    for page in 1.. {
        let answer = client.get(&format!("/api/v1/tasks?limit=100&page={page}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let items = answer.body["items"].as_array().unwrap();
        if items.is_empty() {
            break;
        }
        ids.extend(
            items
                .iter()
                .map(|task| task["id"].as_str().unwrap().to_owned()),
        );
    }
    ids
}

/// Checks how the service answers without its data.
fn is_up_without_data(service: &Service, client: &Client, path: &str) {
    let answers = at_once(CALLERS, |caller| match caller % 4 {
        0 => in_time(|| client.get(path)),
        1 => in_time(|| client.get("/api/v1/tasks")),
        2 => in_time(|| client.patch(path, &json!({ "version": 1, "title": "Another title" }))),
        _ => in_time(|| service.client().log_in("ada@example.com", PASSWORD)),
    });
    for answer in answers {
        assert!(answer.is_unavailable(), "{answer:?}");
    }
    let health = in_time(|| client.get("/health"));
    assert_eq!(
        (health.status, &health.body["status"]),
        (503, &"degraded".into())
    );
    assert_eq!(
        health.body["checks"],
        json!({ "database": "error", "redis": "disabled" })
    );
    let ready = in_time(|| client.get("/health/ready"));
    assert_eq!(
        (ready.status, &ready.body["status"]),
        (503, &"not_ready".into())
    );
    assert!(ready.body["reason"].is_string(), "{ready:?}");
    let live = in_time(|| client.get("/health/live"));
    assert_eq!(
        (live.status, live.body),
        (200, json!({ "status": "alive" }))
    );
}

/// Takes the database away and gives it back, while there are writers.
fn outage(inflict: impl FnOnce(&World), relieve: impl FnOnce(&World)) {
    survives(|world, client| {
        let (path, _) = client.create_task("Write the report");
        inflict(world);
        eventually("there is no data", || {
            let answer = in_time(|| client.get(&path));
            answer.is_unavailable().then_some(())
        });
        is_up_without_data(&world.service, client, &path);
        relieve(world);
    });
}

/// Checks that a service gets over what happens to its database while there are writers.
fn survives(happens: impl FnOnce(&World, &Client)) {
    let world = World::new();
    let service = &world.service;
    let (client, _) = service.register("ada@example.com");
    let acknowledged = while_writing(&client, || happens(&world, &client));

    eventually("the service is well", || {
        let paths = ["/health", "/health/ready"];
        let is_well = paths.iter().all(|path| client.get(path).status == 200);
        is_well.then_some(())
    });
    let stored = stored(&client);
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|id| !stored.contains(*id))
        .collect();
    assert!(
        lost.is_empty(),
        "of {} writes: {lost:?}",
        acknowledged.len()
    );
    let (path, task) = client.create_task("Business as usual");
    assert_eq!(client.get(&path).body, task);
    let logged_in = service.client().log_in("ada@example.com", PASSWORD);
    assert_eq!(logged_in.status, 200, "{logged_in:?}");
    eventually("no transaction is open", || {
        let open = world.sql(
            "SELECT pid FROM pg_stat_activity
             WHERE state LIKE 'idle in transaction%' AND datname = current_database()",
        );
        open.is_empty().then_some(())
    });

    let World { service, .. } = world;
    let output = service.stop(Signal::Terminate);
    assert_eq!(output.status, 0);
    let log = output.log();
    let failed: Vec<_> = log.iter().filter(|line| line["status"] == 500).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn a_database_that_was_stopped() {
    outage(|world| world.server.stop(), |world| world.server.restart());
}

#[test]
fn a_database_that_was_killed() {
    outage(|world| world.server.kill(), |world| world.server.restart());
}

#[test]
fn a_database_that_was_frozen() {
    outage(|world| world.server.freeze(), |world| world.server.thaw());
}

#[test]
fn a_database_that_was_restarted() {
    survives(|world, _| world.server.restart());
}

#[test]
fn a_database_without_free_connections() {
    outage(
        |world| {
            world.sql(&format!("ALTER ROLE {ROLE} CONNECTION LIMIT 0"));
            end_connections(world);
        },
        |world| {
            world.sql(&format!("ALTER ROLE {ROLE} CONNECTION LIMIT -1"));
        },
    );
}

#[test]
fn connections_that_the_database_ends() {
    survives(|world, _| end_connections(world));
}

fn end_connections(world: &World) {
    let ended = world.sql(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'"
    ));
    assert!(!ended.is_empty());
}

/// What an address may ask in a minute.
const ANONYMOUS: usize = 10;

/// Takes Redis away and gives it back.
fn redis_outage(inflict: impl FnOnce(&RedisServer), relieve: impl FnOnce(&RedisServer)) {
    let (database, redis) = (database(), redis());
    let service = Setup::new()
        .on_postgres(&database.url)
        .with("REDIS_URL", &redis.url())
        .with("ENABLE_RATE_LIMITING", "true")
        .with("RATE_LIMIT_USER", "1000000")
        .with("RATE_LIMIT_ANONYMOUS", &ANONYMOUS.to_string())
        .start();
    let (client, _) = service.register("ada@example.com");
    let (leaver, grant) = service.register("grace@example.com");
    let (path, task) = client.create_task("Write the report");
    assert_eq!(leaver.get("/api/v1/users/me").status, 200);
    assert_eq!(client.get("/health").body["checks"]["redis"], "ok");
    let guess = || service.client().log_in("nobody@example.com", PASSWORD);

    inflict(&redis);
    let read = at_once(CALLERS, |_| in_time(|| client.get(&path)));
    for answer in read {
        assert_eq!((answer.status, answer.body), (200, task.clone()));
    }
    client.create_task("Business as usual");
    let health = in_time(|| client.get("/health"));
    assert_eq!(
        (health.status, &health.body["status"]),
        (503, &"degraded".into())
    );
    assert_eq!(
        health.body["checks"],
        json!({ "database": "ok", "redis": "error" })
    );
    for path in ["/health/ready", "/health/live"] {
        assert_eq!(in_time(|| client.get(path)).status, 200, "{path}");
    }
    for _ in 0..ANONYMOUS {
        let answer = in_time(guess);
        assert!(answer.is_refusal(401, "invalid_credentials"), "{answer:?}");
    }
    let answer = in_time(guess);
    assert!(answer.is_refusal(429, "rate_limited"), "{answer:?}");
    // What Redis remembers of somebody must not outlive the outage.
    let is_out = || {
        let answer = in_time(|| leaver.get("/api/v1/users/me"));
        assert!(answer.is_refusal(401, "token_invalid"), "{answer:?}");
    };
    let token = json!({ "refresh_token": grant["refresh_token"] });
    let logged_out = in_time(|| leaver.post("/api/v1/auth/logout", &token));
    assert_eq!(logged_out.status, 204, "{logged_out:?}");
    is_out();

    relieve(&redis);
    eventually("requests are counted again", || {
        is_out();
        let answer = client.get("/api/v1/tasks");
        assert_eq!(answer.status, 200, "{answer:?}");
        (!answer.header("ratelimit").is_empty()).then_some(())
    });
    eventually("the service is well", || {
        (client.get("/health").status == 200).then_some(())
    });
    is_out();
    eventually(
        "Redis decides again, which does not know of the guesses",
        || guess().is_refusal(401, "invalid_credentials").then_some(()),
    );

    let output = service.stop(Signal::Terminate);
    assert_eq!(output.status, 0);
    let log = output.log();
    assert!(log.iter().all(|line| line["status"] != 500), "{log:?}");
}

#[test]
fn a_redis_that_was_stopped() {
    redis_outage(RedisServer::stop, RedisServer::restart);
}

#[test]
fn a_redis_that_was_killed() {
    redis_outage(RedisServer::kill, RedisServer::restart);
}

#[test]
fn a_redis_that_was_frozen() {
    redis_outage(RedisServer::freeze, RedisServer::thaw);
}

#[test]
fn a_redis_that_takes_no_writes() {
    redis_outage(
        |redis| assert_eq!(redis.command("REPLICAOF 127.0.0.1 1"), "+OK"),
        |redis| assert_eq!(redis.command("REPLICAOF NO ONE"), "+OK"),
    );
}

#[test]
fn a_redis_that_asks_for_a_password() {
    redis_outage(
        |redis| redis.config(&["--requirepass", SERVER_PASSWORD]),
        RedisServer::restart,
    );
}

#[test]
fn a_redis_that_was_flushed() {
    let redis = redis();
    let service = Setup::new()
        .with("REDIS_URL", &redis.url())
        .with("ENABLE_RATE_LIMITING", "true")
        .start();
    let (client, _) = service.register("ada@example.com");
    assert_eq!(client.get("/api/v1/users/me").status, 200);
    for command in ["FLUSHALL", "SCRIPT FLUSH"] {
        assert_eq!(redis.command(command), "+OK");
        eventually("requests are counted", || {
            let answer = client.get("/api/v1/users/me");
            assert_eq!(answer.status, 200, "{answer:?}");
            (!answer.header("ratelimit").is_empty()).then_some(())
        });
    }
    assert_eq!(client.get("/health").status, 200);
}

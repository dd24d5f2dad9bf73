//! The same service on `PostgreSQL` and Redis: nothing that a consumer sees differs.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::journey::journey;
use crate::lifecycle::survive_a_restart;
use crate::support::{
    Answer, PASSWORD, SERVER_PASSWORD, Service, Setup, Signal, at_once, database, database_on,
    eventually, postgres, redis,
};

/// `EX_CONFIG` of `sysexits.h`.
const CONFIG_STATUS: i32 = 78;
/// Part of every wrong password.
const HUSH: &str = "hush-hush";
/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";

/// The answer to a request that needs data, from somebody without a token.
fn register(service: &Service) -> Answer {
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "full_name": "Ada" });
    service.client().post("/api/v1/auth/register", &body)
}

/// The answers that say that there is no data, but that the process lives.
fn is_up_without_data(service: &Service) {
    let client = service.client();
    let refused = register(service);
    assert!(refused.is_unavailable(), "{refused:?}");
    let ready = client.get("/health/ready");
    assert_eq!(
        (ready.status, &ready.body["status"]),
        (503, &"not_ready".into())
    );
    assert!(ready.body["reason"].is_string(), "{ready:?}");
    assert_eq!(client.get("/health/live").status, 200);
}

fn is_soon_ready(service: &Service) {
    let client = service.client();
    eventually("the service is ready", || {
        (client.get("/health/ready").status == 200).then_some(())
    });
}

/// How often the log says that the database cannot be used.
fn unusable(log: &[Value]) -> usize {
    let says_so = |line: &&Value| {
        line["level"] == "WARN" && line["message"] == "the database cannot be used yet"
    };
    log.iter().filter(says_so).count()
}

#[test]
fn the_journey_is_the_same_on_postgres_and_redis() {
    let (database, redis) = (database(), redis());
    let setup = Setup::new()
        .on_postgres(&database.url)
        .with("REDIS_URL", &redis.url())
        .with("ENABLE_RATE_LIMITING", "true");
    journey(setup);
}

#[test]
fn data_and_tokens_survive_a_restart_on_postgres_and_redis() {
    let (database, redis) = (database(), redis());
    let setup = Setup::new()
        .on_postgres(&database.url)
        .with("REDIS_URL", &redis.url());
    survive_a_restart(&setup);
}

#[test]
fn instances_that_start_at_once_migrate_once() {
    const INSTANCES: usize = 4;
    let database = database();
    let setup = Setup::new()
        .on_postgres(&database.url)
        .with("JWT_SECRET_KEY", &"k".repeat(32));
    let services = at_once(INSTANCES, |_| setup.start());
    let mut migrated = Vec::new();
    for service in services {
        let output = service.stop(Signal::Terminate);
        assert_eq!(output.status, 0, "{output:?}");
        let log = output.log();
        assert_eq!(unusable(&log), 0, "{log:?}");
        let names = log.iter().filter(|line| line["message"] == "migrated");
        migrated.extend(names.map(|line| line["migration"].to_string()));
    }
    let once: BTreeSet<&String> = migrated.iter().collect();
    assert_eq!(once.len(), migrated.len(), "{migrated:?}");
    let known = setup.run(&["migrate", "status"]).stdout.lines().count();
    assert_eq!(migrated.len(), known);
}

#[test]
fn a_service_that_does_not_migrate_waits_for_somebody_who_does() {
    let database = database();
    let setup = Setup::new().with("DATABASE_URL", &database.url);
    let service = setup.start_listening();
    is_up_without_data(&service);
    let client = service.client();
    let ready = client.get("/health/ready");
    let reason = ready.body["reason"].as_str().unwrap();
    assert!(reason.contains("`task-api migrate`"), "{reason}");

    let output = setup.run(&["migrate"]);
    assert_eq!(output.status, 0, "{output:?}");
    is_soon_ready(&service);
    assert_eq!(register(&service).status, 201);

    // Somebody goes back: no more data until the schema fits again.
    assert_eq!(setup.run(&["migrate", "down"]).status, 0);
    eventually("the service is not ready", || {
        (client.get("/health/ready").status == 503).then_some(())
    });
    assert_eq!(setup.run(&["migrate", "up"]).status, 0);
    is_soon_ready(&service);
}

#[test]
fn migrations_go_up_and_down_by_hand() {
    let database = database();
    let setup = Setup::new().with("DATABASE_URL", &database.url);
    let run = |direction| {
        let output = setup.run(&["migrate", direction]);
        assert_eq!(output.status, 0, "{output:?}");
        assert_eq!(output.stderr, "");
        output.stdout
    };
    let all_are = |how: &str, text: &str| {
        assert!(!text.is_empty());
        assert!(text.lines().all(|line| line.starts_with(how)), "{text}");
    };
    all_are("pending ", &run("status"));
    let applied = run("up");
    all_are("applied ", &applied);
    assert_eq!(run("status"), applied);
    assert_eq!(run("up"), "nothing to be applied\n");
    for _ in applied.lines() {
        all_are("reverted ", &run("down"));
    }
    assert_eq!(run("down"), "nothing to be reverted\n");
    all_are("pending ", &run("status"));
    assert_eq!(run("up"), applied);
}

#[test]
fn a_database_out_of_reach_is_said_without_the_password() {
    let server = postgres();
    let database = database_on(&server);
    let wrong_password = database.url.replace(SERVER_PASSWORD, HUSH);
    assert_ne!(wrong_password, database.url);
    for url in [
        &format!("postgres://ada:{HUSH}@{NOWHERE}/tasks"),
        &format!("postgres://ada:{HUSH}@no.such.host.invalid/tasks"),
        &wrong_password,
        &server.url("no_such_database"),
    ] {
        let setup = Setup::new().on_postgres(url);
        let output = setup.run(&["migrate"]);
        assert_eq!(output.status, 1, "{url}: {output:?}");
        let line = output.one_line();
        assert!(!line.contains(HUSH), "{line}");
        assert!(line.contains("cannot migrate the database"), "{line}");

        let service = setup.start_listening();
        eventually("the log says it", || {
            (unusable(&service.log()) > 0).then_some(())
        });
        is_up_without_data(&service);
        let output = service.stop(Signal::Terminate);
        assert_eq!((output.status, output.stderr.as_str()), (0, ""));
        assert!(!output.stdout.contains(HUSH), "{output:?}");
        let log = output.log();
        assert_eq!(unusable(&log), 1, "{url}: {log:?}");
    }
}

#[test]
fn a_url_of_a_server_that_is_none_is_refused_at_start() {
    for (name, url) in [
        (
            "DATABASE_URL",
            &format!("postgres://ada:{HUSH}@db:port/tasks"),
        ),
        (
            "DATABASE_URL",
            &format!("postgres://ada:{HUSH}@db/tasks?sslmode=perhaps"),
        ),
        ("REDIS_URL", &format!("redis://:{HUSH}@cache:port")),
        ("REDIS_URL", &format!("redis://:{HUSH}@cache/tasks")),
    ] {
        let output = Setup::new().with(name, url).run(&["serve"]);
        assert_eq!(output.status, CONFIG_STATUS, "{url}: {output:?}");
        let line = output.one_line();
        assert!(line.starts_with(name), "{line}");
        assert!(!line.contains(HUSH), "{line}");
        assert!(!output.stdout.contains(HUSH), "{output:?}");
    }
}

#[test]
fn a_redis_out_of_reach_is_said_without_the_password() {
    let redis = redis();
    redis.config(&["--requirepass", "another"]);
    let wrong_password = redis
        .url()
        .replace("redis://", &format!("redis://:{HUSH}@"));
    for url in [
        &format!("redis://:{HUSH}@{NOWHERE}"),
        &format!("redis://:{HUSH}@no.such.host.invalid"),
        &wrong_password,
    ] {
        let service = Setup::new().with("REDIS_URL", url).start();
        let (client, _) = service.register("ada@example.com");
        client.create_task("Write the report");
        let health = client.get("/health");
        assert_eq!(
            (health.status, &health.body["status"]),
            (503, &"degraded".into())
        );
        assert_eq!(
            health.body["checks"],
            json!({ "database": "ok", "redis": "error" })
        );
        let output = service.stop(Signal::Terminate);
        assert_eq!((output.status, output.stderr.as_str()), (0, ""));
        assert!(!output.stdout.contains(HUSH), "{output:?}");
        let log = output.log();
        let said = log
            .iter()
            .any(|line| line["level"] == "WARN" && line["message"].to_string().contains("redis"));
        assert!(said, "{url}: {log:?}");
    }
}

#[test]
fn a_redis_with_a_password_is_used() {
    let redis = redis();
    redis.config(&["--requirepass", SERVER_PASSWORD]);
    let url = redis
        .url()
        .replace("redis://", &format!("redis://:{SERVER_PASSWORD}@"));
    let service = Setup::new().with("REDIS_URL", &url).start();
    let health = service.client().get("/health");
    assert_eq!(health.status, 200, "{health:?}");
    assert_eq!(health.body["checks"]["redis"], "ok");
}

#[test]
fn the_service_may_start_before_the_database() {
    let server = postgres();
    let database = database_on(&server);
    server.stop();
    let service = Setup::new().on_postgres(&database.url).start_listening();
    is_up_without_data(&service);
    let health = service.client().get("/health");
    assert_eq!(
        (health.status, &health.body["checks"]["database"]),
        (503, &"error".into())
    );

    server.restart();
    is_soon_ready(&service);
    assert_eq!(register(&service).status, 201);
    assert_eq!(service.client().get("/health").status, 200);
}

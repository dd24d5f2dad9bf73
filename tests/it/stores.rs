//! The same service on `PostgreSQL` and Redis: nothing that a consumer sees differs. And what is done to
//! a store by hand.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::journey::journey;
use crate::lifecycle::survive_a_restart;
use crate::support::{
    Answer, PASSWORD, SERVER_PASSWORD, Service, Setup, Signal, Store, at_once, database,
    database_on, eventually, on_every_store, postgres, redis,
};

on_every_store!(
    a_schema_behind_is_said_at_start,
    a_schema_ahead_is_said_at_start_and_by_migrate,
    cleanup_removes_what_is_over,
);

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

/// What the log says of troubles, other than of single requests.
fn troubles(log: &[Value]) -> Vec<&Value> {
    let is_trouble = |line: &&Value| {
        (line["level"] == "WARN" || line["level"] == "ERROR") && line["request_id"].is_null()
    };
    log.iter().filter(is_trouble).collect()
}

/// The one trouble that the log tells of.
fn one_trouble(log: &[Value]) -> &Value {
    let troubles = troubles(log);
    assert_eq!(troubles.len(), 1, "one clear line: {troubles:#?}");
    troubles[0]
}

fn tells_of_trouble(service: &Service) {
    eventually("the log tells of trouble", || {
        (!troubles(&service.log()).is_empty()).then_some(())
    });
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
        assert_eq!(troubles(&log), [&Value::Null; 0]);
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
    // So does what works beside the requests.
    service.mail_token("verify_email", "ada@example.com", 1);

    // Somebody goes back: no more data until the schema fits again.
    assert_eq!(setup.run(&["migrate", "down"]).status, 0);
    eventually("the service is not ready", || {
        (client.get("/health/ready").status == 503).then_some(())
    });
    assert_eq!(setup.run(&["migrate", "up"]).status, 0);
    is_soon_ready(&service);
}

/// Starts a service whose schema is not its own, and returns the one line that says so.
fn said_of_schema(setup: &Setup) -> Value {
    let service = setup.start_listening();
    tells_of_trouble(&service);
    is_up_without_readiness(&service);
    let output = service.stop(Signal::Terminate);
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    let log = output.log();
    let is_said_well = |line: &Value| line["message"] == "the database answers";
    assert!(!log.iter().any(is_said_well), "{log:#?}");
    let said = one_trouble(&log);
    assert_eq!(said["level"], "WARN", "{said}");
    said.clone()
}

fn is_up_without_readiness(service: &Service) {
    let client = service.client();
    assert_eq!(client.get("/health/ready").status, 503);
    assert_eq!(client.get("/health/live").status, 200);
}

fn a_schema_behind_is_said_at_start(store: &Store) {
    let setup = store.setup.clone().with("RUN_MIGRATIONS", "false");
    let said = said_of_schema(&setup);
    let all = setup.run(&["migrate"]).stdout.lines().count();
    assert_eq!(said["pending"], all, "{said}");

    assert_eq!(setup.run(&["migrate", "down"]).status, 0);
    let said = said_of_schema(&setup);
    assert_eq!(said["pending"], 1, "{said}");
    let message = said["message"].as_str().unwrap();
    assert!(message.contains("behind"), "{said}");
    assert!(message.contains("`task-api migrate`"), "{said}");
}

fn a_schema_ahead_is_said_at_start_and_by_migrate(store: &Store) {
    let setup = store.setup.clone();
    // It lacks one, too, which is applied all the same where that is wanted.
    for direction in ["up", "down"] {
        assert_eq!(setup.run(&["migrate", direction]).status, 0);
    }
    store.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')");
    for run_migrations in ["true", "false"] {
        let setup = setup.clone().with("RUN_MIGRATIONS", run_migrations);
        let said = said_of_schema(&setup);
        assert_eq!(said["unknown"], 1, "{said}");
        assert!(
            said["message"].as_str().unwrap().contains("ahead"),
            "{said}"
        );
    }
    let output = setup.run(&["migrate", "up"]);
    assert_eq!((output.status, output.stdout.as_str()), (1, ""));
    let line = output.one_line();
    assert!(line.contains("ahead"), "{line}");
    assert!(line.contains("9999"), "{line}");
    let status = setup.run(&["migrate", "status"]);
    assert_eq!(status.status, 0, "{status:?}");
    assert!(status.stdout.contains("unknown 9999\n"), "{status:?}");
    assert!(!status.stdout.contains("pending"), "{status:?}");
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
        tells_of_trouble(&service);
        is_up_without_data(&service);
        let output = service.stop(Signal::Terminate);
        assert_eq!((output.status, output.stderr.as_str()), (0, ""));
        assert!(!output.stdout.contains(HUSH), "{output:?}");
        let log = output.log();
        let said = one_trouble(&log);
        assert_eq!(said["message"], "the database cannot be used yet", "{url}");
        assert!(said["error"].is_string(), "{said}");
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
    redis.config(&["--requirepass", SERVER_PASSWORD]);
    let url = |scheme, password| {
        redis
            .url()
            .replace("redis://", &format!("{scheme}://:{password}@"))
    };
    for url in [
        format!("redis://:{HUSH}@{NOWHERE}"),
        format!("redis://:{HUSH}@no.such.host.invalid"),
        url("redis", HUSH),
        format!("{}/99", url("redis", SERVER_PASSWORD)),
        url("rediss", SERVER_PASSWORD),
    ] {
        let service = Setup::new().with("REDIS_URL", &url).start_listening();
        // Before anybody needs it.
        eventually("the log says it", || {
            let log = service.log();
            let mut said = troubles(&log).into_iter().filter(|line| {
                line["message"].to_string().contains("REDIS_URL") && line["error"].is_string()
            });
            said.next().map(drop)
        });
        is_soon_ready(&service);
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
        for password in [HUSH, SERVER_PASSWORD] {
            assert!(!output.stdout.contains(password), "{output:?}");
        }
        let log = output.log();
        let named = |line: &&Value| line["message"].to_string().contains("REDIS_URL");
        assert_eq!(log.iter().filter(named).count(), 1, "{url}: {log:?}");
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

const DAY: i64 = 24 * 60 * 60;

/// Sets the instants in a column to some days before those in another.
fn set_back(store: &Store, table: &str, column: &str, days: i64, from: &str) {
    let instant = store.earlier(from, days * DAY);
    store.execute(&format!(
        "UPDATE {table} SET {column} = {instant} WHERE {from} IS NOT NULL"
    ));
}

fn cleanup_removes_what_is_over(store: &Store) {
    // Mails wait, so that there is one to give up.
    let setup = store.setup.clone().without_mail_server();
    let service = setup.start();

    // Of each kind something that is over, and then something that is not, or not for long enough.
    service.register("ada@example.com");
    set_back(store, "sessions", "expires_at", 7, "expires_at");
    set_back(store, "refresh_tokens", "expires_at", 7, "expires_at");
    eventually("the mail was tried", || {
        (store.count("outbox WHERE attempts > 0") == 1).then_some(())
    });
    // Given up first: another attempt would make its token new.
    set_back(store, "outbox", "dead_at", 7, "created_at");
    let token = "verification_token_expires_at";
    set_back(store, "users", token, 1, token);
    let login = service.client().log_in("ada@example.com", PASSWORD).body;
    assert_eq!(service.client().refresh(&login).status, 200);
    let used = store.earlier("expires_at", 7 * DAY);
    store.execute(&format!(
        "UPDATE refresh_tokens SET expires_at = {used} WHERE revoked_at IS NOT NULL"
    ));
    let logout = service.client().log_in("ada@example.com", PASSWORD).body;
    let token = json!({ "refresh_token": logout["refresh_token"] });
    assert_eq!(service.client().auth("logout", &token).status, 204);
    let ada = service.signed_in(&login);
    let delete_a_task = || assert_eq!(ada.delete(&ada.create_task("Report").0).status, 204);
    delete_a_task();
    set_back(store, "tasks", "deleted_at", 30, "deleted_at");
    delete_a_task();
    let (_, bobs) = service.register("bob@example.com");

    let service = if store.is_sqlite() {
        let output = setup.run(&["cleanup"]);
        assert_eq!((output.status, output.stdout.as_str()), (1, ""));
        let line = output.one_line();
        let expected = "tasks.db is in use by another process";
        assert!(line.contains(expected), "{line}");
        assert_eq!(service.stop(Signal::Terminate).status, 0);
        None
    } else {
        Some(service)
    };
    let clean_up = |setup: &Setup, expected: [u32; 5]| {
        let output = setup.run(&["cleanup"]);
        assert_eq!(
            (output.status, output.stderr.as_str()),
            (0, ""),
            "{output:?}"
        );
        let kinds = [
            "sessions",
            "refresh_tokens",
            "mail_tokens",
            "dead_mails",
            "deleted_tasks",
        ];
        let report: BTreeSet<String> = expected
            .iter()
            .zip(kinds)
            .map(|(count, kind)| format!("removed {count} {kind}"))
            .collect();
        let lines: BTreeSet<String> = output.stdout.lines().map(str::to_owned).collect();
        assert_eq!(lines, report);
    };
    let for_ever = setup.clone().with("DELETED_TASK_RETENTION_DAYS", "0");
    clean_up(&for_ever, [2, 3, 1, 1, 0]);
    assert_eq!(store.count("tasks"), 2);
    clean_up(&setup, [0, 0, 0, 0, 1]);
    clean_up(&setup, [0; 5]);
    let left = ["users", "sessions", "refresh_tokens", "outbox", "tasks"];
    assert_eq!(left.map(|table| store.count(table)), [2, 2, 2, 1, 1]);

    // Whoever is signed in notices nothing.
    let service = service.unwrap_or_else(|| setup.start());
    service.are_open(&[&login, &bobs]);
    assert_eq!(service.client().refresh(&bobs).status, 200);
}

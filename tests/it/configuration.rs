//! The configuration, and the sub-commands that go with it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use crate::support::{Service, Setup, Signal, send_raw};

/// `EX_CONFIG` of `sysexits.h`.
const CONFIG_STATUS: i32 = 78;
/// Long enough for a key, and easy to find where it should not be.
const KEY: &str = "hush-hush-hush-hush-hush-hush-hush-hush";

/// The variables that the lines of a refusal name.
fn refused(setup: &Setup) -> Vec<String> {
    let output = setup.run(&["serve"]);
    assert_eq!(output.status, CONFIG_STATUS, "{output:?}");
    assert_eq!(output.stdout, "", "nothing is logged, so nothing listens");
    assert!(!output.stderr.contains("hush"), "{output:?}");
    let lines = output.stderr.lines();
    let mut names: Vec<String> = lines
        .map(|line| {
            assert!(line.contains("; allowed: "), "{line}");
            line.split(' ').next().unwrap().to_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn every_wrong_variable_is_named_at_once_and_no_secret_is_told() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let wrong = [
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "0"),
        ("BCRYPT_COST", "16"),
        ("CORS_ORIGINS", "no-origin"),
        ("DATABASE_POOL_SIZE", "201"),
        ("DATABASE_URL", "mysql://ada:hush-database@db/tasks"),
        ("DELETED_TASK_RETENTION_DAYS", "-1"),
        ("EMAIL_BACKEND", "pigeon"),
        ("ENABLE_METRICS", "perhaps"),
        ("ENABLE_RATE_LIMITING", "maybe"),
        ("JWT_ALGORITHM", "none"),
        ("JWT_SECRET_KEY", "hush-short"),
        ("JWT_SECRET_KEY_PREV", "hush-short-too"),
        ("LOG_FORMAT", "xml"),
        ("PUBLIC_URL", "ftp://ada:hush-url@example.com"),
        ("RATE_LIMIT_ANONYMOUS", "0"),
        ("RATE_LIMIT_USER", "many"),
        ("RATE_LIMIT_WINDOW_SECONDS", "-1"),
        ("REDIS_URL", "http://:hush-redis@cache"),
        ("REFRESH_TOKEN_EXPIRE_DAYS", "31"),
        ("REQUIRE_VERIFIED_EMAIL", "yes, please"),
        ("RUN_MIGRATIONS", "later"),
        ("SMTP_FROM", "nobody"),
        ("SMTP_HOST", "two words"),
        ("SMTP_PORT", "0"),
        ("SMTP_TLS", "ssl3"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
    ];
    let setup = Setup::new()
        .with("PORT", &address.port().to_string())
        .with("SMTP_PASSWORD", "hush-mail");
    let setup = wrong
        .iter()
        .fold(setup, |setup, (name, value)| setup.with(name, value));
    assert_eq!(refused(&setup), wrong.map(|(name, _)| name));
    TcpStream::connect(address).unwrap_err();
}

#[test]
fn an_unknown_environment_and_a_wrong_address_are_named() {
    let setup = Setup::new()
        .with("APP_ENV", "staging")
        .with("HOST", "no.such.host.invalid")
        .with("PORT", "65536");
    assert_eq!(refused(&setup), ["APP_ENV", "HOST", "PORT"]);
}

#[test]
fn production_asks_for_more() {
    let setup = Setup::new()
        .with("APP_ENV", "production")
        .with("BCRYPT_COST", "9")
        .with("CORS_ORIGINS", "*");
    let expected = [
        "BCRYPT_COST",
        "CORS_ORIGINS",
        "EMAIL_BACKEND",
        "JWT_SECRET_KEY",
    ];
    assert_eq!(refused(&setup), expected);
}

#[test]
fn a_mail_server_asks_for_more() {
    let setup = Setup::new().with("EMAIL_BACKEND", "smtp");
    assert_eq!(refused(&setup), ["SMTP_FROM", "SMTP_HOST"]);
    let setup = setup
        .with("SMTP_FROM", "Tasks <tasks@example.com>")
        .with("SMTP_HOST", "mail.example.com")
        .with("SMTP_PASSWORD", "hush-mail");
    assert_eq!(refused(&setup), ["SMTP_USERNAME"]);
    let setup = setup
        .with("APP_ENV", "production")
        .with("BCRYPT_COST", "10")
        .with("JWT_SECRET_KEY", KEY)
        .with("SMTP_TLS", "none")
        .with("SMTP_USERNAME", "tasks");
    assert_eq!(refused(&setup), ["SMTP_TLS"]);
}

#[test]
fn production_sends_its_headers_and_keeps_its_key_to_itself() {
    let setup = Setup::new()
        .with("APP_ENV", "production")
        .with("BCRYPT_COST", "10")
        .with("ALLOW_CONSOLE_EMAIL", "true")
        .with("JWT_SECRET_KEY", KEY);
    let service = setup.start();
    let (client, _) = service.register("ada@example.com");
    for path in ["/health", "/api/v1/tasks", "/no/such/path"] {
        let answer = client.get(path);
        for (name, value) in [
            (
                "strict-transport-security",
                "max-age=63072000; includeSubDomains",
            ),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "strict-origin-when-cross-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
    }
    let kept = setup.database().with_file_name("jwt_secret_key");
    assert!(!kept.exists(), "a key that is given needs no file");
    let output = service.stop(Signal::Terminate);
    assert!(!output.stdout.contains(KEY) && !output.stderr.contains(KEY));
}

#[test]
fn config_shows_what_holds_but_no_secret() {
    let output = Setup::new()
        .with("JWT_SECRET_KEY", KEY)
        .with("JWT_SECRET_KEY_PREV", KEY)
        .with("SMTP_PASSWORD", "hush-mail")
        .with("RATE_LIMIT_USER", "7")
        .run(&["config"]);
    assert_eq!(output.status, 0, "{output:?}");
    assert!(!output.stdout.contains("hush"), "{output:?}");
    let lines: Vec<&str> = output.stdout.lines().collect();
    for line in [
        "APP_ENV=test",
        "DELETED_TASK_RETENTION_DAYS=30",
        "EMAIL_BACKEND=console",
        "JWT_ALGORITHM=HS256",
        "JWT_SECRET_KEY=***",
        "JWT_SECRET_KEY_PREV=***",
        "RATE_LIMIT_USER=7",
        "RATE_LIMIT_ANONYMOUS=20",
        "SMTP_PASSWORD=***",
    ] {
        assert!(lines.contains(&line), "{line}: {lines:?}");
    }
}

#[test]
fn nothing_has_to_be_set_in_development() {
    let setup = Setup::empty();
    // But several tests cannot share one port.
    fs::write(
        setup.folder().join(".env"),
        "PORT=0\nLOG_FORMAT=pretty\nBCRYPT_COST=4\n",
    )
    .unwrap();
    let service = setup.start();
    service.register("ada@example.com");
    assert!(setup.folder().join("data/tasks.db").exists());
    assert!(setup.folder().join("data/jwt_secret_key").exists());

    let output = service.stop(Signal::Interrupt);
    let shown = output
        .stdout
        .lines()
        .find(|line| line.contains("listening"));
    let shown = shown.unwrap();
    assert!(
        shown.contains("tasks.db") && shown.contains("/docs"),
        "{shown}"
    );
}

#[test]
fn a_dotenv_file_is_for_development_only_and_the_environment_wins() {
    let setup = Setup::empty();
    fs::write(
        setup.folder().join(".env"),
        "PORT=1234\nRATE_LIMIT_USER=7\n",
    )
    .unwrap();
    let shows = |setup: &Setup, expected: [&str; 2]| {
        let output = setup.run(&["config"]);
        assert_eq!(output.status, 0, "{output:?}");
        for line in expected {
            assert!(
                output.stdout.lines().any(|shown| shown == line),
                "{output:?}"
            );
        }
    };
    shows(&setup, ["PORT=1234", "RATE_LIMIT_USER=7"]);
    let setup = setup.with("PORT", "4321");
    shows(&setup, ["PORT=4321", "RATE_LIMIT_USER=7"]);
    let setup = setup.with("APP_ENV", "test");
    shows(&setup, ["PORT=4321", "RATE_LIMIT_USER=100"]);
}

#[test]
fn settings_reach_the_service() {
    let service = Setup::new()
        .with("ACCESS_TOKEN_EXPIRE_MINUTES", "3")
        .with("REQUIRE_VERIFIED_EMAIL", "true")
        .with("ENABLE_RATE_LIMITING", "true")
        .with("RATE_LIMIT_ANONYMOUS", "2")
        .with("RATE_LIMIT_USER", "3")
        .with("TRUSTED_PROXIES", "127.0.0.0/8")
        .with("CORS_ORIGINS", "https://app.example.com")
        .start();

    let (client, grant) = service.register("ada@example.com");
    assert_eq!(grant["expires_in"], 3 * 60);
    let tasks = || client.get("/api/v1/tasks");
    for _ in 0..3 {
        assert!(tasks().is_refusal(403, "email_not_verified"));
    }
    assert!(tasks().is_refusal(429, "rate_limited"));

    // From here on the address has one request left, the registration having been the first; an
    // address that the trusted proxy names has all of its own.
    let ask = |headers: &str| {
        let request = format!(
            "GET /api/v1/tasks HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n"
        );
        send_raw(service.address(), request.as_bytes())
    };
    let origin = "origin: https://app.example.com\r\n";
    let allowed = ask(origin);
    assert_eq!(allowed.status, 401, "{allowed:?}");
    assert!(
        allowed
            .head
            .contains("access-control-allow-origin: https://app.example.com")
    );
    assert_eq!(ask("").status, 429);
    assert_eq!(ask("x-forwarded-for: 192.0.2.1\r\n").status, 401);
    let denied = ask("x-forwarded-for: 192.0.2.2\r\norigin: https://evil.example.com\r\n");
    assert!(
        !denied.head.contains("access-control-allow-origin"),
        "{denied:?}"
    );
}

#[test]
fn openapi_prints_the_committed_document() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi.json");
    let committed = fs::read_to_string(committed).expect("openapi.json: run `just openapi`");
    let output = Setup::new().run(&["openapi"]);
    assert_eq!(output.status, 0, "{output:?}");
    assert!(
        output.stdout == committed,
        "openapi.json is not what the code generates: run `just openapi`"
    );
}

#[test]
fn migrations_go_up_and_down() {
    let setup = Setup::new();
    let run = |direction: &str| {
        let output = setup.run(&["migrate", direction]);
        assert_eq!(output.status, 0, "{output:?}");
        output.stdout
    };
    let all_are =
        |how: &str, text: &str| !text.is_empty() && text.lines().all(|line| line.starts_with(how));
    let status = run("status");
    assert!(all_are("pending ", &status), "{status}");
    let migrations = status.lines().count();

    let up = run("up");
    assert!(all_are("applied ", &up), "{up}");
    assert_eq!(up.lines().count(), migrations);
    assert!(all_are("applied ", &run("status")));

    for _ in 0..migrations {
        let down = run("down");
        assert!(all_are("reverted ", &down), "{down}");
        assert_eq!(down.lines().count(), 1);
    }
    assert!(all_are("pending ", &run("status")));
    run("up");
    let service = setup.start();
    service.register("ada@example.com");
    // Whoever has the database open may be asked about.
    assert!(all_are("applied ", &run("status")));
}

#[test]
fn without_migrations_it_is_not_ready_and_says_why() {
    let setup = Setup::new().with("RUN_MIGRATIONS", "false");
    let service = setup.start_listening();
    let answer = service.client().get("/health/ready");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.body["status"], "not_ready");
    let reason = answer.body["reason"].as_str().unwrap();
    assert!(reason.contains("task-api migrate"), "{reason}");
    assert_eq!(service.client().get("/health/live").status, 200);

    let check = setup.clone().with("PORT", service.port());
    let output = check.run(&["healthcheck"]);
    assert_eq!(output.status, 1, "{output:?}");
    assert!(output.one_line().contains(reason), "{output:?}");
    assert_eq!(service.stop(Signal::Terminate).status, 0);

    assert_eq!(setup.run(&["migrate"]).status, 0);
    setup.start().register("ada@example.com");
}

#[test]
fn healthcheck_tells_whether_the_service_is_ready() {
    let setup = Setup::new();
    let service = setup.start();
    let check = setup.with("PORT", service.port());
    let output = check.run(&["healthcheck"]);
    assert_eq!((output.status, output.stdout.as_str()), (0, "ready\n"));

    assert_eq!(service.stop(Signal::Terminate).status, 0);
    let output = check.run(&["healthcheck"]);
    assert_eq!(output.status, 1, "{output:?}");
    output.one_line();
}

#[test]
fn the_version_is_told() {
    let version = concat!("task-api ", env!("CARGO_PKG_VERSION"), "\n");
    let output = Setup::empty().run(&["--version"]);
    assert_eq!((output.status, output.stdout.as_str()), (0, version));
    let health = Service::start().client().get("/health").body;
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
}

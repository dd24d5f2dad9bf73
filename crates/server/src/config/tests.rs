use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::*;

/// Longer than it has to be, and told by nobody.
const SECRET: &str = "a-secret-that-nobody-may-ever-see-in-print";

fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let pairs = pairs.iter().map(|(n, v)| ((*n).into(), (*v).into()));
    Config::read(&Source::new(pairs), false)
}

fn config(pairs: &[(&str, &str)]) -> Config {
    read(pairs).unwrap()
}

/// The lines about what is wrong.
fn errors(pairs: &[(&str, &str)]) -> Vec<String> {
    read(pairs).unwrap_err().0
}

/// The one line about what is wrong, which names the variable.
fn error(pairs: &[(&str, &str)], name: &str) -> String {
    let mut errors = errors(pairs);
    assert_eq!(errors.len(), 1, "{errors:?}");
    let line = errors.remove(0);
    assert!(line.starts_with(&format!("{name} ")), "{line}");
    assert!(line.contains("; allowed: "), "{line}");
    assert!(!line.contains('\n'), "{line}");
    line
}

/// Each of these values is refused, whatever else is set.
fn refused(name: &str, values: &[&str]) {
    for value in values {
        error(&[(name, value)], name);
    }
}

fn production<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut pairs = vec![
        ("APP_ENV", "production"),
        ("JWT_SECRET_KEY", SECRET),
        ("ALLOW_CONSOLE_EMAIL", "true"),
    ];
    pairs.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    pairs.extend(more);
    pairs
}

#[test]
fn nothing_has_to_be_set_in_development() {
    let config = config(&[]);
    assert_eq!(config.environment, Environment::Development);
    assert!(!config.production());
    assert_eq!(config.host.url(config.port), "http://127.0.0.1:8000");
    assert_eq!(config.public_url, None);
    assert_eq!(file(&config), Some(Path::new("data/tasks.db")));
    assert!(config.redis.is_none());
    assert_eq!(config.database_pool_size, 10);
    assert!(config.run_migrations);
    assert!(config.jwt_secret_key.is_none() && config.jwt_secret_key_prev.is_none());
    assert_eq!(config.jwt_algorithm, JwtAlgorithm::Hs256);
    assert_eq!(config.sessions.access_token_ttl, Duration::from_mins(15));
    assert_eq!(
        config.sessions.refresh_token_ttl,
        Duration::from_hours(7 * 24)
    );
    assert_eq!(config.bcrypt_cost, 12);
    assert_eq!(config.verified_only, VerifiedOnly(false));
    assert_eq!(
        config.cors_origins,
        ["http://localhost:3000", "http://localhost:8000"]
    );
    assert_eq!(config.trusted_proxies, []);
    let limits = config.rate_limits.unwrap();
    let window = Duration::from_mins(1);
    assert_eq!(limits.user, Quota { limit: 100, window });
    assert_eq!(limits.anonymous, Quota { limit: 20, window });
    assert_eq!(config.bounds, Bounds::default());
    assert_eq!(config.metrics_port, None);
    assert_eq!(config.log_level, "info");
    assert_eq!(config.log_format, LogFormat::Json);
}

#[test]
fn every_variable_is_read_and_listed_in_the_order_of_the_table() {
    let listing = config(&[]).listing();
    let names: Vec<&str> = listing
        .lines()
        .map(|line| line.split_once('=').unwrap().0)
        .collect();
    let table: Vec<&str> = variables::ALL.iter().map(|v| v.name).collect();
    assert_eq!(names, table);
}

#[test]
fn an_unknown_variable_is_ignored_and_an_empty_one_is_unset() {
    let config = config(&[("PROT", "x"), ("PORT", ""), ("HOST", "  ")]);
    assert_eq!(config.host.url(config.port), "http://127.0.0.1:8000");
}

#[test]
fn everything_wrong_is_named_at_once() {
    let names: Vec<String> = errors(&[
        ("APP_ENV", "staging"),
        ("PORT", "99999"),
        ("JWT_SECRET_KEY", "short"),
        ("BCRYPT_COST", "x"),
        ("EMAIL_BACKEND", "smtp"),
        ("CORS_ORIGINS", "localhost"),
        ("LOG_FORMAT", "xml"),
    ])
    .iter()
    .map(|line| line.split_once(' ').unwrap().0.to_owned())
    .collect();
    assert_eq!(
        names,
        [
            "APP_ENV",
            "PORT",
            "JWT_SECRET_KEY",
            "BCRYPT_COST",
            "SMTP_HOST",
            "SMTP_FROM",
            "CORS_ORIGINS",
            "LOG_FORMAT"
        ]
    );
}

#[test]
fn what_is_wrong_in_a_dotenv_file_is_named_along_with_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let dotenv = folder.path().join(".env");
    let load = |pairs: &[(&str, &str)], text: &str| {
        std::fs::write(&dotenv, text).unwrap();
        let pairs = pairs.iter().map(|(n, v)| ((*n).into(), (*v).into()));
        Config::load_from(Source::new(pairs), &dotenv, false)
    };
    assert_eq!(
        load(&[("HOST", "::1")], "PORT=81\nHOST=::2")
            .unwrap()
            .host
            .name,
        "::1"
    );
    assert_eq!(load(&[], "PORT=81\n").unwrap().port, 81);
    assert_eq!(load(&[], "PORT 81\n").unwrap_err().0.len(), 1);
    let lines = load(&[("BCRYPT_COST", "3")], "PORT=x\nJWT_SECRET_KEY hush\n")
        .unwrap_err()
        .0;
    for (line, wanted) in lines.iter().zip([".env line 2 ", "PORT ", "BCRYPT_COST "]) {
        assert!(line.contains(wanted), "{lines:?}");
    }
    assert_eq!(lines.len(), 3, "{lines:?}");
}

#[test]
fn an_error_says_what_is_wrong_and_what_is_allowed() {
    assert_eq!(
        errors(&[("PORT", "80a")]),
        [r#"PORT is not a whole number: "80a"; allowed: a whole number from 0 to 65535"#]
    );
    assert_eq!(
        errors(&[("PORT", "1\n2")]),
        [r#"PORT is not a whole number: "1\n2"; allowed: a whole number from 0 to 65535"#]
    );
    assert_eq!(
        errors(&[("JWT_SECRET_KEY", "short")]),
        ["JWT_SECRET_KEY is too short; allowed: at least 32 bytes"]
    );
}

#[test]
fn what_is_not_utf_8_is_refused() {
    let bytes = OsString::from_vec([&[0xff_u8; 40][..]].concat());
    for name in ["JWT_SECRET_KEY", "PORT"] {
        let source = Source::new([(name.into(), bytes.clone())]);
        let lines = Config::read(&source, false).unwrap_err().0;
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].starts_with(&format!("{name} is not UTF-8")),
            "{lines:?}"
        );
    }
}

#[test]
fn the_environment_is_one_of_three() {
    for name in ["development", "test"] {
        assert_eq!(config(&[("APP_ENV", name)]).environment.as_str(), name);
    }
    assert!(config(&production(&[])).production());
    refused("APP_ENV", &["Production", "prod", "staging"]);
}

#[test]
fn whole_numbers_have_bounds() {
    for (name, min, max) in [
        ("PORT", 0, 65_535),
        ("DATABASE_POOL_SIZE", 1, 200),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", 1, 1440),
        ("REFRESH_TOKEN_EXPIRE_DAYS", 1, 30),
        ("BCRYPT_COST", 4, 15),
        ("SMTP_PORT", 1, 65_535),
        ("RATE_LIMIT_USER", 1, 1_000_000_000),
        ("RATE_LIMIT_ANONYMOUS", 1, 1_000_000_000),
        ("RATE_LIMIT_WINDOW_SECONDS", 1, 86_400),
        ("METRICS_PORT", 0, 65_535),
        ("REQUEST_TIMEOUT_SECONDS", 1, 5),
        ("BODY_TIMEOUT_SECONDS", 1, 4),
        ("HEADER_TIMEOUT_SECONDS", 1, 60),
        ("KEEP_ALIVE_SECONDS", 1, 3600),
        ("SHUTDOWN_DELAY_SECONDS", 0, 300),
        ("MAX_BODY_BYTES", 1024, 1_048_576),
        ("MAX_CONNECTIONS", 1, 1_000_000),
    ] {
        for good in [min, max] {
            config(&[(name, &good.to_string())]);
        }
        let above = (max + 1).to_string();
        let below = (min - 1).to_string();
        let huge = "9".repeat(40);
        refused(
            name,
            &[&above, &below, &huge, "1.5", "+5", "1e1", "ten", "0x10"],
        );
        let rule = variables::ALL.iter().find(|v| v.name == name).unwrap().rule;
        assert!(
            rule.starts_with(&format!("a whole number from {min} to {max}")),
            "{rule}"
        );
    }
}

#[test]
fn numbers_arrive_where_they_belong() {
    let config = config(&[
        ("PORT", "81"),
        ("DATABASE_POOL_SIZE", "3"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "2"),
        ("REFRESH_TOKEN_EXPIRE_DAYS", "3"),
        ("BCRYPT_COST", "4"),
        ("RATE_LIMIT_USER", "5"),
        ("RATE_LIMIT_ANONYMOUS", "6"),
        ("RATE_LIMIT_WINDOW_SECONDS", "7"),
    ]);
    assert_eq!((config.port, config.database_pool_size), (81, 3));
    assert_eq!(config.sessions.access_token_ttl, Duration::from_mins(2));
    assert_eq!(config.sessions.refresh_token_ttl, Duration::from_hours(72));
    assert_eq!(config.bcrypt_cost, 4);
    let limits = config.rate_limits.unwrap();
    let window = Duration::from_secs(7);
    assert_eq!(limits.user, Quota { limit: 5, window });
    assert_eq!(limits.anonymous, Quota { limit: 6, window });
}

#[test]
fn bounds_arrive_where_they_belong() {
    let config = config(&[
        ("REQUEST_TIMEOUT_SECONDS", "1"),
        ("BODY_TIMEOUT_SECONDS", "2"),
        ("HEADER_TIMEOUT_SECONDS", "3"),
        ("KEEP_ALIVE_SECONDS", "4"),
        ("SHUTDOWN_DELAY_SECONDS", "5"),
        ("MAX_BODY_BYTES", "2048"),
        ("MAX_CONNECTIONS", "6"),
    ]);
    let expected = Bounds {
        request_timeout: Duration::from_secs(1),
        body_timeout: Duration::from_secs(2),
        header_timeout: Duration::from_secs(3),
        keep_alive: Duration::from_secs(4),
        shutdown_delay: Duration::from_secs(5),
        max_body_bytes: 2048,
        max_connections: 6,
    };
    assert_eq!(config.bounds, expected);
}

#[test]
fn metrics_have_a_port_of_their_own() {
    assert_eq!(config(&[("METRICS_PORT", "81")]).metrics_port, Some(81));
    let free = config(&[("PORT", "0"), ("METRICS_PORT", "0")]);
    assert_eq!(free.metrics_port, Some(0));
    let line = error(&[("METRICS_PORT", "8000")], "METRICS_PORT");
    assert!(line.starts_with("METRICS_PORT is PORT too: "), "{line}");
    error(&[("PORT", "81"), ("METRICS_PORT", "81")], "METRICS_PORT");
}

#[test]
fn booleans_are_true_false_1_and_0() {
    for (text, value) in [
        ("true", true),
        ("1", true),
        ("TRUE", true),
        ("false", false),
        ("0", false),
        ("False", false),
    ] {
        let config = config(&[
            ("RUN_MIGRATIONS", text),
            ("REQUIRE_VERIFIED_EMAIL", text),
            ("ENABLE_RATE_LIMITING", text),
        ]);
        assert_eq!(config.run_migrations, value);
        assert_eq!(config.verified_only, VerifiedOnly(value));
        assert_eq!(config.rate_limits.is_some(), value);
    }
    for name in [
        "RUN_MIGRATIONS",
        "REQUIRE_VERIFIED_EMAIL",
        "ALLOW_CONSOLE_EMAIL",
        "ENABLE_RATE_LIMITING",
        "ENABLE_METRICS",
    ] {
        refused(name, &["yes", "on", "2", "t"]);
    }
}

#[test]
fn the_host_is_an_address_or_a_name() {
    let url = |host| config(&[("HOST", host)]).host.url(80);
    assert_eq!(url("0.0.0.0"), "http://0.0.0.0:80");
    assert_eq!(url("::1"), "http://[::1]:80");
    assert_eq!(url("localhost"), "http://localhost:80");
    assert!(config(&[("HOST", "localhost")]).host.address.is_loopback());
    refused(
        "HOST",
        &["http://localhost", "a b", "[::1]", "127.0.0.1:80"],
    );
}

#[test]
fn the_public_url_is_an_absolute_http_url() {
    for good in ["http://localhost:3000", "https://example.org/app/"] {
        let url = config(&[("PUBLIC_URL", good)]).public_url.unwrap();
        assert!(url.as_str().starts_with(good));
    }
    refused(
        "PUBLIC_URL",
        &[
            "example.org",
            "/app",
            "ftp://example.org",
            "http://",
            "http://me:pw@example.org",
            "http://example.org/?a=b",
            "http://example.org/#a",
        ],
    );
}

fn file(config: &Config) -> Option<&Path> {
    match &config.database {
        Database::Sqlite(path) => Some(path),
        Database::Postgres(_) => None,
    }
}

#[test]
fn the_database_is_a_file_or_on_a_server() {
    for (url, path, folder) in [
        ("sqlite://a/b.db", "a/b.db", "a"),
        ("sqlite:///var/b.db", "/var/b.db", "/var"),
    ] {
        let config = config(&[("DATABASE_URL", url)]);
        assert_eq!(file(&config), Some(Path::new(path)));
        assert_eq!(config.database.folder(), Path::new(folder));
    }
    for url in [
        "postgres://u:hush@db/tasks",
        "postgresql://u:hush@db:5432/t?sslmode=require",
    ] {
        let config = config(&[("DATABASE_URL", url)]);
        assert_eq!(file(&config), None);
        assert_eq!(config.database.folder(), Path::new("data"));
        assert!(!config.database_place().contains("hush"));
    }
    refused(
        "DATABASE_URL",
        &[
            "data/tasks.db",
            "sqlite:data/tasks.db",
            "sqlite://",
            "sqlite:///",
            "sqlite://data/",
            "sqlite://:memory:",
            "sqlite://data/tasks.db?mode=ro",
            "mysql://localhost/tasks",
            "postgres://",
            "postgres",
        ],
    );
}

#[test]
fn redis_is_named_by_its_url() {
    for url in ["redis://:hush@cache:6379", "rediss://cache/1"] {
        let redis = config(&[("REDIS_URL", url)]).redis.unwrap();
        assert_eq!(redis.expose_secret(), url);
    }
    refused("REDIS_URL", &["cache:6379", "http://cache", "redis://"]);
}

#[test]
fn a_password_that_is_not_encoded_is_refused_and_never_shown() {
    for url in [
        "postgres://ada:2024#hush@db/tasks",
        "postgres://ada:12/hush@db",
    ] {
        let line = error(&[("DATABASE_URL", url)], "DATABASE_URL");
        assert!(
            line.contains("percent-encoded") && !line.contains("hush"),
            "{line}"
        );
        assert_eq!(mask_passwords(url), "***");
    }
}

#[test]
fn migrations_of_a_server_run_at_start_in_development_only() {
    for (environment, database, expected) in [
        ("development", "postgres://db/tasks", true),
        ("test", "postgres://db/tasks", false),
        ("test", "sqlite://tasks.db", true),
    ] {
        let pairs = [("APP_ENV", environment), ("DATABASE_URL", database)];
        assert_eq!(config(&pairs).run_migrations, expected, "{pairs:?}");
    }
}

#[test]
fn keys_have_32_bytes() {
    for name in ["JWT_SECRET_KEY", "JWT_SECRET_KEY_PREV"] {
        config(&[(name, &"k".repeat(32))]);
        config(&[(name, &"ä".repeat(16))]);
        refused(name, &["k", &"k".repeat(31)]);
    }
    let spaced = format!(" {SECRET} ");
    let config = config(&[("JWT_SECRET_KEY", &spaced), ("JWT_SECRET_KEY_PREV", SECRET)]);
    let exposed =
        |key: Option<SecretString>| secrecy::ExposeSecret::expose_secret(&key.unwrap()).to_owned();
    assert_eq!(
        exposed(config.jwt_secret_key),
        spaced,
        "a secret is taken as it is"
    );
    assert_eq!(exposed(config.jwt_secret_key_prev), SECRET);
}

#[test]
fn the_algorithm_is_an_hmac() {
    for (name, algorithm) in [
        ("HS256", JwtAlgorithm::Hs256),
        ("HS384", JwtAlgorithm::Hs384),
        ("HS512", JwtAlgorithm::Hs512),
    ] {
        assert_eq!(config(&[("JWT_ALGORITHM", name)]).jwt_algorithm, algorithm);
    }
    refused("JWT_ALGORITHM", &["none", "RS256", "hs256"]);
}

#[test]
fn production_asks_for_more() {
    let mut without_key = production(&[]);
    without_key.retain(|(name, _)| *name != "JWT_SECRET_KEY");
    let line = error(&without_key, "JWT_SECRET_KEY");
    assert!(line.contains("required in production"), "{line}");

    error(&production(&[("BCRYPT_COST", "9")]), "BCRYPT_COST");
    assert_eq!(
        config(&production(&[("BCRYPT_COST", "10")])).bcrypt_cost,
        10
    );

    for allow in ["false", ""] {
        let line = error(
            &production(&[("ALLOW_CONSOLE_EMAIL", allow)]),
            "EMAIL_BACKEND",
        );
        assert!(line.contains("ALLOW_CONSOLE_EMAIL=true"), "{line}");
    }

    for origins in ["*", "https://a.example, *"] {
        error(&production(&[("CORS_ORIGINS", origins)]), "CORS_ORIGINS");
        assert!(
            config(&[("CORS_ORIGINS", origins)])
                .cors_origins
                .contains(&"*".to_owned())
        );
    }
    assert!(config(&production(&[])).cors_origins.is_empty());
}

#[test]
fn mail_goes_to_the_console() {
    for pairs in [&[][..], &[("EMAIL_BACKEND", "console")]] {
        assert!(matches!(config(pairs).mailing, Mailing::Console));
    }
    refused("EMAIL_BACKEND", &["sendmail", "Console"]);
}

#[test]
fn a_mail_server_is_checked_also_where_mail_goes_to_the_console() {
    refused("SMTP_HOST", &["smtp://mail", "a b"]);
    refused("SMTP_TLS", &["ssl", "TLS"]);
    refused(
        "SMTP_FROM",
        &[
            "nobody",
            "Tasks <nobody>",
            "<a@example.org",
            "a@example.org>",
        ],
    );
    for from in ["a@example.org", "Tasks <a@example.org>"] {
        config(&[("SMTP_FROM", from)]);
    }
    for (tls, port) in [("none", 25), ("starttls", 587), ("tls", 465)] {
        let listing = config(&[("SMTP_TLS", tls)]).listing();
        assert!(
            listing.contains(&format!("\nSMTP_PORT={port}\n")),
            "{listing}"
        );
    }
}

#[test]
fn mail_goes_to_a_server_that_is_named() {
    let smtp = [
        ("EMAIL_BACKEND", "smtp"),
        ("SMTP_HOST", "mail"),
        ("SMTP_FROM", "Tasks <a@example.org>"),
    ];
    let more = [
        ("SMTP_TLS", "tls"),
        ("SMTP_USERNAME", "me"),
        ("SMTP_PASSWORD", SECRET),
    ];
    let Mailing::Smtp(server) = config(&[&smtp[..], &more].concat()).mailing else {
        panic!("mail does not go to a server");
    };
    assert_eq!((server.host.as_str(), server.port), ("mail", 465));
    assert_eq!(server.tls, SmtpTls::Tls);
    assert_eq!(server.from.to_string(), "Tasks <a@example.org>");
    let (name, password) = server.credentials.unwrap();
    assert_eq!((name.as_str(), password.expose_secret()), ("me", SECRET));

    // In production without an excuse for the console.
    let mailing = |more: &[(&str, &str)]| {
        let pairs = [&smtp[..], &[("ALLOW_CONSOLE_EMAIL", "false")], more].concat();
        config(&production(&pairs)).mailing
    };
    let Mailing::Smtp(server) = mailing(&[]) else {
        panic!("mail does not go to a server");
    };
    assert_eq!((server.port, server.tls), (587, SmtpTls::StartTls));
    assert!(server.credentials.is_none());
    mailing(&[("SMTP_TLS", "none")]);
    let in_the_clear = [&smtp[..], &more[1..], &[("SMTP_TLS", "none")]].concat();
    let line = error(&production(&in_the_clear), "SMTP_TLS");
    assert!(line.contains("SMTP_PASSWORD in the clear"), "{line}");

    for missing in ["SMTP_HOST", "SMTP_FROM"] {
        let mut pairs = smtp.to_vec();
        pairs.retain(|(name, _)| *name != missing);
        let lines = errors(&pairs);
        let wanted = format!("{missing} is required with EMAIL_BACKEND=smtp");
        assert!(
            lines.iter().any(|line| line.starts_with(&wanted)),
            "{lines:?}"
        );
    }
    for (set, missing) in [
        ("SMTP_USERNAME", "SMTP_PASSWORD"),
        ("SMTP_PASSWORD", "SMTP_USERNAME"),
    ] {
        let lines = errors(&[&smtp[..], &[(set, "x")]].concat());
        let wanted = format!("{missing} is missing");
        assert!(
            lines.iter().any(|line| line.starts_with(&wanted)),
            "{lines:?}"
        );
    }
}

#[test]
fn deleted_tasks_are_kept_for_a_number_of_days_or_for_ever() {
    let kept = |pairs: &[(&str, &str)]| config(pairs).retention.deleted_tasks;
    let days = |days: u64| Some(Duration::from_hours(24 * days));
    assert_eq!(kept(&[]), days(30));
    assert_eq!(kept(&[("DELETED_TASK_RETENTION_DAYS", "1")]), days(1));
    assert_eq!(kept(&[("DELETED_TASK_RETENTION_DAYS", "0")]), None);
    refused("DELETED_TASK_RETENTION_DAYS", &["-1", "36501", "a month"]);
}

#[test]
fn metrics_can_be_switched_off() {
    assert!(config(&[]).metrics);
    assert!(!config(&[("ENABLE_METRICS", "false")]).metrics);
}

#[test]
fn an_origin_is_a_scheme_a_host_and_perhaps_a_port() {
    let origins = |text| config(&[("CORS_ORIGINS", text)]).cors_origins;
    assert_eq!(
        origins("https://App.Example.org , http://localhost:3000,"),
        ["https://app.example.org", "http://localhost:3000"]
    );
    assert_eq!(
        origins("https://a.example:443,http://[::1]:80"),
        ["https://a.example", "http://[::1]"],
        "as browsers write them"
    );
    assert_eq!(origins("tauri://localhost"), ["tauri://localhost"]);
    refused(
        "CORS_ORIGINS",
        &[
            "localhost",
            "localhost:3000",
            "//localhost",
            "http://",
            "http://localhost/",
            "http://localhost:3000/app",
            "http://localhost?a",
            "http://localhost#a",
            "http://u:hush@localhost",
            "http://*.example.org",
            "http://localhost:99999",
            "http://:3000",
            "null",
        ],
    );
    let line = error(
        &[("CORS_ORIGINS", "http://a.example,b.example")],
        "CORS_ORIGINS",
    );
    assert!(line.contains("in entry 2"), "{line}");
}

#[test]
fn proxies_are_networks_and_addresses() {
    let networks = config(&[("TRUSTED_PROXIES", "10.1.2.3/8, 192.0.2.1,2001:db8::/32,::1")]);
    let written: Vec<String> = networks
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        written,
        ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "::1/128"]
    );
    refused(
        "TRUSTED_PROXIES",
        &["proxy", "10.0.0.0/33", "10.0.0/8", "10.0.0.1-10.0.0.9"],
    );
}

#[test]
fn the_log_is_filtered_and_formatted() {
    for level in [
        "off",
        "warn",
        "TRACE",
        "info,tasks_http=debug",
        "warn,[request{request_id=a}]=trace",
    ] {
        assert_eq!(config(&[("LOG_LEVEL", level)]).log_level, level);
    }
    refused(
        "LOG_LEVEL",
        &[
            "inof",
            "verbose",
            "info,tasks_http",
            "tasks_http=loud",
            "[request",
        ],
    );

    assert_eq!(
        config(&[("LOG_FORMAT", "pretty")]).log_format,
        LogFormat::Pretty
    );
    refused("LOG_FORMAT", &["text", "JSON"]);
    for (terminal, format) in [(true, LogFormat::Pretty), (false, LogFormat::Json)] {
        let config = Config::read(&Source::default(), terminal).unwrap();
        assert_eq!(config.log_format, format);
    }
}

#[test]
fn the_listing_shows_what_holds() {
    let listing = config(&[("PORT", "9"), ("HOST", "::1")]).listing();
    for line in [
        "APP_ENV=development",
        "PORT=9",
        "PUBLIC_URL=http://[::1]:9",
        "DATABASE_URL=sqlite://data/tasks.db",
        "RUN_MIGRATIONS=true",
        "REDIS_URL=",
        "JWT_SECRET_KEY=***",
        "JWT_SECRET_KEY_PREV=",
        "CORS_ORIGINS=http://localhost:3000,http://localhost:8000",
        "LOG_FORMAT=json",
    ] {
        assert!(
            listing.lines().any(|listed| listed == line),
            "{line}\n{listing}"
        );
    }
}

#[test]
fn no_secret_is_shown_where_all_is_well() {
    let config = config(&[
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_SECRET_KEY_PREV", SECRET),
        ("SMTP_PASSWORD", SECRET),
        ("SMTP_USERNAME", "me"),
    ]);
    let listing = config.listing();
    for line in [
        "JWT_SECRET_KEY=***",
        "JWT_SECRET_KEY_PREV=***",
        "SMTP_PASSWORD=***",
    ] {
        assert!(listing.contains(line), "{listing}");
    }
    for text in [listing, format!("{config:?}")] {
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[test]
fn no_secret_is_shown_where_something_is_wrong() {
    let hush = "hush-hush";
    let lines = errors(&[
        ("APP_ENV", "production"),
        ("JWT_SECRET_KEY", hush),
        ("JWT_SECRET_KEY_PREV", hush),
        ("DATABASE_URL", "postgres://me:hush-hush@db:99999/tasks"),
        ("REDIS_URL", "http://:hush-hush@cache"),
        ("PUBLIC_URL", "http://me:hush-hush@example.org"),
        ("CORS_ORIGINS", "http://me:hush-hush@example.org,*"),
        ("EMAIL_BACKEND", "smtp"),
        ("SMTP_PASSWORD", hush),
    ]);
    assert_eq!(lines.len(), 9, "{lines:#?}");
    assert!(!lines.join("\n").contains(hush), "{lines:#?}");
}

#[test]
fn passwords_in_urls_are_masked() {
    for (url, shown) in [
        (
            "postgres://me:hush@db:5432/tasks",
            "postgres://me:***@db:5432/tasks",
        ),
        ("redis://:hush@cache", "redis://:***@cache"),
        (
            "postgres://db/tasks?user=me&password=hush&sslmode=require",
            "postgres://db/tasks?user=me&password=***&sslmode=require",
        ),
        ("sqlite://data/tasks.db", "sqlite://data/tasks.db"),
        (
            "http://localhost:3000,http://localhost:8000",
            "http://localhost:3000,http://localhost:8000",
        ),
        ("*", "*"),
    ] {
        assert_eq!(mask_passwords(url), shown);
    }
}

#[test]
fn traces_are_sent_where_an_endpoint_is_set() {
    let sends = |pairs: &[(&str, &str)]| config(pairs).telemetry;
    let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
    let own = (
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "https://traces.example.com/v1/traces",
    );
    assert!(!sends(&[]).traces);
    assert!(sends(&[base]).traces);
    assert!(sends(&[own]).traces);
    assert!(!sends(&[base, ("OTEL_TRACES_EXPORTER", "none")]).traces);
    assert!(!sends(&[base, ("OTEL_SDK_DISABLED", "true")]).traces);
    assert_eq!(sends(&[]).span_queue, 2048);
    assert_eq!(sends(&[("OTEL_BSP_MAX_QUEUE_SIZE", "7")]).span_queue, 7);
}

#[test]
fn metrics_are_sent_only_where_that_is_asked_for() {
    let sends = |pairs: &[(&str, &str)]| config(pairs).telemetry.metrics;
    let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
    let own = (
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "http://localhost:4318/v1/metrics",
    );
    let otlp = ("OTEL_METRICS_EXPORTER", "otlp");
    assert!(sends(&[base, otlp]));
    assert!(sends(&[own, otlp]));
    assert!(!sends(&[base]));
    assert!(!sends(&[otlp]));
    assert!(!sends(&[base, otlp, ("ENABLE_METRICS", "false")]));
    assert!(!sends(&[base, otlp, ("OTEL_SDK_DISABLED", "1")]));
    for other in ["prometheus", "none"] {
        assert!(!sends(&[base, ("OTEL_METRICS_EXPORTER", other)]), "{other}");
    }
}

#[test]
fn what_opentelemetry_would_only_warn_of_is_refused() {
    for endpoint in ["ENDPOINT", "TRACES_ENDPOINT", "METRICS_ENDPOINT"] {
        let bad = ["nonsense", "localhost:4318", "ftp://localhost", "http://"];
        refused(&format!("OTEL_EXPORTER_OTLP_{endpoint}"), &bad);
    }
    refused(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        &["thrift", "http/json", "GRPC"],
    );
    refused(
        "OTEL_EXPORTER_OTLP_HEADERS",
        &["key", "a=1,", "=1", "bad name=1", "a=b%0Ac"],
    );
    refused("OTEL_EXPORTER_OTLP_COMPRESSION", &["zstd", "none"]);
    refused("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", &["0"]);
    refused("OTEL_BSP_SCHEDULE_DELAY", &["0", "60001"]);
    refused("OTEL_METRIC_EXPORT_INTERVAL", &["0"]);
    refused("OTEL_EXPORTER_OTLP_TIMEOUT", &["0", "60001", "10s"]);
    refused("OTEL_RESOURCE_ATTRIBUTES", &["key", "a=1,,b=2"]);
    refused("OTEL_TRACES_EXPORTER", &["zipkin", "console"]);
    refused("OTEL_METRICS_EXPORTER", &["console"]);
    refused("OTEL_TRACES_SAMPLER", &["perhaps", "jaeger_remote"]);
    refused("OTEL_TRACES_SAMPLER_ARG", &["1.1", "-0.1", "half", "NaN"]);
    refused("OTEL_BSP_MAX_QUEUE_SIZE", &["0", "1000001"]);
    refused("OTEL_SDK_DISABLED", &["yes"]);
}

#[test]
fn a_share_has_to_be_said_where_one_is_taken() {
    for sampler in ["traceidratio", "parentbased_traceidratio"] {
        let pair = ("OTEL_TRACES_SAMPLER", sampler);
        let line = error(&[pair], "OTEL_TRACES_SAMPLER_ARG");
        assert!(line.contains("is missing"), "{line}");
        config(&[pair, ("OTEL_TRACES_SAMPLER_ARG", "0.25")]);
    }
}

#[test]
fn a_collectors_key_is_not_shown() {
    let header = format!("api-key={SECRET}");
    let listing = config(&[("OTEL_EXPORTER_OTLP_HEADERS", &header)]).listing();
    assert!(
        listing.contains("OTEL_EXPORTER_OTLP_HEADERS=***\n"),
        "{listing}"
    );
    assert!(!listing.contains(SECRET));
    assert!(!errors(&[("OTEL_EXPORTER_OTLP_HEADERS", SECRET)])[0].contains(SECRET));
}

#[test]
fn opentelemetry_reads_what_was_checked() {
    let telemetry = config(&[
        ("OTEL_TRACES_SAMPLER", " always_off "),
        ("OTEL_SERVICE_NAME", ""),
        ("OTEL_RESOURCE_ATTRIBUTES", r#"a=1, team="$x" \ 'y'"#),
        ("OTEL_SOMETHING_ELSE", "1"),
        ("PORT", "1"),
    ])
    .telemetry;
    let text = telemetry.as_dotenv();
    let read = dotenvy::from_read_iter(text.as_bytes());
    let read: Vec<_> = read.map(Result::unwrap).collect();
    let expected = [
        ("OTEL_RESOURCE_ATTRIBUTES", r#"a=1, team="$x" \ 'y'"#),
        ("OTEL_TRACES_SAMPLER", "always_off"),
    ];
    assert_eq!(
        read,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(telemetry.unchecked, ["OTEL_SOMETHING_ELSE"]);
    assert!(!format!("{telemetry:?}").contains("team"));
}

#[test]
fn a_service_has_the_name_that_it_is_given() {
    let names = |pair| {
        config(&[pair])
            .telemetry
            .names("service.name", "OTEL_SERVICE_NAME")
    };
    assert!(names(("OTEL_SERVICE_NAME", "mine")));
    assert!(names((
        "OTEL_RESOURCE_ATTRIBUTES",
        "a=1, service.name=mine"
    )));
    assert!(!names(("OTEL_SERVICE_NAME", "")));
    assert!(!names(("OTEL_RESOURCE_ATTRIBUTES", "my.service.name=mine")));
}

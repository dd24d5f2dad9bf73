//! Traces and metrics, as a collector gets them over OTLP.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tasks_testkit::servers::{Collector, CollectorFault, ReceivedSpan, SmtpServer};

use crate::support::{
    Client, PASSWORD, Service, Setup, Signal, Store, at_once, database_on, eventually,
    on_every_store, postgres, send_raw,
};

/// `EX_CONFIG` of `sysexits.h`.
const CONFIG_STATUS: i32 = 78;

/// How spans are sent.
#[derive(Clone, Copy, Debug)]
enum Protocol {
    Http,
    Grpc,
}

impl Protocol {
    const ALL: [Self; 2] = [Self::Http, Self::Grpc];

    fn collector(self) -> Arc<Collector> {
        Arc::new(match self {
            Self::Http => Collector::start_http(),
            Self::Grpc => Collector::start_grpc(),
        })
    }

    /// The same service, which sends its spans there, and soon.
    fn to(self, collector: &Arc<Collector>, setup: &Setup) -> Setup {
        let setup = setup.clone().traced_by(collector);
        match self {
            // It is the default.
            Self::Http => setup,
            Self::Grpc => setup.with("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        }
    }
}

/// A collector for OTLP over HTTP, and how a service is started that sends its spans there.
fn collected(setup: &Setup) -> (Arc<Collector>, Setup) {
    let collector = Protocol::Http.collector();
    let setup = Protocol::Http.to(&collector, setup);
    (collector, setup)
}

/// A span of a caller's, in a trace of its own.
struct Caller {
    trace_id: String,
    span_id: String,
}

impl Caller {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            trace_id: format!("abcdef{number:026x}"),
            span_id: format!("fedcba{number:010x}"),
        }
    }

    /// The client, whose requests are from within this span.
    fn calls(&self, client: &Client) -> Client {
        self.calls_with_flags(client, "01")
    }

    fn calls_with_flags(&self, client: &Client, flags: &str) -> Client {
        let parent = format!("00-{}-{}-{flags}", self.trace_id, self.span_id);
        client
            .clone()
            .with_header("traceparent", &parent)
            .with_header("tracestate", "vendor=ada")
    }

    /// Waits for the one tree that came of a request: each of its spans is in another, and the
    /// server's in the caller's.
    fn tree(&self, collector: &Collector) -> Tree {
        let spans = collector.until("one tree", |spans| {
            let spans = spans.iter().filter(|span| span.trace_id == self.trace_id);
            let spans: Vec<_> = spans.cloned().collect();
            let ids: HashSet<_> = spans
                .iter()
                .map(|span| Some(span.span_id.clone()))
                .collect();
            let is_whole = spans.iter().all(|span| match &*span.kind {
                "server" => span.parent_id.as_ref() == Some(&self.span_id),
                _ => ids.contains(&span.parent_id),
            });
            let is_ended = spans.iter().any(|span| span.kind == "server");
            (is_ended && is_whole).then_some(spans)
        });
        Tree(spans)
    }
}

/// The spans of one request.
struct Tree(Vec<ReceivedSpan>);

impl Tree {
    fn server(&self) -> &ReceivedSpan {
        let servers: Vec<_> = self.0.iter().filter(|span| span.kind == "server").collect();
        assert_eq!(servers.len(), 1, "{:?}", self.paths());
        servers[0]
    }

    fn span(&self, name: &str) -> &ReceivedSpan {
        let span = self.0.iter().find(|span| span.name == name);
        span.unwrap_or_else(|| panic!("no {name}: {:?}", self.paths()))
    }

    /// Every span by the names of those that it is in, below the server's.
    fn paths(&self) -> Vec<String> {
        self.0.iter().map(|span| self.path(span)).collect()
    }

    fn path(&self, span: &ReceivedSpan) -> String {
        let parent = |parent: &&ReceivedSpan| span.parent_id.as_ref() == Some(&parent.span_id);
        match self.0.iter().find(parent) {
            Some(parent) if parent.kind != "server" => {
                format!("{} > {}", self.path(parent), span.name)
            }
            _ => span.name.clone(),
        }
    }

    #[track_caller]
    fn has(&self, expected: &[&str]) {
        let paths = self.paths();
        for path in expected {
            assert!(paths.iter().any(|p| p == path), "no {path}: {paths:#?}");
        }
    }

    /// That every span below the server's tells what it should and nothing else.
    fn is_well_described(&self, system: &str) {
        for span in self.0.iter().filter(|span| span.kind != "server") {
            let told = &span.attributes;
            let names = told.as_object().unwrap().keys().map(String::as_str);
            let mut names: HashSet<_> = names.collect();
            if told["db.system.name"] == "redis" {
                let operation = told["db.operation.name"].as_str().unwrap();
                assert!(span.name.starts_with(operation), "{span:?}");
                for name in [
                    "db.system.name",
                    "db.operation.name",
                    "db.namespace",
                    "server.address",
                    "server.port",
                ] {
                    assert!(names.remove(name), "no {name}: {span:?}");
                }
                names.remove("db.stored_procedure.name");
                assert_eq!(span.kind, "client", "{span:?}");
            } else if span.kind == "client" {
                assert_eq!(told["db.system.name"], system, "{span:?}");
                let operation = told["db.operation.name"].as_str().unwrap();
                let name = match told["db.collection.name"].as_str() {
                    Some(collection) => format!("{operation} {collection}"),
                    None => operation.to_owned(),
                };
                assert_eq!(span.name, name, "{span:?}");
                for name in ["db.system.name", "db.operation.name", "db.collection.name"] {
                    names.remove(name);
                }
            }
            assert!(names.is_empty(), "{names:?} of {span:?}");
            assert!(matches!(&*span.kind, "internal" | "client"), "{span:?}");
            assert_eq!(span.status, "unset", "{span:?}");
            assert!(span.events.is_empty(), "{span:?}");
            assert!(span.links.is_empty(), "{span:?}");
        }
    }
}

on_every_store!(
    a_request_is_one_tree,
    machines_and_work_in_the_background_leave_no_span,
    a_mail_is_linked_to_the_request_that_asked_for_it,
    the_log_says_where_in_which_trace_it_is,
);

fn a_request_is_one_tree(store: &Store) {
    for protocol in Protocol::ALL {
        let collector = protocol.collector();
        let service = protocol.to(&collector, &store.setup).start();
        is_one_tree(
            store,
            &service,
            &collector,
            &format!("{protocol:?}@example.com"),
        );
    }
}

fn is_one_tree(store: &Store, service: &Service, collector: &Collector, email: &str) {
    let system = if store.is_sqlite() {
        "sqlite"
    } else {
        "postgresql"
    };
    let (client, _) = service.register(email);
    let client = client.with_header("user-agent", "tests/1");
    let category = client.post("/api/v1/categories", &json!({ "name": "Work" }));
    let category = category.body["id"].as_str().unwrap();

    let caller = Caller::new();
    let (path, _) = caller.calls(&client).create_task("Write the report");
    let tree = caller.tree(collector);
    tree.is_well_described(system);
    tree.has(&["authenticate", "create task", "create task > INSERT tasks"]);
    if !store.is_sqlite() {
        tree.has(&["authenticate > EVALSHA get_signed_in"]);
    }
    let server = tree.server();
    assert_eq!(server.name, "POST /api/v1/tasks");
    assert_eq!(server.trace_state, "vendor=ada");
    assert_eq!(server.status, "unset");
    assert!(
        server.links.is_empty() && server.events.is_empty(),
        "{server:?}"
    );
    let attributes = json!({
        "http.request.method": "POST",
        "http.route": "/api/v1/tasks",
        "http.response.status_code": 201,
        "url.scheme": "http",
        "url.path": "/api/v1/tasks",
        "client.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": service.port().parse::<u16>().unwrap(),
        "user_agent.original": "tests/1",
    });
    assert_eq!(server.attributes, attributes);

    let caller = Caller::new();
    let assigned = caller
        .calls(&client)
        .post(&format!("{path}/categories/{category}"), &Value::Null);
    assert_eq!(assigned.status, 200, "{assigned:?}");
    let tree = caller.tree(collector);
    tree.is_well_described(system);
    tree.has(&[
        "authenticate",
        "assign category",
        "assign category > INSERT task_categories",
    ]);
    let route = "/api/v1/tasks/{id}/categories/{category_id}";
    assert_eq!(tree.server().name, format!("POST {route}"));
    assert_eq!(tree.server().attributes["http.route"], route);

    let caller = Caller::new();
    let listed = caller.calls(&client).get("/api/v1/tasks?status=pending");
    assert_eq!(listed.body["total"], 1);
    let tree = caller.tree(collector);
    tree.is_well_described(system);
    tree.has(&["authenticate", "list tasks", "list tasks > SELECT tasks"]);
    let told = &tree.server().attributes;
    assert_eq!(
        told["url.path"], "/api/v1/tasks",
        "and not what was asked for"
    );

    let caller = Caller::new();
    let answer = caller.calls(&service.client()).log_in(email, PASSWORD);
    assert_eq!(answer.status, 200, "{answer:?}");
    let tree = caller.tree(collector);
    tree.is_well_described(system);
    tree.has(&[
        "log in",
        "log in > SELECT users",
        "log in > verify password",
        "log in > INSERT sessions",
    ]);
    if !store.is_sqlite() {
        tree.has(&["log in > UNLINK"]);
    }
    assert_eq!(tree.span("verify password").kind, "internal");
}

#[test]
fn what_the_limiter_asks_redis_is_in_the_tree() {
    let store = Store::postgres_and_redis();
    let setup = store
        .setup
        .clone()
        .with("ENABLE_RATE_LIMITING", "true")
        // Others come from this address too.
        .with("RATE_LIMIT_ANONYMOUS", "100000");
    let (collector, setup) = collected(&setup);
    let service = setup.start();
    let caller = Caller::new();
    let answer = caller.calls(&service.client()).get("/api/v1/tasks");
    assert!(answer.is_refusal(401, "token_missing"), "{answer:?}");
    let tree = caller.tree(&collector);
    tree.has(&["EVALSHA hit"]);
    tree.is_well_described("postgresql");

    // Of whom it remembers it is asked once; of others it is asked who they are first.
    let (ada, _) = service.register("asked.once@example.com");
    let mut asked = Vec::new();
    for _ in 0..2 {
        let caller = Caller::new();
        caller.calls(&ada).get("/api/v1/tasks");
        let tree = caller.tree(&collector);
        tree.is_well_described("postgresql");
        let mut scripts = tree.paths();
        scripts.retain(|path| path.contains("EVALSHA"));
        asked.push(scripts);
    }
    let first = [
        "authenticate > EVALSHA get_signed_in_and_hit",
        "authenticate > EVALSHA put_signed_in",
        "EVALSHA hit",
    ];
    asked[0].sort_by_key(|path| first.iter().position(|expected| path == expected));
    assert_eq!(asked[0], first);
    assert_eq!(asked[1], ["authenticate > EVALSHA get_signed_in_and_hit"]);
}

#[test]
fn without_a_caller_each_request_has_a_trace_of_its_own() {
    let (collector, setup) = collected(&Setup::new());
    let service = setup.start();
    let client = service.client();
    for _ in 0..2 {
        client.get("/api/v1/tasks");
    }
    // Nor does nonsense make a caller.
    for parent in [
        "nonsense",
        &format!("00-{}-{}-01", "0".repeat(32), "0".repeat(16)),
    ] {
        client
            .clone()
            .with_header("traceparent", parent)
            .get("/api/v1/tasks");
    }
    service.stop(Signal::Terminate);
    let spans = collector.spans();
    let traces: HashSet<_> = spans.iter().map(|span| &span.trace_id).collect();
    assert_eq!((spans.len(), traces.len()), (4, 4), "{spans:?}");
    for span in &spans {
        assert_eq!(span.parent_id, None, "{span:?}");
        assert_eq!(span.trace_state, "", "{span:?}");
        assert!(span.trace_id.chars().any(|digit| digit != '0'), "{span:?}");
    }
}

#[test]
fn what_is_sent_is_what_the_sampler_decides() {
    // Of a request without a caller, of one from a sampled span, and of one from another.
    let cases = [
        ("", [true, true, false]),
        ("OTEL_TRACES_SAMPLER=always_on", [true; 3]),
        ("OTEL_TRACES_SAMPLER=always_off", [false; 3]),
        (
            "OTEL_TRACES_SAMPLER=parentbased_always_off",
            [false, true, false],
        ),
        (
            "OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=0",
            [false; 3],
        ),
        (
            "OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=1",
            [true; 3],
        ),
        (
            "OTEL_TRACES_SAMPLER=parentbased_traceidratio OTEL_TRACES_SAMPLER_ARG=0",
            [false, true, false],
        ),
        ("OTEL_SDK_DISABLED=true", [false; 3]),
        ("OTEL_TRACES_EXPORTER=none", [false; 3]),
        ("OTEL_TRACES_EXPORTER=otlp", [true, true, false]),
    ];
    at_once(cases.len(), |number| {
        let (variables, expected) = cases[number];
        let (collector, setup) = collected(&Setup::new());
        let setup = variables.split_whitespace().fold(setup, |setup, pair| {
            let (name, value) = pair.split_once('=').unwrap();
            setup.with(name, value)
        });
        let service = setup.start();
        let client = service.client();
        let [sampled, other] = [Caller::new(), Caller::new()];
        let answers = [
            client.get("/api/v1/tasks"),
            sampled.calls_with_flags(&client, "01").get("/api/v1/tasks"),
            other.calls_with_flags(&client, "00").get("/api/v1/tasks"),
        ];
        assert!(
            answers.iter().all(|answer| answer.status == 401),
            "{answers:?}"
        );
        assert_eq!(service.stop(Signal::Terminate).status, 0);
        let spans = collector.spans();
        let of = |caller: &Caller| spans.iter().any(|span| span.trace_id == caller.trace_id);
        let is_sent = [
            spans.iter().any(|span| span.parent_id.is_none()),
            of(&sampled),
            of(&other),
        ];
        assert_eq!(is_sent, expected, "{variables:?}: {spans:?}");
        let is_silent = collector.headers().is_empty();
        assert_eq!(is_silent, !expected.contains(&true), "{variables:?}");
    });
}

#[test]
fn the_service_and_its_key_are_told() {
    for protocol in Protocol::ALL {
        let collector = protocol.collector();
        let setup = protocol.to(&collector, &Setup::new());
        let service = setup.start();
        service.client().get("/api/v1/tasks");
        let resource = collector.until("a span", |spans| Some(spans.first()?.resource.clone()));
        assert_eq!(resource["service.name"], "task-api", "{resource}");
        assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
        drop(service);

        let collector = protocol.collector();
        let service = protocol
            .to(&collector, &setup)
            .with("OTEL_SERVICE_NAME", "tasks-of-ada")
            .with(
                "OTEL_RESOURCE_ATTRIBUTES",
                "deployment.environment.name=staging,team=blue",
            )
            .with(
                "OTEL_EXPORTER_OTLP_HEADERS",
                "x-api-key=open-sesame,x-team=blue",
            )
            .start();
        service.client().get("/api/v1/tasks");
        let resource = collector.until("a span", |spans| Some(spans.first()?.resource.clone()));
        assert_eq!(resource["service.name"], "tasks-of-ada", "{resource}");
        assert_eq!(resource["deployment.environment.name"], "staging");
        assert_eq!(resource["team"], "blue");
        for headers in collector.headers() {
            assert_eq!(headers["x-api-key"], "open-sesame", "{protocol:?}");
            assert_eq!(headers["x-team"], "blue", "{protocol:?}");
        }
    }
}

#[test]
fn what_a_client_does_wrong_is_no_error() {
    let (collector, setup) = collected(&Setup::new());
    let service = setup.start();
    let (client, _) = service.register("ada@example.com");
    let task = "/api/v1/tasks/01890000-0000-7000-8000-000000000000";
    for (method, path, body, status, name) in [
        ("GET", task, None, 404, "GET /api/v1/tasks/{id}"),
        ("GET", "/no/such/path", None, 404, "GET"),
        (
            "POST",
            "/api/v1/tasks",
            Some(json!({ "title": "" })),
            400,
            "POST /api/v1/tasks",
        ),
        ("PUT", task, None, 405, "PUT /api/v1/tasks/{id}"),
    ] {
        let caller = Caller::new();
        let answer = caller.calls(&client).send(method, path, body.as_ref());
        assert_eq!(answer.unwrap().status, status, "{method} {path}");
        let tree = caller.tree(&collector);
        for span in &tree.0 {
            assert_eq!(span.status, "unset", "{span:?}");
            assert_eq!(span.attributes["error.type"], Value::Null, "{span:?}");
        }
        let server = tree.server();
        assert_eq!(server.name, name);
        let told = &server.attributes;
        assert_eq!(told["http.response.status_code"], status, "{server:?}");
        assert_eq!(told["http.request.method"], method, "{server:?}");
        assert_eq!(
            told["http.request.method_original"],
            Value::Null,
            "{server:?}"
        );
    }
}

#[test]
fn a_method_that_somebody_made_up_is_in_no_name() {
    let (collector, setup) = collected(&Setup::new());
    let service = setup.start();
    let request = b"BREW /no/such/path HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    assert_eq!(send_raw(service.address(), request).status, 404);
    let span = collector.until("a span", |spans| spans.first().cloned());
    assert_eq!(span.name, "HTTP");
    assert_eq!(span.attributes["http.request.method"], "_OTHER");
    assert_eq!(span.attributes["http.request.method_original"], "BREW");
}

#[test]
fn without_a_database_the_request_and_the_use_case_have_failed() {
    let server = postgres();
    let database = database_on(&server);
    let (collector, setup) = collected(&Setup::new().on_postgres(&database.url));
    let service = setup.start();
    let (client, _) = service.register("ada@example.com");
    // So that the user is known without a look into the database.
    assert_eq!(client.me().status, 200);
    server.stop();

    let caller = Caller::new();
    let answer = caller.calls(&client).get("/api/v1/tasks");
    assert!(answer.is_unavailable(), "{answer:?}");
    let tree = caller.tree(&collector);
    let span = tree.server();
    assert_eq!(span.status, "error");
    assert_eq!(span.attributes["http.response.status_code"], 503);
    assert_eq!(span.attributes["error.type"], "503");
    let use_cases = tree.0.iter().filter(|span| span.kind == "internal");
    let failed: Vec<_> = use_cases.filter(|span| span.status == "error").collect();
    assert_eq!(failed.len(), 1, "{:?}", tree.0);
    server.restart();
}

#[test]
fn what_fails_says_so_as_does_all_around_it() {
    let store = Store::postgres_and_redis();
    let (collector, setup) = collected(&store.setup);
    let service = setup.start();
    let (client, _) = service.register("ada@example.com");
    client.create_task("Write the report");
    let list = |status: u16| {
        let caller = Caller::new();
        let answer = caller.calls(&client).get("/api/v1/tasks");
        assert_eq!(answer.status, status, "{answer:?}");
        let tree = caller.tree(&collector);
        assert_eq!(tree.span("list tasks").status, "error");
        assert_eq!(tree.span("authenticate").status, "unset");
        let span = tree.server();
        assert_eq!(span.status, "error");
        assert_eq!(span.attributes["error.type"], status.to_string());
        tree
    };
    let failed = |tree: &Tree| {
        let spans = tree.0.iter();
        let statements = spans.filter(|span| span.attributes["db.system.name"] == "postgresql");
        let failed = statements.filter(|span| span.status == "error");
        let errors = failed.map(|span| span.attributes["error.type"].clone());
        errors.collect::<Vec<_>>()
    };

    // The statement is answered, with what cannot be.
    store.execute("UPDATE tasks SET title = ''");
    assert!(failed(&list(500)).is_empty());

    store.execute("ALTER TABLE tasks RENAME COLUMN title TO name");
    let errors = failed(&list(503));
    assert!(!errors.is_empty());
    assert!(
        errors.iter().all(|error| error == "database_error"),
        "{errors:?}"
    );
}

fn machines_and_work_in_the_background_leave_no_span(store: &Store) {
    let (collector, setup) = collected(&store.setup);
    let service = setup.start();
    for path in ["/health", "/health/ready", "/health/live"] {
        let caller = Caller::new();
        assert_eq!(caller.calls(&service.client()).get(path).status, 200);
    }
    // Meanwhile it looks for mails, and removes what is old.
    eventually("the outbox was looked into", || {
        let told = service.metrics();
        told.iter()
            .find(|line| line.starts_with("outbox_oldest_age_seconds "))?;
        Some(())
    });
    let caller = Caller::new();
    caller.calls(&service.client()).get("/api/v1/tasks");
    assert_eq!(service.stop(Signal::Terminate).status, 0);
    let spans = collector.spans();
    assert!(!spans.is_empty());
    for span in &spans {
        assert_eq!(span.trace_id, caller.trace_id, "{span:?}");
    }
}

fn a_mail_is_linked_to_the_request_that_asked_for_it(store: &Store) {
    let mails = SmtpServer::start();
    let (collector, setup) = collected(&store.setup.clone().mailing_to(&mails));
    let service = setup.start();
    let caller = Caller::new();
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "full_name": "Ada" });
    let answer = caller.calls(&service.client()).auth("register", &body);
    assert_eq!(answer.status, 201, "{answer:?}");
    let tree = caller.tree(&collector);
    tree.has(&[
        "register",
        "register > hash password",
        "register > INSERT outbox",
    ]);
    let request = tree.server();

    let mail = collector.until("a mail's span", |spans| {
        spans
            .iter()
            .find(|span| span.name == "send verify_email")
            .cloned()
    });
    assert_eq!(mail.kind, "client");
    assert_eq!(mail.parent_id, None, "it has a trace of its own");
    assert_ne!(mail.trace_id, request.trace_id);
    let asked = tree.span("register");
    let place = (request.trace_id.clone(), asked.span_id.clone());
    assert_eq!(mail.links, [place]);
    assert_eq!(mail.status, "unset");
    assert_eq!(mail.attributes, json!({}), "least of all the address");
    assert!(mail.events.is_empty(), "{mail:?}");
    assert_eq!(mails.wait_for_mails(1).len(), 1);
    service.stop(Signal::Terminate);
    let spans = collector.spans();
    let others: Vec<_> = spans
        .iter()
        .filter(|span| ![&mail.trace_id, &request.trace_id].contains(&&span.trace_id))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn a_mail_that_cannot_be_sent_has_failed() {
    let (collector, setup) = collected(&Setup::new().without_mail_server());
    let service = setup.start();
    service.register("ada@example.com");
    let mail = collector.until("a mail's span", |spans| {
        spans
            .iter()
            .find(|span| span.name == "send verify_email")
            .cloned()
    });
    assert_eq!(mail.status, "error");
    assert_eq!(mail.attributes, json!({ "error.type": "unavailable" }));
}

/// The ids that all lines of a request have, by its own.
fn ids(service: &Service, request: &str) -> (String, String) {
    let lines = eventually("the request's line", || {
        let mut lines = service.log();
        lines.retain(|line| line["request_id"] == request);
        let is_done = |line: &Value| line["message"] == "request completed";
        lines.iter().any(is_done).then_some(lines)
    });
    let places: HashSet<_> = lines
        .iter()
        .map(|line| {
            let id = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            (id("trace_id"), id("span_id"))
        })
        .collect();
    assert_eq!(places.len(), 1, "{lines:?}");
    let (trace_id, span_id) = places.into_iter().next().unwrap();
    for (id, length) in [(&trace_id, 32), (&span_id, 16)] {
        let is_id = id.len() == length && id.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        assert!(is_id && id.chars().any(|c| c != '0'), "{lines:?}");
    }
    (trace_id, span_id)
}

fn the_log_says_where_in_which_trace_it_is(store: &Store) {
    let (collector, setup) = collected(&store.setup);
    let service = setup.start();
    let (client, _) = service.register("ada@example.com");
    let caller = Caller::new();
    let answer = caller.calls(&client).get("/api/v1/tasks");
    let request = caller.tree(&collector).server().clone();
    let place = (request.trace_id, request.span_id);
    assert_eq!(ids(&service, answer.header("x-request-id")), place);
    for line in service.log() {
        let is_of_request = !line["request_id"].is_null();
        assert_eq!(line["trace_id"].is_string(), is_of_request, "{line}");
        assert_eq!(line["span_id"].is_string(), is_of_request, "{line}");
        let members = line.as_object().unwrap();
        assert!(!members.keys().any(|name| name.contains('.')), "{line}");
    }
}

#[test]
fn the_log_says_it_without_a_collector_too() {
    let service = Setup::new().untraced().start();
    let (client, _) = service.register("ada@example.com");
    let of = |client: &Client| {
        let answer = client.get("/api/v1/tasks");
        assert_eq!(answer.status, 200, "{answer:?}");
        ids(&service, answer.header("x-request-id"))
    };
    for flags in ["00", "01"] {
        let caller = Caller::new();
        let (trace_id, span_id) = of(&caller.calls_with_flags(&client, flags));
        assert_eq!(trace_id, caller.trace_id);
        assert_ne!(span_id, caller.span_id);
    }
    let [(one, one_span), (other, other_span)] = [of(&client), of(&client)];
    assert_ne!(one, other);
    assert_ne!(one_span, other_span);
}

/// How many spans were dropped, by `/metrics`.
fn dropped(service: &Service) -> u64 {
    let told = service.metrics();
    let line = told
        .iter()
        .find_map(|line| line.strip_prefix("trace_spans_dropped_total "));
    line.expect("it is counted from the beginning")
        .parse()
        .unwrap()
}

#[test]
fn whatever_the_collector_does_requests_are_answered() {
    const REQUESTS: usize = 300;
    let faults = [
        CollectorFault::Freeze,
        CollectorFault::Slow(Duration::from_secs(1)),
        CollectorFault::Refuse,
        CollectorFault::Close,
    ];
    let cases: Vec<_> = Protocol::ALL
        .into_iter()
        .flat_map(|protocol| faults.map(|fault| (protocol, fault)))
        .collect();
    at_once(cases.len(), |number| {
        let (protocol, fault) = cases[number];
        let collector = protocol.collector();
        collector.set_fault(fault);
        let setup = protocol.to(&collector, &Setup::new());
        let service = setup.with("OTEL_BSP_MAX_QUEUE_SIZE", "16").start();
        assert_eq!(dropped(&service), 0, "{protocol:?}, {fault:?}");
        let (client, _) = service.register("ada@example.com");
        let (path, _) = client.create_task("Write the report");
        for request in 0..REQUESTS {
            let (path, expected) = match request % 3 {
                0 => ("/api/v1/tasks", 200),
                1 => (&*path, 200),
                _ => ("/api/v1/tasks/01890000-0000-7000-8000-000000000000", 404),
            };
            let answer = client.get(path);
            assert_eq!(
                answer.status, expected,
                "{protocol:?}, {fault:?}: {answer:?}"
            );
        }
        eventually("dropped spans are counted", || {
            (dropped(&service) > 0).then_some(())
        });
        let output = service.stop(Signal::Terminate);
        assert_eq!(output.status, 0, "{protocol:?}, {fault:?}: {output:?}");
    });
}

#[test]
fn a_collector_that_comes_back_gets_spans_again() {
    for protocol in Protocol::ALL {
        let collector = protocol.collector();
        let setup = protocol.to(&collector, &Setup::new());
        // Meanwhile it tries again.
        let service = setup.with("OTEL_EXPORTER_OTLP_TIMEOUT", "500").start();
        for fault in [CollectorFault::Refuse, CollectorFault::Close] {
            collector.set_fault(fault);
            let before = dropped(&service);
            service.client().get("/api/v1/tasks");
            eventually("dropped spans are counted", || {
                (dropped(&service) > before).then_some(())
            });
            collector.set_fault(CollectorFault::None);
            // A client does not connect again at once.
            eventually("a span arrives", || {
                let caller = Caller::new();
                caller.calls(&service.client()).get("/api/v1/tasks");
                let dropped_before = dropped(&service);
                eventually("it arrives, or is dropped", || {
                    let spans = collector.spans();
                    let arrived = spans.iter().any(|span| span.trace_id == caller.trace_id);
                    (arrived || dropped(&service) > dropped_before).then_some(arrived)
                })
                .then_some(())
            });
        }
    }
}

#[test]
fn the_last_spans_are_sent_before_the_end() {
    for protocol in Protocol::ALL {
        let collector = protocol.collector();
        let setup = protocol.to(&collector, &Setup::new());
        let service = setup.with("OTEL_BSP_SCHEDULE_DELAY", "60000").start();
        let (client, _) = service.register("ada@example.com");
        let caller = Caller::new();
        caller.calls(&client).create_task("Write the report");
        assert!(collector.spans().is_empty(), "it is not time yet");
        assert_eq!(service.stop(Signal::Terminate).status, 0);
        let spans = collector.spans();
        assert!(
            spans.iter().any(|span| span.trace_id == caller.trace_id),
            "{spans:?}"
        );
        caller.tree(&collector).has(&["create task > INSERT tasks"]);
    }
}

#[test]
fn the_figures_of_metrics_are_sent_where_that_is_asked_for() {
    for protocol in Protocol::ALL {
        let collector = protocol.collector();
        let setup = protocol
            .to(&collector, &Setup::new())
            .with("OTEL_TRACES_EXPORTER", "none")
            .with("OTEL_METRIC_EXPORT_INTERVAL", "100");
        let service = setup.clone().start();
        service.client().get("/api/v1/tasks");
        assert_eq!(service.stop(Signal::Terminate).status, 0);
        assert!(collector.headers().is_empty(), "nobody asked for them");

        let service = setup.with("OTEL_METRICS_EXPORTER", "otlp").start();
        let requests = 3;
        for _ in 0..requests {
            service.client().get("/api/v1/tasks");
        }
        let attributes = json!({ "method": "GET", "route": "/api/v1/tasks", "status": 401 });
        collector.until_metrics("the count of requests", |metrics| {
            let count = metrics
                .iter()
                .find(|metric| metric.name == "http_requests" && metric.attributes == attributes)?;
            (count.value >= f64::from(requests)).then_some(())
        });
        let sent = collector.metrics();
        let told = service.metrics();
        for metric in &sent {
            let is_told = told.iter().any(|line| line.starts_with(&metric.name));
            assert!(is_told, "{metric:?}: {told:#?}");
        }
        let durations = sent.iter().find(|metric| {
            metric.name == "http_request_duration" && metric.attributes["route"] == "/api/v1/tasks"
        });
        assert!(
            durations.is_some_and(|durations| durations.value > 0.0),
            "{sent:?}"
        );
        assert!(collector.spans().is_empty());
    }
}

#[test]
fn wrong_settings_are_named() {
    for (name, value, allowed) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "thrift", "grpc"),
        ("OTEL_TRACES_SAMPLER", "perhaps", "parentbased_always_on"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense", "URL"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "otlp"),
    ] {
        let output = Setup::new().with(name, value).run(&[]);
        assert_eq!(output.status, CONFIG_STATUS, "{output:?}");
        let line = output.one_line();
        assert!(line.starts_with(name), "{line}");
        let (_, said) = line.split_once("; allowed: ").expect(line);
        assert!(said.contains(allowed), "{line}");
        assert_eq!(output.stdout, "");
    }
}

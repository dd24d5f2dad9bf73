//! Whole requests, from the parsed head to the body's bytes, over a store that has its answer ready.
//!
//! Pages and problem documents cannot be had by themselves, since they are private to `tasks-http`. What one
//! costs is the difference between two requests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::body::to_bytes;
use actix_web::dev::Service;
use actix_web::rt::System;
use actix_web::test::{TestRequest, init_service};
use actix_web::web::Data;
use divan::Bencher;
use secrecy::ExposeSecret;
use tasks_domain::access::VerifiedOnly;
use tasks_domain::account::{AccountPorts, AccountService, Password, Register, SessionPolicy};
use tasks_domain::category::CategoryService;
use tasks_domain::page::{Page, PageRequest};
use tasks_domain::rate_limit::Quota;
use tasks_domain::task::{MockTaskRepository, Task, TaskCreation, TaskService};
use tasks_http::{Api, Bounds, Health, RateLimits, Services, Settings, app};
use tasks_memory::{MemoryRateLimiter, MemorySignedInCache};
use tasks_security::{JwtAlgorithm, JwtIssuer, SystemClock, UuidV7Ids};
use tasks_testkit::build;
use tasks_testkit::clock::noon;
use tasks_testkit::fakes::{
    FakeHasher, FakeMailTokens, FakeStore, FakeTokens, FakeTrace, RecordingSecurityLog,
    RecordingSignal,
};

/// Longer than a run.
const ACCESS_TOKEN_TTL: Duration = Duration::from_hours(1);

/// More than a run gets to.
const QUOTA: Quota = Quota {
    limit: 1_000_000_000,
    window: Duration::from_mins(1),
};

/// A task's.
const DESCRIPTION: &str = "What it is about, in as many words as people write: who asked for it, what it takes, \
                           when it is done.";

/// Pages to answer with, each once: what a request makes of its page counts, and what it takes to make the page
/// does not.
type Pages = Arc<Mutex<Vec<Page<Task>>>>;

/// The API as the service has it on SQLite, except for what is stored, logged and counted; and a user's access token.
async fn api(pages: Pages) -> (Api, String) {
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(UuidV7Ids));
    let store = Arc::new(FakeStore::default());
    let key = "the service's key of at least 32 characters".to_owned();
    let accounts = AccountService::new(
        AccountPorts {
            users: store.clone(),
            sessions: store.clone(),
            cache: Arc::new(MemorySignedInCache::new()),
            hasher: Arc::new(FakeHasher::default()),
            issuer: Arc::new(JwtIssuer::new(JwtAlgorithm::Hs256, &key.into(), None)),
            tokens: Arc::new(FakeTokens::default()),
            outbox: store.clone(),
            outbox_signal: Arc::new(RecordingSignal::default()),
            mail_tokens: Arc::new(FakeMailTokens::default()),
            security_log: Arc::new(RecordingSecurityLog::default()),
            trace: Arc::new(FakeTrace::default()),
            clock: clock.clone(),
            ids: ids.clone(),
        },
        SessionPolicy {
            access_token_ttl: ACCESS_TOKEN_TTL,
            refresh_token_ttl: build::REFRESH_TOKEN_TTL,
        },
    );
    let ada = Register {
        email: build::email("ada@example.com"),
        password: Password::parse("Benchmark-1!").unwrap(),
        full_name: build::full_name("Ada Lovelace"),
        client: build::client(),
    };
    let grant = accounts.register(ada).await.unwrap();
    let mut tasks = MockTaskRepository::new();
    tasks
        .expect_create()
        .returning(|_| Ok(TaskCreation::Created));
    tasks.expect_find().returning(|_| Ok(None));
    tasks
        .expect_list()
        .returning(move |_, _| Ok(pages.lock().unwrap().pop().unwrap()));
    let limiter = Arc::new(MemoryRateLimiter::new(clock.clone()));
    let services = Services {
        accounts,
        tasks: TaskService::new(Arc::new(tasks), store.clone(), clock.clone(), ids.clone()),
        categories: CategoryService::new(store.clone(), clock.clone(), ids.clone()),
        limiter: limiter.clone(),
        stand_in_limiter: limiter,
        health: Health {
            database: store.clone(),
            schema: store,
            redis: None,
        },
        metrics: None,
        clock,
        ids,
    };
    let settings = Settings {
        production: true,
        verified_only: VerifiedOnly(false),
        cors_origins: Vec::new(),
        rate_limits: Some(RateLimits {
            user: QUOTA,
            anonymous: QUOTA,
        }),
        trusted_proxies: Vec::new(),
        bounds: Bounds::default(),
    };
    let token = grant.access_token.expose_secret().to_owned();
    (Api::new(services, settings), token)
}

/// Measures a request; where it asks for tasks it gets these.
fn answer(bencher: Bencher<'_, '_>, request: fn() -> TestRequest, tasks: Vec<Task>, expected: u16) {
    let system = System::new();
    let pages = Pages::default();
    let (api, token) = system.block_on(api(pages.clone()));
    let service = system.block_on(init_service(app(Data::new(api))));
    let page = Page {
        total: 1_000,
        items: tasks,
        request: PageRequest::default(),
    };
    let prepare = || {
        pages.lock().unwrap().push(page.clone());
        let authorization = ("Authorization", format!("Bearer {token}"));
        request().insert_header(authorization).to_request()
    };
    let send = |request| {
        system.block_on(async {
            let answered = service.call(request).await.unwrap();
            let response = answered.map_into_boxed_body();
            let status = response.status();
            (status, to_bytes(response.into_body()).await.unwrap())
        })
    };
    let (status, body) = send(prepare());
    assert_eq!(status.as_u16(), expected, "{body:?}");
    bencher.with_inputs(prepare).bench_local_values(send);
}

fn list() -> TestRequest {
    TestRequest::get().uri("/api/v1/tasks")
}

fn create(body: &'static str) -> TestRequest {
    TestRequest::post()
        .uri("/api/v1/tasks")
        .insert_header(("Content-Type", "application/json"))
        .set_payload(body)
}

/// A page's worth of tasks as people have them, with no, one or two categories each.
fn tasks() -> Vec<Task> {
    let user = build::user().build();
    let category = || build::category(&user).name("Category 1").build();
    (1..=PageRequest::DEFAULT_LIMIT)
        .map(|number| {
            build::task(&user)
                .title(&format!("Task {number} of somebody with much to do"))
                .description(DESCRIPTION)
                .due(noon())
                .categories((0..number % 3).map(|_| category()))
                .build()
        })
        .collect()
}

#[divan::bench]
fn health(bencher: Bencher<'_, '_>) {
    let request = || TestRequest::get().uri("/health/live");
    answer(bencher, request, Vec::new(), 200);
}

#[divan::bench]
fn page_of_0(bencher: Bencher<'_, '_>) {
    answer(bencher, list, Vec::new(), 200);
}

#[divan::bench]
fn page_of_20(bencher: Bencher<'_, '_>) {
    answer(bencher, list, tasks(), 200);
}

#[divan::bench]
fn missing_task(bencher: Bencher<'_, '_>) {
    let request = || TestRequest::get().uri("/api/v1/tasks/0198c7a2-0000-7000-8000-000000000000");
    answer(bencher, request, Vec::new(), 404);
}

#[divan::bench]
fn creation(bencher: Bencher<'_, '_>) {
    let request = || {
        create(
            r#"{"title":"Water the plants","due_date":"2100-01-01T12:00:00Z","priority":"high"}"#,
        )
    };
    answer(bencher, request, Vec::new(), 201);
}

#[divan::bench]
fn creation_with_3_errors(bencher: Bencher<'_, '_>) {
    let request =
        || create(r#"{"title":"No","due_date":"2000-01-01T12:00:00Z","priority":"great"}"#);
    answer(bencher, request, Vec::new(), 400);
}

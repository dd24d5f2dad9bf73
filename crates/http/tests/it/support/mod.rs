//! A world of fakes with the application in it, and what a test asks of it.

mod answer;
mod call;
pub(crate) mod document;
mod scene;
mod store;

use std::net::Ipv4Addr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::dev::{Payload, Service};
use actix_web::http::Method;
use actix_web::test::{TestRequest, init_service};
use actix_web::web::Data;
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};
use tasks_domain::access::VerifiedOnly;
use tasks_domain::account::{AccountPorts, AccountService, SessionPolicy};
use tasks_domain::category::CategoryService;
use tasks_domain::health::HealthProbe;
use tasks_domain::id::Id;
use tasks_domain::rate_limit::{Quota, RateLimiter};
use tasks_domain::task::TaskService;
use tasks_http::{Api, Health, RateLimits, Services, Settings, app};
use tasks_testkit::clock::FrozenClock;
use tasks_testkit::fakes::{
    FakeHasher, FakeIssuer, FakeRateLimiter, FakeSignedInCache, FakeTokens, RecordingMailer,
};
use tasks_testkit::ids::SequentialIds;

pub(crate) use answer::{Answer, CODES};
pub(crate) use call::Call;
pub(crate) use scene::{Operation, Scene};
pub(crate) use store::{DRIVER_MESSAGE, Fault, FaultyStore};

/// A password that keeps every rule.
pub(crate) const PASSWORD: &str = "Correct-Horse-7!";
/// How long access tokens work.
pub(crate) const ACCESS_TOKEN_TTL: Duration = Duration::from_mins(15);
/// How long refresh tokens work.
pub(crate) const REFRESH_TOKEN_TTL: Duration = Duration::from_hours(7 * 24);
/// An id that nothing has.
pub(crate) const NOBODYS: &str = "0198c7a2-0000-7000-8000-000000000000";

/// So many requests a minute.
pub(crate) fn per_minute(limit: u32) -> Quota {
    Quota {
        limit,
        window: Duration::from_mins(1),
    }
}

/// What a test may change before the application is built.
pub(crate) struct Setup {
    pub(crate) settings: Settings,
    /// The limiter, if not the fake one.
    pub(crate) limiter: Option<Arc<dyn RateLimiter>>,
    /// Redis, if there is one.
    pub(crate) redis: Option<Arc<dyn HealthProbe>>,
    pub(crate) cache: FakeSignedInCache,
}

impl Default for Setup {
    /// With limits that no test reaches by chance.
    fn default() -> Self {
        Self {
            settings: Settings {
                production: false,
                verified_only: VerifiedOnly(false),
                cors_origins: Vec::new(),
                rate_limits: Some(RateLimits {
                    user: per_minute(100_000),
                    anonymous: per_minute(100_000),
                }),
                trusted_proxies: Vec::new(),
            },
            limiter: None,
            redis: None,
            cache: FakeSignedInCache::default(),
        }
    }
}

/// The fakes that a test holds on to. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Fakes {
    pub(crate) clock: FrozenClock,
    pub(crate) store: FaultyStore,
    pub(crate) hasher: FakeHasher,
    pub(crate) mailer: RecordingMailer,
}

impl Fakes {
    /// What the API serves with, over these fakes.
    pub(crate) fn services(&self, setup: Setup) -> (Services, Settings) {
        let store = Arc::new(self.store.clone());
        let clock = Arc::new(self.clock.clone());
        let ids = Arc::new(SequentialIds::new(1));
        let ports = AccountPorts {
            users: store.clone(),
            sessions: store.clone(),
            cache: Arc::new(setup.cache),
            hasher: Arc::new(self.hasher.clone()),
            issuer: Arc::new(FakeIssuer),
            tokens: Arc::new(FakeTokens::default()),
            mailer: Arc::new(self.mailer.clone()),
            clock: clock.clone(),
            ids: ids.clone(),
        };
        let policy = SessionPolicy {
            access_token_ttl: ACCESS_TOKEN_TTL,
            refresh_token_ttl: REFRESH_TOKEN_TTL,
        };
        let fake_limiter =
            || -> Arc<dyn RateLimiter> { Arc::new(FakeRateLimiter::new(self.clock.clone())) };
        let services = Services {
            accounts: AccountService::new(ports, policy),
            tasks: TaskService::new(store.clone(), store.clone(), clock.clone(), ids.clone()),
            categories: CategoryService::new(store.clone(), clock.clone(), ids.clone()),
            limiter: setup.limiter.unwrap_or_else(fake_limiter),
            stand_in_limiter: fake_limiter(),
            health: Health {
                database: store.clone(),
                schema: store,
                redis: setup.redis,
            },
            clock,
            ids,
        };
        (services, setup.settings)
    }
}

type Served = LocalBoxFuture<'static, HttpResponse>;

/// The application over fakes. Clones share it.
#[derive(Clone)]
pub(crate) struct World {
    fakes: Fakes,
    pub(crate) api: Data<Api>,
    serve: Rc<dyn Fn(TestRequest, Option<Payload>) -> Served>,
}

impl Deref for World {
    type Target = Fakes;

    fn deref(&self) -> &Fakes {
        &self.fakes
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::default();
        change(&mut setup);
        let fakes = Fakes::default();
        let (services, settings) = fakes.services(setup);
        let api = Data::new(Api::new(services, settings));
        let service = Rc::new(init_service(app(api.clone())).await);
        let serve = move |request: TestRequest, payload: Option<Payload>| -> Served {
            let service = Rc::clone(&service);
            Box::pin(async move {
                let mut request = request.to_request();
                if let Some(payload) = payload {
                    *request.payload() = payload;
                }
                match service.call(request).await {
                    Ok(answer) => answer.into_parts().1.map_into_boxed_body(),
                    // What the server does with an error that reaches it.
                    Err(error) => error.error_response(),
                }
            })
        };
        Self {
            fakes,
            api,
            serve: Rc::new(serve),
        }
    }

    /// A request from 192.0.2.1.
    pub(crate) fn call(&self, method: Method, uri: &str) -> Call {
        Call::new(self.clone(), method, uri).from(Ipv4Addr::new(192, 0, 2, 1))
    }

    pub(crate) fn get(&self, uri: &str) -> Call {
        self.call(Method::GET, uri)
    }

    pub(crate) fn post(&self, uri: &str, body: &Value) -> Call {
        self.call(Method::POST, uri).json(body)
    }

    /// Somebody new, signed in.
    pub(crate) async fn register(&self, email: &str) -> User {
        let body = json!({ "email": email, "password": PASSWORD, "full_name": "Ada Lovelace" });
        let answer = self.post("/api/v1/auth/register", &body).await;
        User::of(self, &answer.expect(201))
    }

    /// A login, whatever comes of it.
    pub(crate) fn log_in(&self, email: &str, password: &str) -> Call {
        let body = json!({ "email": email, "password": password });
        self.post("/api/v1/auth/login", &body)
    }

    pub(crate) fn refresh(&self, token: &str) -> Call {
        self.post("/api/v1/auth/refresh", &json!({ "refresh_token": token }))
    }

    pub(crate) fn log_out(&self, token: &str) -> Call {
        self.post("/api/v1/auth/logout", &json!({ "refresh_token": token }))
    }
}

/// Somebody who is signed in.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) world: World,
    pub(crate) id: String,
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
}

impl User {
    /// Out of a `TokenResponse`.
    pub(crate) fn of(world: &World, grant: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            world: world.clone(),
            id: text(&grant["user"]["id"]),
            access_token: text(&grant["access_token"]),
            refresh_token: text(&grant["refresh_token"]),
        }
    }

    /// The id as the domain has it.
    pub(crate) fn domain_id(&self) -> Id<tasks_domain::account::User> {
        Id::new(self.id.parse().unwrap())
    }

    pub(crate) fn call(&self, method: Method, uri: &str) -> Call {
        self.world.call(method, uri).bearer(&self.access_token)
    }

    pub(crate) fn get(&self, uri: &str) -> Call {
        self.call(Method::GET, uri)
    }

    pub(crate) fn post(&self, uri: &str, body: &Value) -> Call {
        self.call(Method::POST, uri).json(body)
    }

    pub(crate) fn patch(&self, uri: &str, body: &Value) -> Call {
        self.call(Method::PATCH, uri).json(body)
    }

    pub(crate) fn delete(&self, uri: &str) -> Call {
        self.call(Method::DELETE, uri)
    }

    /// A new task with these members.
    pub(crate) async fn task(&self, body: &Value) -> Value {
        self.post("/api/v1/tasks", body).await.expect(201)
    }

    /// The path of a new task.
    pub(crate) async fn task_path(&self) -> String {
        let task = self.task(&json!({ "title": "Water the plants" })).await;
        path_of("tasks", &task)
    }

    /// A new category of that name.
    pub(crate) async fn category(&self, name: &str) -> Value {
        let body = json!({ "name": name });
        self.post("/api/v1/categories", &body).await.expect(201)
    }
}

/// The path of something that was answered.
pub(crate) fn path_of(collection: &str, thing: &Value) -> String {
    format!("/api/v1/{collection}/{}", thing["id"].as_str().unwrap())
}

/// The members of that name of a list of objects.
pub(crate) fn column<'a>(items: &'a Value, name: &str) -> Vec<&'a str> {
    let items = items.as_array().unwrap().iter();
    items.map(|item| item[name].as_str().unwrap()).collect()
}

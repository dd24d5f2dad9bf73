//! A world of fakes with the application in it, and what a test asks of it.

mod answer;
mod call;
pub(crate) mod document;
mod scene;
mod store;

use std::net::Ipv4Addr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::dev::{Payload, Service};
use actix_web::http::Method;
use actix_web::test::{TestRequest, init_service};
use actix_web::web::Data;
use futures_util::future::LocalBoxFuture;
use opentelemetry::global;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tasks_domain::access::VerifiedOnly;
use tasks_domain::account::{AccountPorts, AccountService, SessionPolicy};
use tasks_domain::category::CategoryService;
use tasks_domain::health::HealthProbe;
use tasks_domain::id::Id;
use tasks_domain::mail::{Delivery, DeliveryService, Mail, MailKind};
use tasks_domain::rate_limit::{Quota, RateLimiter};
use tasks_domain::task::TaskService;
use tasks_http::{Api, Bounds, Health, RateLimits, RenderMetrics, Services, Settings, app};
use tasks_testkit::clock::FrozenClock;
use tasks_testkit::fakes::{
    FakeHasher, FakeIssuer, FakeMailTokens, FakeRateLimiter, FakeSignedInCache, FakeTokens,
    FakeTrace, RecordingMailer, RecordingSecurityLog, RecordingSignal,
};
use tasks_testkit::ids::SequentialIds;

pub(crate) use answer::{Answer, CODES};
pub(crate) use call::Call;
pub(crate) use scene::{Operation, Scene};
pub(crate) use store::{DRIVER_MESSAGE, Fault, FaultyStore};

/// A password that keeps every rule.
pub(crate) const PASSWORD: &str = "Correct-Horse-7!";
/// Another.
pub(crate) const NEW_PASSWORD: &str = "Battery-Staple-8!";
/// One that nobody has.
pub(crate) const WRONG: &str = "Wrong-Horse-7!";
/// How every token in a mail begins.
pub(crate) const MAIL_TOKEN: &str = "mail-token-";
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
    /// Whether the cache counts on the fake limiter, as Redis does.
    pub(crate) cache_counts: bool,
    /// What `/metrics` tells, if there is such a page.
    pub(crate) metrics: Option<RenderMetrics>,
    /// Who keeps what is counted.
    pub(crate) meter: SdkMeterProvider,
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
                bounds: Bounds::default(),
            },
            limiter: None,
            redis: None,
            cache: FakeSignedInCache::default(),
            cache_counts: false,
            metrics: None,
            meter: SdkMeterProvider::default(),
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
    pub(crate) outbox_signal: RecordingSignal,
    pub(crate) security_log: RecordingSecurityLog,
    mail_tokens: FakeMailTokens,
}

impl Fakes {
    /// What the API serves with, over these fakes.
    pub(crate) fn services(&self, setup: Setup) -> (Services, Settings) {
        let store = Arc::new(self.store.clone());
        let clock = Arc::new(self.clock.clone());
        let ids = Arc::new(SequentialIds::new(1));
        let limiter = FakeRateLimiter::new(self.clock.clone());
        let cache = if setup.cache_counts {
            setup.cache.counting_on(limiter.clone())
        } else {
            setup.cache
        };
        let ports = AccountPorts {
            users: store.clone(),
            sessions: store.clone(),
            cache: Arc::new(cache),
            hasher: Arc::new(self.hasher.clone()),
            issuer: Arc::new(FakeIssuer),
            tokens: Arc::new(FakeTokens::default()),
            outbox: store.clone(),
            outbox_signal: Arc::new(self.outbox_signal.clone()),
            mail_tokens: Arc::new(self.mail_tokens.clone()),
            security_log: Arc::new(self.security_log.clone()),
            trace: Arc::new(FakeTrace::default()),
            clock: clock.clone(),
            ids: ids.clone(),
        };
        let policy = SessionPolicy {
            access_token_ttl: ACCESS_TOKEN_TTL,
            refresh_token_ttl: REFRESH_TOKEN_TTL,
        };
        let services = Services {
            accounts: AccountService::new(ports, policy),
            tasks: TaskService::new(store.clone(), store.clone(), clock.clone(), ids.clone()),
            categories: CategoryService::new(store.clone(), clock.clone(), ids.clone()),
            limiter: setup.limiter.unwrap_or_else(|| Arc::new(limiter)),
            stand_in_limiter: Arc::new(FakeRateLimiter::new(self.clock.clone())),
            health: Health {
                database: store.clone(),
                schema: store,
                redis: setup.redis,
            },
            metrics: setup.metrics,
            clock,
            ids,
        };
        (services, setup.settings)
    }

    /// Delivers all mails that are due, and tells which were sent.
    pub(crate) async fn deliver(&self) -> Vec<Mail> {
        let before = self.mailer.sent().len();
        let delivery = DeliveryService::new(
            Arc::new(self.store.clone()),
            Arc::new(self.mailer.clone()),
            Arc::new(self.mail_tokens.clone()),
            Arc::new(self.clock.clone()),
        );
        while !matches!(delivery.deliver_next().await.unwrap(), Delivery::Idle) {}
        self.mailer.sent().split_off(before)
    }

    /// Delivers all mails that are due, of which one is of that kind and to that address, and reads
    /// its token.
    pub(crate) async fn token_mailed(&self, kind: MailKind, to: &str) -> String {
        let mails = self.deliver().await.into_iter();
        let mut tokens = mails
            .filter(|mail| mail.kind == kind && mail.to.as_str() == to)
            .map(|mail| mail.token.expose_secret().to_owned());
        let token = tokens.next().expect("a mail");
        assert_eq!(tokens.next(), None);
        assert!(token.starts_with(MAIL_TOKEN));
        token
    }
}

/// Held while an application is made: what it counts goes to the meter provider that the process has
/// then, and every application of a test has its own.
static METER: Mutex<()> = Mutex::new(());

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
        let meter = setup.meter.clone();
        let (services, settings) = fakes.services(setup);
        let api = {
            let _alone = METER.lock().unwrap();
            global::set_meter_provider(meter);
            Data::new(Api::new(services, settings))
        };
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

    pub(crate) fn verify_email(&self, token: &str) -> Call {
        self.post("/api/v1/auth/verify-email", &json!({ "token": token }))
    }

    pub(crate) fn resend_verification(&self, email: &str) -> Call {
        let body = json!({ "email": email });
        self.post("/api/v1/auth/resend-verification", &body)
    }

    pub(crate) fn forgot_password(&self, email: &str) -> Call {
        self.post("/api/v1/auth/forgot-password", &json!({ "email": email }))
    }

    pub(crate) fn reset_password(&self, token: &str, new_password: &str) -> Call {
        let body = json!({ "token": token, "new_password": new_password });
        self.post("/api/v1/auth/reset-password", &body)
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

    pub(crate) fn me(&self) -> Call {
        self.get("/api/v1/users/me")
    }

    pub(crate) fn change_password(&self, current: &str, new: &str) -> Call {
        let body = json!({ "current_password": current, "new_password": new });
        self.post("/api/v1/users/me/change-password", &body)
    }

    pub(crate) fn delete_account(&self, password: &str) -> Call {
        self.delete("/api/v1/users/me")
            .json(&json!({ "password": password }))
    }

    /// Another login of the same user.
    pub(crate) async fn log_in_again(&self, email: &str) -> Self {
        Self::of(
            &self.world,
            &self.world.log_in(email, PASSWORD).await.expect(200),
        )
    }

    /// The user's sessions as they are listed.
    pub(crate) async fn sessions(&self) -> Vec<Value> {
        let list = self.get("/api/v1/users/me/sessions").await.expect(200);
        let items = list["items"].as_array().unwrap().clone();
        assert_eq!(list["total"], items.len());
        items
    }

    /// The path of the session that the access token belongs to.
    pub(crate) async fn session_path(&self) -> String {
        let sessions = self.sessions().await;
        let mut current = sessions.iter().filter(|it| it["current"] == true);
        let path = path_of("users/me/sessions", current.next().unwrap());
        assert_eq!(current.next(), None);
        path
    }

    /// The session has ended, for its access token and for its refresh token.
    pub(crate) async fn assert_out(&self) {
        self.me().await.assert_problem(401, "token_invalid");
        let refresh = self.world.refresh(&self.refresh_token).await;
        refresh.assert_problem(401, "refresh_token_invalid");
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

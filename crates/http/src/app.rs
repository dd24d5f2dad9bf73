//! The application: what a request meets on its way, from the outside in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{App, Error, HttpRequest, web};
use ipnet::IpNet;
use tasks_domain::BoxError;
use tasks_domain::access::VerifiedOnly;
use tasks_domain::account::AccountService;
use tasks_domain::category::CategoryService;
use tasks_domain::clock::Clock;
use tasks_domain::health::{HealthProbe, SchemaProbe};
use tasks_domain::id::IdGenerator;
use tasks_domain::rate_limit::{Quota, RateLimiter};
use tasks_domain::task::TaskService;
use utoipa_actix_web::AppExt;

use crate::bounds::Bounds;
use crate::metrics::Instruments;
use crate::middleware::{cors, limit, observe, route};
use crate::problem::Problem;
use crate::{openapi, routes};

/// Tells all metrics of the process in Prometheus's text format.
pub type RenderMetrics = Arc<dyn Fn() -> Result<String, BoxError> + Send + Sync>;

/// What the API serves with.
pub struct Services {
    /// Accounts.
    pub accounts: AccountService,
    /// Tasks.
    pub tasks: TaskService,
    /// Categories.
    pub categories: CategoryService,
    /// How often somebody may call.
    pub limiter: Arc<dyn RateLimiter>,
    /// Stands in for the limiter where it does not answer and guessing passwords must stay slow.
    pub stand_in_limiter: Arc<dyn RateLimiter>,
    /// Whether the parts are well.
    pub health: Health,
    /// What `/metrics` tells; `None` where there is no such page.
    pub metrics: Option<RenderMetrics>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids of requests.
    pub ids: Arc<dyn IdGenerator>,
}

/// The parts whose health is told.
pub struct Health {
    /// Whether the database answers.
    pub database: Arc<dyn HealthProbe>,
    /// Whether migrations are pending.
    pub schema: Arc<dyn SchemaProbe>,
    /// Whether Redis answers, if one is configured.
    pub redis: Option<Arc<dyn HealthProbe>>,
}

/// What an operator decides about the API.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether answers carry the security headers of production.
    pub production: bool,
    /// Whether only verified users may work with tasks and categories.
    pub verified_only: VerifiedOnly,
    /// The foreign origins whose pages may call, each as `scheme://host[:port]`, or `*`.
    pub cors_origins: Vec<String>,
    /// How often somebody may call; `None` switches the limit off.
    pub rate_limits: Option<RateLimits>,
    /// The proxies that are believed when they say whom they speak for.
    pub trusted_proxies: Vec<IpNet>,
    /// How much of everything a client may take.
    pub bounds: Bounds,
}

/// How often somebody may call.
#[derive(Clone, Copy, Debug)]
pub struct RateLimits {
    /// A signed-in user, whatever the address.
    pub user: Quota,
    /// An address without a valid token.
    pub anonymous: Quota,
}

/// What every request has at hand.
pub struct Api {
    pub(crate) accounts: AccountService,
    pub(crate) tasks: TaskService,
    pub(crate) categories: CategoryService,
    pub(crate) limiter: Arc<dyn RateLimiter>,
    pub(crate) stand_in_limiter: Arc<dyn RateLimiter>,
    pub(crate) health: Health,
    pub(crate) metrics: Option<RenderMetrics>,
    pub(crate) instruments: Instruments,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdGenerator>,
    pub(crate) limits: Option<limit::Limits>,
    pub(crate) settings: Settings,
    pub(crate) known_routes: route::KnownRoutes,
    draining: AtomicBool,
}

impl Api {
    /// The API over these services. What it counts goes to the meter provider that is installed now.
    pub fn new(services: Services, settings: Settings) -> Self {
        let Services {
            accounts,
            tasks,
            categories,
            limiter,
            stand_in_limiter,
            health,
            metrics,
            clock,
            ids,
        } = services;
        Self {
            accounts,
            tasks,
            categories,
            limiter,
            stand_in_limiter,
            health,
            instruments: Instruments::new(metrics.is_some()),
            metrics,
            clock,
            ids,
            limits: settings.rate_limits.map(limit::Limits::of),
            settings,
            known_routes: route::KnownRoutes::of(&openapi::document()),
            draining: AtomicBool::new(false),
        }
    }

    /// The API that a request is for.
    pub(crate) fn of(request: &HttpRequest) -> Result<web::Data<Self>, Problem> {
        request
            .app_data::<web::Data<Self>>()
            .cloned()
            .ok_or_else(|| Problem::internal("the application has no API"))
    }

    /// From now on the service is not ready: no new work should come here.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// The application over an API, `/metrics` among its pages.
pub fn app(
    api: web::Data<Api>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    let has_metrics = api.metrics.is_some();
    compose(api, has_metrics)
}

/// The application, whose `/metrics` may be elsewhere. The last middleware registered is the first
/// that a request meets.
pub(crate) fn compose(
    api: web::Data<Api>,
    has_metrics: bool,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    let cors = cors::cors(&api.settings);
    App::new()
        .app_data(api)
        .into_utoipa_app()
        .configure(routes::api)
        .into_app()
        .configure(|config| routes::undocumented(config, has_metrics))
        .wrap(from_fn(limit::limit))
        .wrap(from_fn(route::route))
        .wrap(cors)
        .wrap(from_fn(observe::observe))
}

/// The application that has `/metrics` and nothing else.
pub(crate) fn metrics(
    api: web::Data<Api>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    App::new()
        .app_data(api)
        .configure(routes::metrics)
        .wrap(from_fn(route::route))
        .wrap(from_fn(observe::observe))
}

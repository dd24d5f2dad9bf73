//! The REST API over actix-web: extractors, routes, bodies, problem documents, middleware, OpenAPI.
//!
//! A request meets [`app()`]'s middleware from the outside in (request id and log line, CORS, path
//! and method, limit), then its handler's extractors (token, input), then the handler, which
//! calls one use case of the domain.

mod app;
mod bounds;
mod client;
mod input;
mod metrics;
mod middleware;
mod openapi;
mod problem;
mod routes;
mod serve;
mod signed_in;
mod time;

pub use app::{Api, Health, RateLimits, RenderMetrics, Services, Settings, app};
pub use bounds::Bounds;
pub use openapi::openapi_json;
pub use serve::{Listeners, serve};

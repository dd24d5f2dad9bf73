//! The endpoints, one module to a resource: DTOs, then handlers of a few lines each.

mod account_pages;
mod auth;
mod categories;
mod docs;
mod health;
mod metrics;
mod passwords;
mod sessions;
mod tasks;
mod users;
mod verification;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web;
use serde::Serialize;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::problem::Problem;

pub(crate) use metrics::page as metrics;

/// Everything below is limited, never cached, and answered with JSON.
pub(crate) const API_PREFIX: &str = "/api/";

/// Here probes ask.
const HEALTH_PREFIX: &str = "/health";

/// Here passwords and tokens are tried, so here a limit always holds.
pub(crate) const AUTH_PREFIX: &str = "/api/v1/auth/";

/// Whether a route is for probes and scrapers, which ask every few seconds: what they ask is not traced.
pub(crate) fn is_for_machines(route: &str) -> bool {
    route == metrics::METRICS || route.starts_with(HEALTH_PREFIX)
}

/// What a handler returns.
type Answer = Result<HttpResponse, Problem>;

/// Registers every documented route.
pub(crate) fn api(config: &mut ServiceConfig<'_>) {
    config
        .service(auth::register)
        .service(auth::log_in)
        .service(auth::refresh)
        .service(auth::log_out)
        .service(verification::verify_email)
        .service(verification::resend_verification)
        .service(passwords::forgot_password)
        .service(passwords::reset_password)
        .service(users::get_me)
        .service(users::update_me)
        .service(users::delete_me)
        .service(passwords::change_password)
        .service(sessions::list)
        .service(sessions::end)
        .service(sessions::end_all)
        .service(tasks::create)
        .service(tasks::list)
        .service(tasks::get)
        .service(tasks::edit)
        .service(tasks::delete)
        .service(tasks::assign_category)
        .service(tasks::unassign_category)
        .service(categories::create)
        .service(categories::list)
        .service(categories::get)
        .service(categories::edit)
        .service(categories::delete)
        .service(health::health)
        .service(health::live)
        .service(health::ready);
}

/// Registers what the OpenAPI document does not name: pages for people, and metrics where they are
/// told.
pub(crate) fn undocumented(config: &mut web::ServiceConfig, has_metrics: bool) {
    docs::pages(config);
    account_pages::pages(config);
    if has_metrics {
        metrics::page(config);
    }
}

/// 200 with a body.
fn ok(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().json(body)
}

/// 201 with a body, and where to find it from now on.
fn created(location: String, body: &impl Serialize) -> HttpResponse {
    HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .json(body)
}

/// 202, which tells nothing but that the request was taken.
fn accepted() -> HttpResponse {
    HttpResponse::Accepted().finish()
}

/// 204.
fn no_content() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

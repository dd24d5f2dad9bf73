//! The endpoints, one module to a resource: DTOs, then handlers of a few lines each.

mod auth;
mod categories;
mod health;
mod pages;
mod tasks;
mod users;

use actix_web::HttpResponse;
use actix_web::http::header;
use serde::Serialize;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::problem::Problem;

pub(crate) use pages::pages;

/// Everything below is limited, never cached, and answered with JSON.
pub(crate) const API_PREFIX: &str = "/api/";

/// Here passwords and tokens are tried, so here a limit always holds.
pub(crate) const AUTH_PREFIX: &str = "/api/v1/auth/";

/// What a handler returns.
type Answer = Result<HttpResponse, Problem>;

/// Registers every documented route.
pub(crate) fn api(config: &mut ServiceConfig<'_>) {
    config
        .service(auth::register)
        .service(auth::log_in)
        .service(auth::refresh)
        .service(auth::log_out)
        .service(users::get_me)
        .service(users::update_me)
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

/// 204.
fn no_content() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

//! `/metrics`: what Prometheus asks for.

use actix_web::web::ServiceConfig;
use actix_web::{HttpResponse, web};

use super::Answer;
use crate::app::Api;
use crate::problem::{Code, Problem};

/// Where the metrics are.
pub(super) const METRICS: &str = "/metrics";

/// Prometheus's text format.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Registers the metrics.
pub(crate) fn page(config: &mut ServiceConfig) {
    config.route(METRICS, web::get().to(metrics));
}

async fn metrics(api: web::Data<Api>) -> Answer {
    let render = api.metrics.as_ref();
    let render = render.ok_or_else(|| Problem::new(Code::NotFound))?;
    let text = render().map_err(Problem::internal)?;
    Ok(HttpResponse::Ok().content_type(MEDIA_TYPE).body(text))
}

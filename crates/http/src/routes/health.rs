//! `/health`: whether the service is well.

use std::future::Future;
use std::time::Duration;

use actix_web::{HttpResponse, get, web};
use futures_util::future::{OptionFuture, join};
use serde::Serialize;
use tasks_domain::health::{HealthProbe, SchemaState};
use tasks_domain::store::StoreError;
use utoipa::ToSchema;

use super::Answer;
use crate::app::Api;
use crate::problem::chain;
use crate::time::Time;

/// How long a check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// How the service is.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "status": "healthy", "version": "0.1.0",
    "checks": { "database": "ok", "redis": "disabled" },
    "timestamp": "2030-01-31T12:00:00.000000Z",
}))]
struct HealthRead {
    /// `healthy`, or `degraded` where a check failed.
    status: &'static str,
    /// The service's.
    version: &'static str,
    checks: Checks,
    #[schema(inline)]
    timestamp: Time,
}

/// How the parts are: each `ok`, `error`, or `disabled` where there is none.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({ "database": "ok", "redis": "disabled" }))]
struct Checks {
    /// The store.
    #[schema(example = "ok")]
    database: &'static str,
    /// The limits and the cache.
    #[schema(example = "disabled")]
    redis: &'static str,
}

/// That the process serves.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({ "status": "alive" }))]
struct LiveRead {
    /// Always `alive`.
    status: &'static str,
}

/// Whether new work may come here.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({ "status": "ready" }))]
struct ReadyRead {
    /// `ready` or `not_ready`.
    status: &'static str,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// The answer of a part, which counts as a failure if it does not come in time.
async fn bounded<T>(
    part: &'static str,
    asking: impl Future<Output = Result<T, StoreError>>,
) -> Option<T> {
    match tokio::time::timeout(CHECK_TIMEOUT, asking).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::warn!(part, error = %chain(&error), "health check failed");
            None
        }
        Err(_elapsed) => {
            tracing::warn!(part, error = "no answer in time", "health check failed");
            None
        }
    }
}

async fn check(part: &'static str, probe: &dyn HealthProbe) -> &'static str {
    bounded(part, probe.check())
        .await
        .map_or("error", |()| "ok")
}

/// How the service is
///
/// Checks the database and Redis side by side.
#[utoipa::path(
    operation_id = "health", tag = "health",
    responses(
        (status = 200, description = "All is well", body = HealthRead),
        (status = 503, description = "A check failed; `checks` names it", body = HealthRead,
            example = json!({
                "status": "degraded", "version": "0.1.0",
                "checks": { "database": "error", "redis": "disabled" },
                "timestamp": "2030-01-31T12:00:00.000000Z",
            })),
    ),
)]
#[get("/health")]
pub(super) async fn health(api: web::Data<Api>) -> Answer {
    let redis = OptionFuture::from(
        api.health
            .redis
            .as_deref()
            .map(|probe| check("redis", probe)),
    );
    let (database, redis) = join(check("database", &*api.health.database), redis).await;
    let checks = Checks {
        database,
        redis: redis.unwrap_or("disabled"),
    };
    let is_healthy = checks.database != "error" && checks.redis != "error";
    let (mut answer, status) = if is_healthy {
        (HttpResponse::Ok(), "healthy")
    } else {
        (HttpResponse::ServiceUnavailable(), "degraded")
    };
    Ok(answer.json(HealthRead {
        status,
        version: env!("CARGO_PKG_VERSION"),
        checks,
        timestamp: Time(api.clock.now()),
    }))
}

/// Whether the process serves
///
/// Asks nothing but the process itself.
#[utoipa::path(
    operation_id = "live", tag = "health",
    responses((status = 200, description = "It does", body = LiveRead)),
)]
#[get("/health/live")]
pub(super) async fn live() -> Answer {
    Ok(HttpResponse::Ok().json(LiveRead { status: "alive" }))
}

/// Whether new work may come here
///
/// Not while the database is out of reach, migrations are pending or the process goes away.
#[utoipa::path(
    operation_id = "ready", tag = "health",
    responses(
        (status = 200, description = "It may", body = ReadyRead),
        (status = 503, description = "Not now; `reason` says why", body = ReadyRead,
            example = json!({ "status": "not_ready", "reason": "1 migration is pending" })),
    ),
)]
#[get("/health/ready")]
pub(super) async fn ready(api: web::Data<Api>) -> Answer {
    let reason = if api.is_draining() {
        Some("the service is shutting down".to_owned())
    } else {
        not_ready(bounded("database", api.health.schema.schema()).await)
    };
    let (mut answer, status) = match reason {
        None => (HttpResponse::Ok(), "ready"),
        Some(_) => (HttpResponse::ServiceUnavailable(), "not_ready"),
    };
    Ok(answer.json(ReadyRead { status, reason }))
}

/// Why a store of that schema is no base for work.
fn not_ready(schema: Option<SchemaState>) -> Option<String> {
    match schema {
        Some(SchemaState::Current) => None,
        Some(SchemaState::Behind(1)) => {
            Some("1 migration is pending: run `task-api migrate`".to_owned())
        }
        Some(SchemaState::Behind(pending)) => Some(format!(
            "{pending} migrations are pending: run `task-api migrate`"
        )),
        Some(SchemaState::Ahead(1)) => Some(
            "the database has 1 migration that this version does not know: run a newer one"
                .to_owned(),
        ),
        Some(SchemaState::Ahead(unknown)) => Some(format!(
            "the database has {unknown} migrations that this version does not know: run a newer one"
        )),
        None => Some("the database does not answer".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_migration_is_no_plural() {
        for (schema, expected) in [
            (SchemaState::Behind(1), "1 migration is pending"),
            (SchemaState::Behind(2), "2 migrations are pending"),
            (SchemaState::Ahead(1), "1 migration that this version"),
            (SchemaState::Ahead(2), "2 migrations that this version"),
        ] {
            let reason = not_ready(Some(schema)).unwrap();
            assert!(reason.contains(expected), "{reason}");
        }
        assert_eq!(not_ready(Some(SchemaState::Current)), None);
    }
}

//! Which pages of other origins may call.

use actix_web::http::Method;
use serde_json::json;
use tasks_http::RateLimits;

use crate::support::{Call, Fault, User, World, column, per_minute};

const ALLOWED: &str = "https://app.example.com";
const FOREIGN: &str = "https://foreign.example";

async fn world() -> World {
    World::with(|setup| setup.settings.cors_origins = vec![ALLOWED.to_owned()]).await
}

fn preflight(world: &World, origin: &str, method: &str) -> Call {
    world
        .call(Method::OPTIONS, "/api/v1/tasks")
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header(
            "access-control-request-headers",
            "authorization,content-type,x-request-id",
        )
}

async fn titles(user: &User) -> usize {
    let page = user.get("/api/v1/tasks").await.expect(200);
    column(&page["items"], "title").len()
}

#[actix_web::test]
async fn an_allowed_origin_may_read_the_answer() {
    let world = world().await;
    let ada = world.register("ada@example.com").await;
    let call = ada.post("/api/v1/tasks", &json!({ "title": "Buy milk" }));
    let answer = call.header("origin", ALLOWED).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("access-control-allow-origin"), Some(ALLOWED));
    let exposed = answer
        .header("access-control-expose-headers")
        .unwrap()
        .to_lowercase();
    for name in [
        "x-request-id",
        "retry-after",
        "location",
        "ratelimit",
        "ratelimit-policy",
    ] {
        assert!(
            exposed.split(", ").any(|it| it.trim() == name),
            "{name}: {exposed}"
        );
    }
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert!(
        answer
            .header("vary")
            .unwrap()
            .to_lowercase()
            .contains("origin")
    );
}

#[actix_web::test]
async fn an_allowed_origin_may_read_every_refusal() {
    let world = world().await;
    let ada = world.register("ada@example.com").await;
    let refusals = [
        (400, ada.post("/api/v1/tasks", &json!({}))),
        (401, world.get("/api/v1/tasks")),
        (404, ada.get("/api/v1/nothing")),
        (405, ada.call(Method::PUT, "/api/v1/tasks")),
    ];
    for (status, call) in refusals {
        let answer = call.header("origin", ALLOWED).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(ALLOWED));
    }
    for (fault, status) in [
        (Fault::Unavailable, 503),
        (Fault::Corrupt, 500),
        (Fault::Panic, 500),
    ] {
        world.store.fail(fault);
        let answer = ada.get("/api/v1/tasks").header("origin", ALLOWED).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(ALLOWED));
        assert!(
            answer
                .header("vary")
                .unwrap()
                .to_lowercase()
                .contains("origin")
        );
    }
}

#[actix_web::test]
async fn an_allowed_origin_may_read_that_it_has_called_too_often() {
    let world = World::with(|setup| {
        setup.settings.cors_origins = vec![ALLOWED.to_owned()];
        setup.settings.rate_limits = Some(RateLimits {
            user: per_minute(1),
            anonymous: per_minute(1),
        });
    })
    .await;
    world.get("/api/v1/tasks").await;
    let answer = world.get("/api/v1/tasks").header("origin", ALLOWED).await;
    answer.assert_problem(429, "rate_limited");
    assert_eq!(answer.header("access-control-allow-origin"), Some(ALLOWED));
    // A preflight carries no token and counts for nothing.
    for _ in 0..3 {
        let answer = preflight(&world, ALLOWED, "POST").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit"), None);
    }
}

#[actix_web::test]
async fn a_preflight_is_answered_without_a_token() {
    let world = world().await;
    for method in ["GET", "HEAD", "POST", "PATCH", "DELETE"] {
        let answer = preflight(&world, ALLOWED, method).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.header("access-control-allow-origin"), Some(ALLOWED));
        let methods = answer.header("access-control-allow-methods").unwrap();
        assert!(methods.contains(method), "{methods}");
        let headers = answer
            .header("access-control-allow-headers")
            .unwrap()
            .to_lowercase();
        for name in ["authorization", "content-type", "x-request-id"] {
            assert!(headers.contains(name), "{headers}");
        }
        assert!(answer.header("access-control-max-age").is_some());
    }
}

#[actix_web::test]
async fn a_foreign_origin_is_refused_and_its_request_not_carried_out() {
    let world = world().await;
    let ada = world.register("ada@example.com").await;
    for origin in [
        FOREIGN,
        "null",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.foreign.example",
        "https://xapp.example.com",
    ] {
        let call = ada.post("/api/v1/tasks", &json!({ "title": "Buy milk" }));
        let answer = call.header("origin", origin).await;
        answer.assert_problem(403, "forbidden");
        assert_eq!(
            answer.header("access-control-allow-origin"),
            None,
            "{origin}"
        );
        let answer = preflight(&world, origin, "POST").await;
        answer.assert_problem(403, "forbidden");
        assert_eq!(
            answer.header("access-control-allow-origin"),
            None,
            "{origin}"
        );
    }
    assert_eq!(titles(&ada).await, 0);
}

#[actix_web::test]
async fn a_foreign_origin_may_not_read_a_failure_either() {
    let world = world().await;
    world.store.fail(Fault::Panic);
    let answer = world
        .log_in("ada@example.com", "x")
        .header("origin", FOREIGN)
        .await;
    answer.assert_problem(403, "forbidden");
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[actix_web::test]
async fn the_services_own_pages_may_call() {
    let world = World::new().await;
    let ada = world.register("ada@example.com").await;
    for origin in ["http://localhost:8000", "https://localhost:8000"] {
        let call = ada.post("/api/v1/tasks", &json!({ "title": "Buy milk" }));
        let call = call
            .header("host", "localhost:8000")
            .header("origin", origin);
        assert_eq!(call.await.status, 201);
    }
    let call = ada.get("/api/v1/tasks").header("host", "localhost:8000");
    let answer = call.header("origin", "http://localhost:3000").await;
    answer.assert_problem(403, "forbidden");
}

#[actix_web::test]
async fn a_star_allows_every_origin() {
    let world = World::with(|setup| setup.settings.cors_origins = vec!["*".to_owned()]).await;
    let answer = world.get("/health/live").header("origin", FOREIGN).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(FOREIGN));
}

#[actix_web::test]
async fn a_caller_without_an_origin_is_no_page() {
    let answer = world().await.get("/health/live").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

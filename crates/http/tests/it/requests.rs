//! Contract §§1, 7: what every request gets, whatever comes of it.

use std::collections::HashSet;

use actix_web::http::Method;
use serde_json::json;

use crate::support::{Answer, Call, Fault, Scene, World};

/// Requests of every fate.
fn of_every_fate(scene: &Scene) -> Vec<(u16, Call)> {
    let world = &scene.world;
    vec![
        (200, world.get("/health/live")),
        (200, world.get("/openapi.json")),
        (200, scene.ada.get("/api/v1/tasks")),
        (
            201,
            scene
                .ada
                .post("/api/v1/tasks", &json!({ "title": "Buy milk" })),
        ),
        (204, world.log_out("unknown")),
        (307, world.get("/")),
        (400, scene.ada.post("/api/v1/tasks", &json!({}))),
        (401, world.get("/api/v1/tasks")),
        (403, scene.bob.get(&format!("/api/v1/tasks/{}", scene.task))),
        (404, world.get("/nothing")),
        (404, world.get("/api/v1/nothing")),
        (405, world.call(Method::PUT, "/api/v1/tasks")),
        (
            415,
            world
                .post("/api/v1/auth/login", &json!({}))
                .body("text/plain", ""),
        ),
    ]
}

#[actix_web::test]
async fn the_callers_request_id_is_taken_over() {
    let scene = Scene::new().await;
    let longest = "x".repeat(128);
    for id in ["a", "0", "A-Z_a.z-09", &longest] {
        for (status, call) in of_every_fate(&scene) {
            let answer = call.header("x-request-id", id).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("x-request-id"), Some(id));
        }
    }
}

#[actix_web::test]
async fn any_other_request_id_is_replaced_by_a_new_uuid() {
    let world = World::new().await;
    let too_long = "x".repeat(129);
    let mut seen = HashSet::new();
    for id in [
        "", " ", "a b", "a/b", "é", "a\tb", "a;b", "\u{7f}x", &too_long,
    ] {
        if id.contains('\u{7f}') {
            continue; // no header value at all
        }
        let answer = world.get("/health/live").header("x-request-id", id).await;
        let given = answer.header("x-request-id").unwrap();
        assert!(given.parse::<uuid::Uuid>().is_ok(), "{id}: {given}");
        assert!(seen.insert(given.to_owned()));
    }
    let answer = world.get("/health/live").await;
    assert!(seen.insert(answer.header("x-request-id").unwrap().to_owned()));
}

#[actix_web::test]
async fn the_api_is_never_cached_and_the_pages_may_be() {
    // That `/api` says so is checked of every answer, in `support`.
    let world = World::new().await;
    for page in ["/docs", "/openapi.json", "/health/live"] {
        assert_eq!(world.get(page).await.header("cache-control"), None);
    }
}

const SECURITY_HEADERS: [(&str, &str); 4] = [
    (
        "strict-transport-security",
        "max-age=63072000; includeSubDomains",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
];

fn security_headers(answer: &Answer) -> Vec<(&'static str, Option<&str>)> {
    let names = SECURITY_HEADERS.into_iter();
    names.map(|(name, _)| (name, answer.header(name))).collect()
}

#[actix_web::test]
async fn in_production_every_answer_carries_the_security_headers() {
    let world = World::with(|setup| setup.settings.production = true).await;
    let scene = Scene::of(world).await;
    let expected = SECURITY_HEADERS.map(|(name, value)| (name, Some(value)));
    for (status, call) in of_every_fate(&scene) {
        let answer = call.await;
        assert_eq!(answer.status, status);
        assert_eq!(security_headers(&answer), expected);
    }
    let preflight = scene.world.call(Method::OPTIONS, "/api/v1/tasks");
    let foreign = preflight
        .header("origin", "https://foreign.example")
        .header("access-control-request-method", "GET")
        .await;
    assert_eq!(security_headers(&foreign), expected);
    scene.world.store.fail(Fault::Unavailable);
    let away = scene.ada.get("/api/v1/tasks").await;
    away.assert_problem(503, "unavailable");
    assert_eq!(security_headers(&away), expected);
    scene.world.store.fail(Fault::Panic);
    let panicked = scene.ada.get("/api/v1/tasks").await;
    panicked.assert_problem(500, "internal_error");
    assert_eq!(security_headers(&panicked), expected);
}

#[actix_web::test]
async fn elsewhere_no_answer_does() {
    let scene = Scene::new().await;
    for (_, call) in of_every_fate(&scene) {
        let answer = call.await;
        assert!(
            security_headers(&answer)
                .iter()
                .all(|(_, value)| value.is_none())
        );
    }
}

#[actix_web::test]
async fn head_is_served_where_get_is() {
    let scene = Scene::new().await;
    for operation in scene.operations() {
        if operation.method != Method::GET {
            continue;
        }
        let get = operation.by(&scene.ada).await;
        let mut head = operation;
        head.method = Method::HEAD;
        let head = head.by(&scene.ada).await;
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type"), get.header("content-type"));
    }
    for page in ["/docs", "/openapi.json"] {
        assert_eq!(scene.world.call(Method::HEAD, page).await.status, 200);
    }
    let head = scene.world.call(Method::HEAD, "/api/v1/tasks").await;
    assert_eq!(head.status, 401);
}

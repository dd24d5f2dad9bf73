//! Contract §1: the order in which refusals come, by requests that deserve several at once.

use actix_web::http::Method;
use serde_json::json;
use tasks_domain::access::VerifiedOnly;
use tasks_http::RateLimits;

use crate::support::{Call, NOBODYS, Scene, User, WRONG, World, path_of, per_minute};

const TOO_LARGE: usize = 64 * 1024 + 1;

/// A request without a token, of a wrong media type, too large, and malformed.
fn all_wrong(world: &World, method: Method, path: &str) -> Call {
    world
        .call(method, path)
        .body("text/plain", "x".repeat(TOO_LARGE))
}

/// A world with a limit of one request, which is used up.
async fn exhausted() -> (World, User) {
    let world = World::with(|setup| {
        setup.settings.rate_limits = Some(RateLimits {
            user: per_minute(1),
            anonymous: per_minute(1),
        });
    })
    .await;
    let user = world.register("ada@example.com").await;
    user.get("/api/v1/users/me").await.expect(200);
    (world, user)
}

#[actix_web::test]
async fn path_and_method_come_before_the_limit() {
    let (world, ada) = exhausted().await;
    let answer = all_wrong(&world, Method::POST, "/api/v1/nothing").await;
    answer.assert_problem(404, "not_found");
    let answer = all_wrong(&world, Method::PUT, "/api/v1/tasks").await;
    answer.assert_problem(405, "method_not_allowed");
    let answer = ada.get("/api/v1/nothing").await;
    answer.assert_problem(404, "not_found");
}

#[actix_web::test]
async fn the_limit_comes_before_the_token() {
    let (world, ada) = exhausted().await;
    let answer = all_wrong(&world, Method::POST, "/api/v1/tasks").await;
    answer.assert_problem(429, "rate_limited");
    let bad = world.get("/api/v1/users/me").bearer("bad").await;
    bad.assert_problem(429, "rate_limited");
    let answer = all_wrong(&world, Method::POST, "/api/v1/auth/login").await;
    answer.assert_problem(429, "rate_limited");
    // A session that has ended is known only after the limit.
    ada.get("/api/v1/users/me")
        .await
        .assert_problem(429, "rate_limited");
}

#[actix_web::test]
async fn the_token_comes_before_the_body_and_the_path_id() {
    let world = World::new().await;
    for (method, path) in [
        (Method::POST, "/api/v1/tasks"),
        (Method::PATCH, "/api/v1/tasks/x"),
        (Method::GET, "/api/v1/tasks/x"),
        (Method::GET, "/api/v1/tasks?page=x"),
        (Method::PATCH, "/api/v1/users/me"),
        (Method::DELETE, "/api/v1/users/me"),
        (Method::POST, "/api/v1/users/me/change-password"),
        (Method::DELETE, "/api/v1/users/me/sessions/x"),
        (Method::POST, "/api/v1/categories"),
    ] {
        let answer = all_wrong(&world, method.clone(), path).await;
        answer.assert_problem(401, "token_missing");
        let answer = all_wrong(&world, method, path).bearer("bad").await;
        answer.assert_problem(401, "token_invalid");
    }
}

#[actix_web::test]
async fn the_media_type_comes_before_the_size() {
    let scene = Scene::new().await;
    for operation in scene
        .operations()
        .into_iter()
        .filter(|it| it.body.is_some())
    {
        let call = operation
            .by(&scene.ada)
            .body("text/plain", "x".repeat(TOO_LARGE));
        call.await.assert_problem(415, "unsupported_media_type");
    }
    let call = scene.ada.call(Method::PATCH, "/api/v1/tasks/x");
    let call = call.body("text/plain", "x".repeat(TOO_LARGE));
    call.await.assert_problem(415, "unsupported_media_type");
}

#[actix_web::test]
async fn the_size_comes_before_the_content() {
    let scene = Scene::new().await;
    let call = scene.ada.call(Method::PATCH, "/api/v1/tasks/x");
    let answer = call.raw("x".repeat(TOO_LARGE)).await;
    answer.assert_problem(413, "payload_too_large");
}

#[actix_web::test]
async fn the_content_comes_before_403_404_and_409() {
    let world = World::with(|setup| setup.settings.verified_only = VerifiedOnly(true)).await;
    let scene = Scene::of(world).await;
    let eve = scene.world.register("eve@example.com").await;
    let path = format!("/api/v1/tasks/{}", scene.task);
    let bad = json!({ "version": 0 });
    // Not verified; somebody else's; not there.
    eve.patch(&path, &bad)
        .await
        .assert_invalid(&[("version", "range")]);
    scene
        .bob
        .patch(&path, &bad)
        .await
        .assert_invalid(&[("version", "range")]);
    let nowhere = format!("/api/v1/tasks/{NOBODYS}");
    scene
        .ada
        .patch(&nowhere, &bad)
        .await
        .assert_invalid(&[("version", "range")]);
    eve.get("/api/v1/tasks/x")
        .await
        .assert_invalid(&[("id", "format")]);
    eve.get("/api/v1/tasks?page=0")
        .await
        .assert_invalid(&[("page", "range")]);
    eve.post("/api/v1/tasks", &json!({}))
        .await
        .assert_invalid(&[("title", "required")]);
    eve.post("/api/v1/categories", &json!({}))
        .await
        .assert_invalid(&[("name", "required")]);
    // A version that is not the task's, and a due date in the past.
    let stale = json!({ "version": 9, "due_date": "2000-01-01T00:00:00Z" });
    scene
        .ada
        .patch(&path, &stale)
        .await
        .assert_invalid(&[("due_date", "past")]);
    // A taken address, and a bad name.
    let body = json!({ "email": "ada@example.com", "password": "x", "full_name": "" });
    let answer = scene.world.post("/api/v1/auth/register", &body).await;
    answer.assert_invalid(&[("password", "length"), ("full_name", "length")]);
    // A token that is none, and a bad password.
    let answer = scene.world.reset_password("x", "").await;
    answer.assert_invalid(&[("new_password", "length")]);
    // A wrong password and a bad one, also under the lock.
    for _ in 0..6 {
        let answer = scene.bob.change_password(WRONG, "").await;
        answer.assert_invalid(&[("new_password", "length")]);
        scene.bob.delete_account(WRONG).await;
    }
    let locked = scene.bob.delete_account(WRONG).await;
    locked.assert_problem(403, "account_locked");
}

#[actix_web::test]
async fn not_verified_comes_before_404_and_409() {
    let world = World::with(|setup| setup.settings.verified_only = VerifiedOnly(true)).await;
    let eve = world.register("eve@example.com").await;
    for path in [
        format!("/api/v1/tasks/{NOBODYS}"),
        format!("/api/v1/categories/{NOBODYS}"),
    ] {
        eve.get(&path)
            .await
            .assert_problem(403, "email_not_verified");
    }
}

#[actix_web::test]
async fn whose_it_is_comes_before_404_of_another_and_409() {
    let scene = Scene::new().await;
    let path = format!("/api/v1/tasks/{}", scene.task);
    let stale = json!({ "version": 9, "title": "Another title" });
    scene
        .bob
        .patch(&path, &stale)
        .await
        .assert_problem(403, "forbidden");
    let nowhere = format!("/api/v1/tasks/{NOBODYS}");
    scene
        .ada
        .patch(&nowhere, &stale)
        .await
        .assert_problem(404, "not_found");
    // Somebody else's task, and a category that is not there.
    let assign = format!("{path}/categories/{NOBODYS}");
    let answer = scene.bob.call(Method::POST, &assign).await;
    answer.assert_problem(403, "forbidden");
    // Somebody else's category, and a name that is taken.
    scene.bob.category("Mine").await;
    let work = scene.operation("get_category").path;
    let answer = scene.bob.patch(&work, &json!({ "name": "Mine" })).await;
    answer.assert_problem(403, "forbidden");
}

#[actix_web::test]
async fn whose_it_was_does_not_matter_once_it_is_deleted() {
    let scene = Scene::new().await;
    let gone = scene.ada.task(&json!({ "title": "Soon gone" })).await;
    let path = path_of("tasks", &gone);
    scene.ada.delete(&path).await.expect(204);
    scene.bob.get(&path).await.assert_problem(404, "not_found");
    scene.ada.get(&path).await.assert_problem(404, "not_found");
}

//! Contract §§1, 5: bad days. The service answers, in time, and says nothing of what went wrong.

use std::sync::Arc;
use std::time::Duration;

use tasks_domain::mail::MailKind;
use tasks_testkit::fakes::FakeSignedInCache;

use crate::support::{Fault, FaultyStore, NEW_PASSWORD, Operation, PASSWORD, Scene, World};

/// Where every request asks the store who calls.
async fn scene() -> Scene {
    let world = World::with(|setup| setup.cache = FakeSignedInCache::forgetful()).await;
    Scene::of(world).await
}

#[actix_web::test]
async fn a_store_that_is_away_is_503_for_every_operation_and_never_401() {
    let scene = scene().await;
    scene.world.store.fail(Fault::Unavailable);
    for operation in scene.operations().into_iter().filter(Operation::is_api) {
        let answer = operation.by(&scene.ada).await;
        answer.assert_problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
}

#[actix_web::test]
async fn a_store_that_is_away_is_503_also_for_a_user_who_is_remembered() {
    let scene = Scene::new().await;
    scene.ada.get("/api/v1/users/me").await.expect(200);
    scene.world.store.fail(Fault::Unavailable);
    for operation in scene.operations() {
        if operation.is_for_members() {
            let answer = operation.by(&scene.ada).await;
            answer.assert_problem(503, "unavailable");
        }
    }
    scene.ada.get("/api/v1/users/me").await.expect(200);
}

#[actix_web::test]
async fn a_refusal_that_needs_no_store_comes_without_it() {
    let scene = scene().await;
    scene.world.store.fail(Fault::Unavailable);
    let none = scene.world.get("/api/v1/tasks").await;
    none.assert_problem(401, "token_missing");
    let bad = scene.world.get("/api/v1/tasks").bearer("bad").await;
    bad.assert_problem(401, "token_invalid");
    scene
        .world
        .get("/api/v1/nothing")
        .await
        .assert_problem(404, "not_found");
}

#[actix_web::test]
async fn a_store_that_is_back_is_used_again() {
    let scene = scene().await;
    scene.world.store.fail(Fault::Unavailable);
    scene
        .ada
        .get("/api/v1/tasks")
        .await
        .assert_problem(503, "unavailable");
    scene.world.store.fail(None);
    scene.ada.get("/api/v1/tasks").await.expect(200);
}

#[actix_web::test]
async fn whatever_else_goes_wrong_in_the_store_is_500() {
    // That no answer repeats the driver's words is checked in `support`.
    for fault in [Fault::Corrupt, Fault::Other, Fault::Panic] {
        for cache in [FakeSignedInCache::forgetful(), FakeSignedInCache::default()] {
            let world = World::with(|setup| setup.cache = cache).await;
            let scene = Scene::of(world).await;
            scene.world.store.fail(fault);
            for operation in scene.operations() {
                // Reading oneself needs no store once one is remembered.
                if operation.is_api() && operation.id != "get_me" {
                    let answer = operation.by(&scene.ada).await;
                    answer.assert_problem(500, "internal_error");
                }
            }
            scene.world.store.fail(None);
            scene.ada.get("/api/v1/tasks").await.expect(200);
        }
    }
}

#[actix_web::test]
async fn a_store_that_never_answers_is_503_within_5_s() {
    let scene = scene().await;
    scene.world.store.fail(Fault::Hang);
    tokio::time::pause();
    for operation in scene.operations() {
        let begun = tokio::time::Instant::now();
        let answer = operation.by(&scene.ada).await;
        if operation.is_api() {
            answer.assert_problem(503, "unavailable");
            assert!(answer.header("ratelimit").is_some());
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{}", operation.id);
    }
    scene.world.store.fail(None);
    scene.ada.get("/api/v1/tasks").await.expect(200);
}

#[actix_web::test]
async fn how_long_a_request_may_take_is_a_setting() {
    let world = World::with(|setup| {
        setup.cache = FakeSignedInCache::forgetful();
        setup.settings.bounds.request_timeout = Duration::from_secs(2);
    })
    .await;
    let ada = world.register("ada@example.com").await;
    world.store.fail(Fault::Hang);
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let answer = ada.get("/api/v1/tasks").await;
    answer.assert_problem(503, "unavailable");
    assert_eq!(begun.elapsed().as_secs(), 1);
}

#[actix_web::test]
async fn a_limiter_that_panics_is_500_and_one_that_hangs_503() {
    let limiter = FaultyStore::default();
    let shared = Arc::new(limiter.clone());
    let world = World::with(|setup| setup.limiter = Some(shared)).await;
    let ada = world.register("ada@example.com").await;
    limiter.fail(Fault::Panic);
    ada.get("/api/v1/tasks")
        .await
        .assert_problem(500, "internal_error");
    tokio::time::pause();
    limiter.fail(Fault::Hang);
    ada.get("/api/v1/tasks")
        .await
        .assert_problem(503, "unavailable");
    limiter.fail(None);
    ada.get("/api/v1/tasks").await.expect(200);
}

#[actix_web::test]
async fn too_many_passwords_at_once_are_503() {
    let world = World::new().await;
    let ada = world.register("ada@example.com").await;
    world.forgot_password("ada@example.com").await.expect(202);
    let token = world
        .token_mailed(MailKind::ResetPassword, "ada@example.com")
        .await;
    world.hasher.overload(true);
    for call in [
        world.log_in("ada@example.com", PASSWORD),
        world.log_in("nobody@example.com", PASSWORD),
        world.log_in("ada@example.com", "wrong"),
        ada.change_password(PASSWORD, NEW_PASSWORD),
        ada.delete_account(PASSWORD),
        world.reset_password(&token, NEW_PASSWORD),
        world.post(
            "/api/v1/auth/register",
            &serde_json::json!({ "email": "bob@example.com", "password": PASSWORD, "full_name": "Bob" }),
        ),
    ] {
        let answer = call.await;
        answer.assert_problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    // Nothing is hashed for a token that somebody made up.
    let made_up = world.reset_password("x", NEW_PASSWORD).await;
    made_up.assert_problem(400, "invalid_token");
    // Everything else goes on.
    ada.get("/api/v1/tasks").await.expect(200);
    world.refresh(&ada.refresh_token).await.expect(200);
    // What was not compared was not counted.
    for _ in 0..10 {
        world
            .log_in("ada@example.com", "wrong")
            .await
            .assert_problem(503, "unavailable");
    }
    world.hasher.overload(false);
    world.log_in("ada@example.com", PASSWORD).await.expect(200);
    world.reset_password(&token, NEW_PASSWORD).await.expect(204);
}

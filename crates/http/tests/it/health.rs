//! Contract §6: whether the service is well.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tasks_domain::health::SchemaState;

use crate::support::{Fault, FaultyStore, World};

async fn with_redis() -> (World, FaultyStore) {
    let redis = FaultyStore::default();
    let shared = Arc::new(redis.clone());
    let world = World::with(|setup| setup.redis = Some(shared)).await;
    (world, redis)
}

#[actix_web::test]
async fn all_is_well() {
    let (world, _redis) = with_redis().await;
    assert_eq!(
        world.get("/health").await.expect(200),
        json!({
            "status": "healthy",
            "version": env!("CARGO_PKG_VERSION"),
            "checks": { "database": "ok", "redis": "ok" },
            "timestamp": "2030-06-15T12:00:00.000000Z",
        })
    );
}

#[actix_web::test]
async fn without_redis_its_check_reads_disabled() {
    let world = World::new().await;
    let health = world.get("/health").await.expect(200);
    assert_eq!(
        health["checks"],
        json!({ "database": "ok", "redis": "disabled" })
    );
    world.store.fail(Fault::Unavailable);
    let health = world.get("/health").await.expect(503);
    assert_eq!(
        health["checks"],
        json!({ "database": "error", "redis": "disabled" })
    );
}

#[actix_web::test]
async fn a_failing_check_degrades_the_service_and_is_named() {
    let (world, redis) = with_redis().await;
    for (database, cache, expected) in [
        (
            Some(Fault::Unavailable),
            None,
            json!({ "database": "error", "redis": "ok" }),
        ),
        (
            None,
            Some(Fault::Unavailable),
            json!({ "database": "ok", "redis": "error" }),
        ),
        (
            Some(Fault::Corrupt),
            Some(Fault::Other),
            json!({ "database": "error", "redis": "error" }),
        ),
    ] {
        world.store.fail(database);
        redis.fail(cache);
        let health = world.get("/health").await.expect(503);
        assert_eq!(health["status"], "degraded");
        assert_eq!(health["checks"], expected);
    }
    world.store.fail(None);
    redis.fail(None);
    world.get("/health").await.expect(200);
}

#[actix_web::test]
async fn checks_that_do_not_answer_fail_side_by_side_within_2_s() {
    let (world, redis) = with_redis().await;
    world.store.fail(Fault::Hang);
    redis.fail(Fault::Hang);
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let health = world.get("/health").await.expect(503);
    assert_eq!(
        health["checks"],
        json!({ "database": "error", "redis": "error" })
    );
    assert!(begun.elapsed() < Duration::from_millis(2_100));
}

#[actix_web::test]
async fn it_is_alive_as_long_as_it_serves() {
    let (world, redis) = with_redis().await;
    world.store.fail(Fault::Panic);
    redis.fail(Fault::Panic);
    world.api.drain();
    let live = world.get("/health/live").await.expect(200);
    assert_eq!(live, json!({ "status": "alive" }));
}

async fn reason(world: &World) -> String {
    let answer = world.get("/health/ready").await.expect(503);
    assert_eq!(answer["status"], "not_ready");
    answer["reason"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn it_is_ready_if_the_database_is_even_without_redis() {
    let (world, redis) = with_redis().await;
    redis.fail(Fault::Unavailable);
    let ready = world.get("/health/ready").await.expect(200);
    assert_eq!(ready, json!({ "status": "ready" }));
}

#[actix_web::test]
async fn it_is_not_ready_without_the_database() {
    let world = World::new().await;
    world.store.fail(Fault::Unavailable);
    assert_eq!(reason(&world).await, "the database does not answer");
    world.store.fail(Fault::Hang);
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    assert_eq!(reason(&world).await, "the database does not answer");
    assert!(begun.elapsed() < Duration::from_millis(2_100));
    world.store.fail(None);
    world.get("/health/ready").await.expect(200);
}

#[actix_web::test]
async fn it_is_not_ready_while_migrations_are_pending_or_unknown() {
    let world = World::new().await;
    world.store.store.set_schema(SchemaState::Behind(3));
    assert!(reason(&world).await.contains("3 migrations are pending"));
    world.store.store.set_schema(SchemaState::Behind(1));
    assert!(reason(&world).await.contains("1 migration is pending"));
    world.store.store.set_schema(SchemaState::Ahead(2));
    assert!(
        reason(&world)
            .await
            .contains("2 migrations that this version does not know")
    );
    world.store.store.set_schema(SchemaState::Current);
    world.get("/health/ready").await.expect(200);
}

#[actix_web::test]
async fn it_is_not_ready_while_it_drains_and_goes_on_serving() {
    let world = World::new().await;
    let ada = world.register("ada@example.com").await;
    world.api.drain();
    assert!(reason(&world).await.contains("shutting down"));
    ada.get("/api/v1/tasks").await.expect(200);
    world.get("/health").await.expect(200);
}

//! Contract §5: how often somebody may call.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use serde_json::json;
use tasks_domain::rate_limit::{Decision, MockRateLimiter};
use tasks_http::RateLimits;
use tasks_testkit::fakes::FakeSignedInCache;

use crate::support::{Fault, FaultyStore, PASSWORD, Scene, User, World, per_minute};

/// With the contract's limits.
async fn world() -> World {
    with_limits(100, 20, false).await
}

/// With so many requests a minute. The cache may count whoever it remembers.
async fn with_limits(user: u32, anonymous: u32, cache_counts: bool) -> World {
    World::with(|setup| {
        setup.settings.rate_limits = Some(RateLimits {
            user: per_minute(user),
            anonymous: per_minute(anonymous),
        });
        setup.cache_counts = cache_counts;
    })
    .await
}

fn peer(last: u8) -> IpAddr {
    Ipv4Addr::new(203, 0, 113, last).into()
}

/// Whoever counts: the cache does not know who the first request is from.
#[actix_web::test]
async fn a_user_has_100_requests_a_minute_whatever_the_address() {
    for cache_counts in [false, true] {
        let world = with_limits(100, 20, cache_counts).await;
        let ada = world.register("ada@example.com").await;
        for n in 0..100_u8 {
            let answer = ada.get("/api/v1/users/me").from(peer(n)).await;
            assert_eq!(answer.status, 200);
            assert_eq!(
                answer.header("ratelimit-policy"),
                Some("\"user\";q=100;w=60")
            );
            let left = format!("\"user\";r={};t=60", 99 - n);
            assert_eq!(answer.header("ratelimit"), Some(left.as_str()));
        }
        for _ in 0..2 {
            let answer = ada.get("/api/v1/users/me").from(peer(200)).await;
            answer.assert_problem(429, "rate_limited");
            assert_eq!(answer.header("retry-after"), Some("60"));
            assert_eq!(
                answer.header("ratelimit-policy"),
                Some("\"user\";q=100;w=60")
            );
            assert_eq!(answer.header("ratelimit"), Some("\"user\";r=0;t=60"));
        }
        // Somebody else at the same address is somebody else.
        let bob = world.register("bob@example.com").await;
        bob.get("/api/v1/users/me")
            .from(peer(200))
            .await
            .expect(200);
    }
}

#[actix_web::test]
async fn all_sessions_of_a_user_count_together() {
    for cache_counts in [false, true] {
        let world = with_limits(6, 20, cache_counts).await;
        let ada = world.register("ada@example.com").await;
        let other = ada.log_in_again("ada@example.com").await;
        for n in 0..3_u8 {
            for (session, left) in [(&ada, 5 - 2 * n), (&other, 4 - 2 * n)] {
                let answer = session.get("/api/v1/tasks").await;
                assert_eq!(answer.status, 200);
                let left = format!("\"user\";r={left};t=60");
                assert_eq!(answer.header("ratelimit"), Some(left.as_str()));
            }
        }
        for session in [&ada, &other] {
            let answer = session.get("/api/v1/tasks").await;
            answer.assert_problem(429, "rate_limited");
        }
        // Refused requests were not counted.
        world.clock.advance(Duration::from_mins(1));
        let answer = other.get("/api/v1/tasks").await;
        assert_eq!(answer.header("ratelimit"), Some("\"user\";r=5;t=60"));
    }
}

#[actix_web::test]
async fn a_valid_token_counts_for_its_user_on_every_path() {
    let world = world().await;
    let ada = world.register("ada@example.com").await;
    for path in ["/api/v1/tasks", "/api/v1/auth/login", "/api/v1/auth/logout"] {
        let answer = ada.post(path, &json!({})).await;
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some("\"user\";q=100;w=60")
        );
    }
}

#[actix_web::test]
async fn an_address_without_a_valid_token_has_20() {
    let world = world().await;
    for n in 0..20 {
        // Without a token, with a bad one, to a public path: all count together.
        let call = match n % 3 {
            0 => world.get("/api/v1/users/me"),
            1 => world.get("/api/v1/users/me").bearer("bad"),
            _ => world.log_in("ada@example.com", "x"),
        };
        let answer = call.from(peer(1)).await;
        assert_eq!(answer.status, 401);
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some("\"anonymous\";q=20;w=60")
        );
        let left = format!("\"anonymous\";r={};t=60", 19 - n);
        assert_eq!(answer.header("ratelimit"), Some(left.as_str()));
    }
    let answer = world.get("/api/v1/users/me").from(peer(1)).await;
    answer.assert_problem(429, "rate_limited");
    assert_eq!(answer.header("ratelimit"), Some("\"anonymous\";r=0;t=60"));
    let answer = world.get("/api/v1/users/me").from(peer(2)).await;
    answer.assert_problem(401, "token_missing");
}

#[actix_web::test]
async fn the_window_slides_and_retry_after_is_rounded_up() {
    let world = world().await;
    let call = || world.get("/api/v1/users/me");
    call().await;
    world.clock.advance(Duration::from_secs(30));
    for _ in 0..19 {
        call().await.assert_problem(401, "token_missing");
    }
    for (later, wait) in [(0, "30"), (100, "30"), (28_900, "1"), (999, "1")] {
        world.clock.advance(Duration::from_millis(later));
        let answer = call().await;
        answer.assert_problem(429, "rate_limited");
        assert_eq!(answer.header("retry-after"), Some(wait));
    }
    world.clock.advance(Duration::from_millis(1));
    call().await.assert_problem(401, "token_missing");
    call().await.assert_problem(429, "rate_limited");
}

/// A cache counted, and then knew nobody: its first answer was lost, or what it remembers cannot be read.
#[actix_web::test]
async fn what_was_counted_on_a_user_who_is_none_is_counted_on_the_sender() {
    let world = World::with(|setup| {
        setup.cache = FakeSignedInCache::forgetful();
        setup.cache_counts = true;
        setup.settings.rate_limits = Some(RateLimits {
            user: per_minute(3),
            anonymous: per_minute(2),
        });
    })
    .await;
    let ada = world.register("ada@example.com").await;
    for left in ["\"user\";r=2;t=60", "\"user\";r=1;t=60"] {
        let answer = ada.get("/api/v1/tasks").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit"), Some(left));
    }
    world.clock.advance(Duration::from_mins(1));
    world.log_out(&ada.refresh_token).await.expect(204);
    world.clock.advance(Duration::from_mins(1));
    for left in ["\"anonymous\";r=1;t=60", "\"anonymous\";r=0;t=60"] {
        let answer = ada.get("/api/v1/tasks").await;
        answer.assert_problem(401, "token_invalid");
        assert_eq!(answer.header("ratelimit"), Some(left));
    }
    let answer = ada.get("/api/v1/tasks").await;
    answer.assert_problem(429, "rate_limited");
}

#[actix_web::test]
async fn retry_after_is_at_least_1() {
    let mut limiter = MockRateLimiter::new();
    limiter.expect_hit().returning(|_, _| {
        Ok(Decision {
            allowed: false,
            remaining: 0,
            reset: Duration::ZERO,
        })
    });
    let world = World::with(|setup| setup.limiter = Some(Arc::new(limiter))).await;
    let answer = world.get("/api/v1/tasks").await;
    answer.assert_problem(429, "rate_limited");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[actix_web::test]
async fn every_limited_answer_tells_the_limit() {
    let scene = Scene::new().await;
    for operation in scene.operations() {
        for answer in [
            operation.anonymous(&scene.world).await,
            operation.by(&scene.ada).await,
        ] {
            let is_told = answer.header("ratelimit").is_some();
            assert_eq!(is_told, operation.is_api(), "{}", operation.id);
            assert_eq!(answer.header("ratelimit-policy").is_some(), is_told);
        }
    }
    let bob = scene.world.register("bob.limits@example.com").await;
    for fault in [Fault::Unavailable, Fault::Corrupt, Fault::Panic] {
        // Whose quota it is has to be known; from here on it is remembered.
        scene.world.store.fail(None);
        bob.get("/api/v1/users/me").await.expect(200);
        scene.world.store.fail(fault);
        let answer = bob.get("/api/v1/tasks").await;
        assert!(answer.status >= 500);
        assert!(answer.header("ratelimit").is_some(), "{fault:?}");
        assert!(answer.header("ratelimit-policy").is_some(), "{fault:?}");
    }
}

#[actix_web::test]
async fn health_documentation_and_unknown_paths_are_not_limited() {
    let world = World::with(|setup| {
        setup.settings.rate_limits = Some(RateLimits {
            user: per_minute(1),
            anonymous: per_minute(1),
        });
    })
    .await;
    world
        .get("/api/v1/tasks")
        .await
        .assert_problem(401, "token_missing");
    for (path, status) in [
        ("/health", 200),
        ("/health/live", 200),
        ("/health/ready", 200),
        ("/docs", 200),
        ("/openapi.json", 200),
        ("/", 307),
        ("/nothing", 404),
        ("/api/v1/nothing", 404),
    ] {
        for _ in 0..3 {
            let answer = world.get(path).await;
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(answer.header("ratelimit"), None, "{path}");
        }
    }
    let wrong = world.call(Method::PUT, "/api/v1/tasks").await;
    wrong.assert_problem(405, "method_not_allowed");
    world
        .get("/api/v1/tasks")
        .await
        .assert_problem(429, "rate_limited");
}

#[actix_web::test]
async fn unknown_paths_use_nothing_up() {
    let world = World::with(|setup| {
        setup.settings.rate_limits = Some(RateLimits {
            user: per_minute(1),
            anonymous: per_minute(1),
        });
    })
    .await;
    for _ in 0..3 {
        world
            .get("/api/v1/nothing")
            .await
            .assert_problem(404, "not_found");
        world.get("/health").await.expect(200);
    }
    world
        .get("/api/v1/tasks")
        .await
        .assert_problem(401, "token_missing");
}

#[actix_web::test]
async fn the_limit_can_be_switched_off() {
    let world = World::with(|setup| setup.settings.rate_limits = None).await;
    let ada = world.register("ada@example.com").await;
    for _ in 0..150 {
        let answer = ada.get("/api/v1/users/me").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit"), None);
    }
    for _ in 0..30 {
        world
            .get("/api/v1/users/me")
            .await
            .assert_problem(401, "token_missing");
    }
}

#[actix_web::test]
async fn a_limiter_that_does_not_answer_keeps_nobody_out() {
    let limiter = FaultyStore::default();
    limiter.fail(Fault::Unavailable);
    let shared = Arc::new(limiter.clone());
    let world = World::with(|setup| setup.limiter = Some(shared)).await;
    let ada = world.register("ada@example.com").await;
    let answer = ada.get("/api/v1/users/me").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("ratelimit"), None);
    limiter.fail(None);
    let answer = ada.get("/api/v1/users/me").await;
    assert!(answer.header("ratelimit").is_some());
}

#[actix_web::test]
async fn where_passwords_are_tried_another_limiter_stands_in() {
    let limiter = FaultyStore::default();
    limiter.fail(Fault::Unavailable);
    let world = World::with(|setup| {
        setup.limiter = Some(Arc::new(limiter));
        setup.settings.rate_limits = Some(RateLimits {
            user: per_minute(2),
            anonymous: per_minute(2),
        });
    })
    .await;
    for _ in 0..2 {
        let answer = world.log_in("ada@example.com", PASSWORD).await;
        answer.assert_problem(401, "invalid_credentials");
    }
    let answer = world.log_in("ada@example.com", PASSWORD).await;
    answer.assert_problem(429, "rate_limited");
    // Another spelling of the path is another path, and no way around.
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    for path in ["/%61pi/v1/auth/login", "/api/v1/%61uth/login"] {
        world
            .post(path, &body)
            .await
            .assert_problem(404, "not_found");
    }
    // Elsewhere nobody is kept out.
    let answer = world.get("/api/v1/tasks").await;
    answer.assert_problem(401, "token_missing");
}

/// A world with one proxy, and a limit of one request to an address.
async fn behind_a_proxy() -> World {
    World::with(|setup| {
        setup.settings.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        setup.settings.rate_limits = Some(RateLimits {
            user: per_minute(1),
            anonymous: per_minute(1),
        });
    })
    .await
}

#[actix_web::test]
async fn a_trusted_proxy_says_whom_it_speaks_for() {
    let world = behind_a_proxy().await;
    let status = async |header: &'static str, client: &'static str| {
        let call = world.get("/api/v1/tasks").from(Ipv4Addr::new(10, 1, 2, 3));
        call.header(header, client).await.status
    };
    assert_eq!(status("x-forwarded-for", "198.51.100.1").await, 401);
    assert_eq!(status("x-forwarded-for", "198.51.100.1").await, 429);
    assert_eq!(status("x-forwarded-for", "198.51.100.2").await, 401);
    // What the client itself wrote stands to the left, and is not believed.
    assert_eq!(
        status("x-forwarded-for", "198.51.100.9, 198.51.100.2").await,
        429
    );
    assert_eq!(status("forwarded", "for=198.51.100.3").await, 401);
    assert_eq!(
        status("forwarded", "for=198.51.100.3;proto=https").await,
        429
    );
}

#[actix_web::test]
async fn ipv6_is_counted_by_the_64_network() {
    let world = behind_a_proxy().await;
    let status = async |client: &'static str| {
        let call = world.get("/api/v1/tasks").from(Ipv4Addr::new(10, 1, 2, 3));
        call.header("x-forwarded-for", client).await.status
    };
    assert_eq!(status("2001:db8:1:2::1").await, 401);
    assert_eq!(status("2001:db8:1:2:ffff::9").await, 429);
    assert_eq!(status("2001:db8:1:3::1").await, 401);
}

#[actix_web::test]
async fn nobody_else_is_believed() {
    let world = behind_a_proxy().await;
    let status = async |client: &'static str| {
        world
            .get("/api/v1/tasks")
            .header("x-forwarded-for", client)
            .await
            .status
    };
    assert_eq!(status("198.51.100.1").await, 401);
    assert_eq!(status("198.51.100.2").await, 429);
}

#[actix_web::test]
async fn a_token_whose_session_has_ended_spends_its_senders_quota() {
    for cache_counts in [false, true] {
        let world = with_limits(3, 2, cache_counts).await;
        let ended = world.register("bob@example.com").await;
        let other_session = world.log_in("bob@example.com", PASSWORD).await.expect(200);
        let bob = User::of(&world, &other_session);
        // It is remembered.
        ended.get("/api/v1/tasks").await.expect(200);
        world.clock.advance(Duration::from_mins(1));
        world.log_out(&ended.refresh_token).await.expect(204);
        world.clock.advance(Duration::from_mins(1));
        for left in [1, 0] {
            let answer = ended.get("/api/v1/tasks").await;
            answer.assert_problem(401, "token_invalid");
            assert_eq!(
                answer.header("ratelimit-policy"),
                Some("\"anonymous\";q=2;w=60")
            );
            let left = format!("\"anonymous\";r={left};t=60");
            assert_eq!(answer.header("ratelimit"), Some(left.as_str()));
        }
        for _ in 0..5 {
            ended
                .get("/api/v1/tasks")
                .await
                .assert_problem(429, "rate_limited");
        }
        for _ in 0..3 {
            bob.get("/api/v1/tasks").await.expect(200);
        }
    }
}

//! Contract §2: where a user is signed in, and ending it.

use std::time::Duration;

use serde_json::json;
use tasks_testkit::fakes::FakeSignedInCache;

use crate::support::{NOBODYS, PASSWORD, REFRESH_TOKEN_TTL, User, World, column};

const ADA: &str = "ada@example.com";
const SESSIONS: &str = "/api/v1/users/me/sessions";

#[actix_web::test]
async fn sessions_are_listed_newest_first_with_the_own_marked() {
    let world = World::with(|setup| {
        setup.settings.trusted_proxies = vec!["192.0.2.1/32".parse().unwrap()];
    })
    .await;
    let first = world.register(ADA).await;
    world.clock.advance(Duration::from_secs(1));
    let call = world.log_in(ADA, PASSWORD).header("user-agent", "curl/8");
    let call = call.header("x-forwarded-for", "2001:db8::7");
    let second = User::of(&world, &call.await.expect(200));
    world.register("bob@example.com").await;

    let list = second.get(SESSIONS).await.expect(200);
    assert_eq!(list["total"], 2);
    let ids = column(&list["items"], "id");
    assert_eq!(
        list["items"],
        json!([
            {
                "id": ids[0],
                "created_at": "2030-06-15T12:00:01.000000Z",
                "last_used_at": "2030-06-15T12:00:01.000000Z",
                "expires_at": "2030-06-22T12:00:01.000000Z",
                "user_agent": "curl/8",
                "ip_address": "2001:db8::7",
                "current": true,
            },
            {
                "id": ids[1],
                "created_at": "2030-06-15T12:00:00.000000Z",
                "last_used_at": "2030-06-15T12:00:00.000000Z",
                "expires_at": "2030-06-22T12:00:00.000000Z",
                "user_agent": null,
                "ip_address": "192.0.2.1",
                "current": false,
            },
        ])
    );
    let mut as_the_first_sees_it = list;
    as_the_first_sees_it["items"][0]["current"] = false.into();
    as_the_first_sees_it["items"][1]["current"] = true.into();
    assert_eq!(first.get(SESSIONS).await.expect(200), as_the_first_sees_it);
}

#[actix_web::test]
async fn a_refresh_tells_when_and_where_a_session_was_last_used() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let before = ada.sessions().await.remove(0);
    world.clock.advance(Duration::from_mins(1));
    let call = world
        .refresh(&ada.refresh_token)
        .header("user-agent", "curl/9");
    let next = call.from([203, 0, 113, 5]).await.expect(200);
    let sessions = User::of(&world, &next).sessions().await;
    let mut expected = before;
    expected["last_used_at"] = "2030-06-15T12:01:00.000000Z".into();
    expected["expires_at"] = "2030-06-22T12:01:00.000000Z".into();
    expected["user_agent"] = "curl/9".into();
    expected["ip_address"] = "203.0.113.5".into();
    assert_eq!(sessions, [expected]);
}

#[actix_web::test]
async fn a_session_that_ended_or_expired_is_not_listed() {
    let world = World::new().await;
    let expires = world.register(ADA).await;
    world.clock.advance(Duration::from_secs(1));
    let ends = expires.log_in_again(ADA).await;
    let stays = expires.log_in_again(ADA).await;
    world.log_out(&ends.refresh_token).await.expect(204);
    assert_eq!(stays.sessions().await.len(), 2);
    world
        .clock
        .advance(REFRESH_TOKEN_TTL.saturating_sub(Duration::from_secs(1)));
    let stays = User::of(
        &world,
        &world.refresh(&stays.refresh_token).await.expect(200),
    );
    let sessions = stays.sessions().await;
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0]["current"], true);
}

#[actix_web::test]
async fn ending_another_session_ends_its_access_tokens_at_once() {
    for cache in [FakeSignedInCache::forgetful(), FakeSignedInCache::default()] {
        let world = World::with(|setup| setup.cache = cache).await;
        let ada = world.register(ADA).await;
        let other = ada.log_in_again(ADA).await;
        let path = other.session_path().await;
        ada.delete(&path).await.expect(204);
        other.assert_out().await;
        ada.me().await.expect(200);
        assert_eq!(ada.sessions().await.len(), 1);
        let again = ada.delete(&path).await;
        again.assert_problem(404, "not_found");
    }
}

#[actix_web::test]
async fn the_own_session_can_be_ended_too() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let other = ada.log_in_again(ADA).await;
    let path = ada.session_path().await;
    ada.delete(&path).await.expect(204);
    ada.assert_out().await;
    other.me().await.expect(200);
}

#[actix_web::test]
async fn somebody_elses_session_is_403_and_goes_on() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let bob = world.register("bob@example.com").await;
    let path = bob.session_path().await;
    ada.delete(&path).await.assert_problem(403, "forbidden");
    bob.me().await.expect(200);
    world.refresh(&bob.refresh_token).await.expect(200);
    // Once it has ended, it does not matter whose it was.
    bob.delete(&path).await.expect(204);
    ada.delete(&path).await.assert_problem(404, "not_found");
}

#[actix_web::test]
async fn a_session_that_is_not_there_is_404() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let path = format!("{SESSIONS}/{NOBODYS}");
    ada.delete(&path).await.assert_problem(404, "not_found");
    let expired = ada.log_in_again(ADA).await.session_path().await;
    world.clock.advance(REFRESH_TOKEN_TTL);
    let ada = ada.log_in_again(ADA).await;
    ada.delete(&expired).await.assert_problem(404, "not_found");
    let no_uuid = ada.delete(&format!("{SESSIONS}/x")).await;
    no_uuid.assert_invalid(&[("id", "format")]);
}

#[actix_web::test]
async fn all_sessions_end_at_once_the_own_too() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let other = ada.log_in_again(ADA).await;
    let bob = world.register("bob@example.com").await;
    for user in [&ada, &other, &bob] {
        // Remembered.
        user.me().await.expect(200);
    }
    ada.delete(SESSIONS).await.expect(204);
    ada.assert_out().await;
    other.assert_out().await;
    bob.me().await.expect(200);
    let back = ada.log_in_again(ADA).await;
    assert_eq!(back.sessions().await.len(), 1);
}

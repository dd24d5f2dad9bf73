//! Contract §2: another password, by mail or by knowing the old one.

use std::future::IntoFuture;
use std::time::Duration;

use tasks_domain::mail::MailKind;

use crate::support::{NEW_PASSWORD, PASSWORD, User, WRONG, World};

const ADA: &str = "ada@example.com";
const TTL: Duration = Duration::from_hours(1);

/// The token of a reset mail to Ada.
async fn token(world: &World) -> String {
    world.forgot_password(ADA).await.expect(202);
    world.token_mailed(MailKind::ResetPassword, ADA).await
}

async fn assert_password_is(world: &World, password: &str) {
    for known in [PASSWORD, NEW_PASSWORD] {
        let answer = world.log_in(ADA, known).await;
        if known == password {
            answer.expect(200);
        } else {
            answer.assert_problem(401, "invalid_credentials");
        }
    }
}

// --- reset

#[actix_web::test]
async fn the_token_of_the_mail_resets_the_password_and_ends_every_session() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let other = ada.log_in_again(ADA).await;
    let bob = world.register("bob@example.com").await;
    for user in [&ada, &other, &bob] {
        // Remembered.
        user.me().await.expect(200);
    }
    let token = token(&world).await;
    world.reset_password(&token, NEW_PASSWORD).await.expect(204);
    ada.assert_out().await;
    other.assert_out().await;
    bob.me().await.expect(200);
    assert_password_is(&world, NEW_PASSWORD).await;
}

#[actix_web::test]
async fn a_reset_token_is_good_once() {
    let world = World::new().await;
    world.register(ADA).await;
    let token = token(&world).await;
    world.reset_password(&token, NEW_PASSWORD).await.expect(204);
    let again = world.reset_password(&token, PASSWORD).await;
    again.assert_problem(400, "invalid_token");
    assert_password_is(&world, NEW_PASSWORD).await;
}

#[actix_web::test]
async fn of_concurrent_resets_with_one_token_one_succeeds() {
    let world = World::new().await;
    world.register(ADA).await;
    let token = token(&world).await;
    let attempts = (0..20).map(|_| world.reset_password(&token, NEW_PASSWORD).into_future());
    let answers = futures_util::future::join_all(attempts).await;
    let good = answers.iter().filter(|answer| answer.status == 204).count();
    let refused = answers.iter().filter(|answer| answer.status == 400).count();
    assert_eq!((good, refused), (1, 19));
}

#[actix_web::test]
async fn a_reset_token_lives_one_hour() {
    for (later, status) in [
        (TTL.saturating_sub(Duration::from_micros(1)), 204),
        (TTL, 400),
    ] {
        let world = World::new().await;
        world.register(ADA).await;
        let token = token(&world).await;
        world.clock.advance(later);
        let answer = world.reset_password(&token, NEW_PASSWORD).await;
        assert_eq!(answer.status, status);
    }
}

#[actix_web::test]
async fn a_newer_reset_mail_replaces_the_older_one() {
    let world = World::new().await;
    world.register(ADA).await;
    let old = token(&world).await;
    world.clock.advance(Duration::from_secs(1));
    let new = token(&world).await;
    assert_ne!(new, old);
    let answer = world.reset_password(&old, NEW_PASSWORD).await;
    answer.assert_problem(400, "invalid_token");
    world.reset_password(&new, NEW_PASSWORD).await.expect(204);
}

#[actix_web::test]
async fn every_string_that_is_no_live_reset_token_is_400() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let of_another_kind = world.token_mailed(MailKind::VerifyEmail, ADA).await;
    for token in [
        "",
        "x",
        "\0",
        "🥛",
        &ada.access_token,
        &ada.refresh_token,
        &of_another_kind,
    ] {
        let answer = world.reset_password(token, NEW_PASSWORD).await;
        answer.assert_problem(400, "invalid_token");
    }
    assert_password_is(&world, PASSWORD).await;
}

#[actix_web::test]
async fn a_password_that_breaks_the_rules_leaves_the_token_alone() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let token = token(&world).await;
    for (bad, rule) in [
        ("", "length"),
        ("Aaaaa1!", "length"),
        (&"Aa1!".repeat(19), "length"),
        ("weakpassword", "weak"),
    ] {
        let answer = world.reset_password(&token, bad).await;
        answer.assert_invalid(&[("new_password", rule)]);
        let answer = ada.change_password(PASSWORD, bad).await;
        answer.assert_invalid(&[("new_password", rule)]);
    }
    ada.me().await.expect(200);
    world.reset_password(&token, NEW_PASSWORD).await.expect(204);
}

#[actix_web::test]
async fn a_reset_lifts_a_lock_and_forgets_failures() {
    let world = World::new().await;
    world.register(ADA).await;
    for _ in 0..5 {
        world.log_in(ADA, WRONG).await;
    }
    world
        .log_in(ADA, PASSWORD)
        .await
        .assert_problem(403, "account_locked");
    let token = token(&world).await;
    world.reset_password(&token, NEW_PASSWORD).await.expect(204);
    for _ in 0..4 {
        let answer = world.log_in(ADA, WRONG).await;
        answer.assert_problem(401, "invalid_credentials");
    }
    world.log_in(ADA, NEW_PASSWORD).await.expect(200);
}

// --- change

#[actix_web::test]
async fn changing_the_password_ends_the_other_sessions_and_not_the_own() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let other = ada.log_in_again(ADA).await;
    let bob = world.register("bob@example.com").await;
    for user in [&ada, &other, &bob] {
        // Remembered.
        user.me().await.expect(200);
    }
    ada.change_password(PASSWORD, NEW_PASSWORD)
        .await
        .expect(204);
    other.assert_out().await;
    bob.me().await.expect(200);
    ada.me().await.expect(200);
    let next = world.refresh(&ada.refresh_token).await.expect(200);
    User::of(&world, &next).me().await.expect(200);
    assert_password_is(&world, NEW_PASSWORD).await;
}

#[actix_web::test]
async fn an_access_token_of_before_a_refresh_is_of_the_own_session() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let next = User::of(&world, &world.refresh(&ada.refresh_token).await.expect(200));
    ada.change_password(PASSWORD, NEW_PASSWORD)
        .await
        .expect(204);
    next.me().await.expect(200);
    world.refresh(&next.refresh_token).await.expect(200);
}

#[actix_web::test]
async fn a_wrong_current_password_changes_nothing() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let other = ada.log_in_again(ADA).await;
    for wrong in [WRONG, "", " Correct-Horse-7!", &"x".repeat(73)] {
        let answer = ada.change_password(wrong, NEW_PASSWORD).await;
        answer.assert_problem(401, "invalid_credentials");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert_eq!(answer.json["detail"], "wrong password");
    }
    other.me().await.expect(200);
    assert_password_is(&world, PASSWORD).await;
}

#[actix_web::test]
async fn a_reset_mail_of_before_the_change_does_not_work() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let token = token(&world).await;
    world.forgot_password(ADA).await.expect(202);
    ada.change_password(PASSWORD, NEW_PASSWORD)
        .await
        .expect(204);
    let answer = world.reset_password(&token, PASSWORD).await;
    answer.assert_problem(400, "invalid_token");
    let mails = world.deliver().await;
    assert!(mails.iter().all(|it| it.kind != MailKind::ResetPassword));
}

#[actix_web::test]
async fn the_fifth_wrong_password_locks_the_account_here_too() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    for _ in 0..4 {
        let answer = ada.change_password(WRONG, NEW_PASSWORD).await;
        answer.assert_problem(401, "invalid_credentials");
    }
    world.clock.advance(Duration::from_millis(500));
    let fifth = ada.change_password(WRONG, NEW_PASSWORD).await;
    world.clock.advance(Duration::from_millis(60_500));
    let under_the_lock = [
        ada.change_password(PASSWORD, NEW_PASSWORD).await,
        ada.change_password(WRONG, NEW_PASSWORD).await,
        ada.delete_account(PASSWORD).await,
        ada.delete_account(WRONG).await,
        world.log_in(ADA, PASSWORD).await,
        world.log_in(ADA, WRONG).await,
    ];
    let rest = under_the_lock.iter().map(|answer| (answer, "840"));
    for (answer, wait) in rest.chain([(&fifth, "900")]) {
        answer.assert_problem(403, "account_locked");
        assert_eq!(answer.json["locked_until"], "2030-06-15T12:15:00.500000Z");
        assert_eq!(answer.header("retry-after"), Some(wait));
    }
    // A lock refuses passwords only.
    ada.me().await.expect(200);
    world.refresh(&ada.refresh_token).await.expect(200);
    world.clock.advance(Duration::from_millis(839_500));
    ada.change_password(PASSWORD, NEW_PASSWORD)
        .await
        .expect(204);
}

#[actix_web::test]
async fn failures_count_together_wherever_the_password_is_asked_for() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    for answer in [
        world.log_in(ADA, WRONG).await,
        ada.change_password(WRONG, NEW_PASSWORD).await,
        ada.delete_account(WRONG).await,
        world.log_in(ADA, WRONG).await,
    ] {
        answer.assert_problem(401, "invalid_credentials");
    }
    let fifth = ada.delete_account(WRONG).await;
    fifth.assert_problem(403, "account_locked");
    assert!(fifth.json["locked_until"].is_string());
    assert_eq!(fifth.header("retry-after"), Some("900"));
}

#[actix_web::test]
async fn concurrent_wrong_passwords_are_all_counted() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let attempts = (0..20).map(|_| ada.change_password(WRONG, NEW_PASSWORD).into_future());
    let answers = futures_util::future::join_all(attempts).await;
    let wrong = answers.iter().filter(|answer| answer.status == 401).count();
    let locked = answers.iter().filter(|answer| answer.status == 403).count();
    assert_eq!((wrong, locked), (4, 16));
}

#[actix_web::test]
async fn a_changed_password_resets_the_count() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    for [current, new] in [[PASSWORD, NEW_PASSWORD], [NEW_PASSWORD, PASSWORD]] {
        for _ in 0..4 {
            let answer = ada.change_password(WRONG, new).await;
            answer.assert_problem(401, "invalid_credentials");
        }
        ada.change_password(current, new).await.expect(204);
    }
}

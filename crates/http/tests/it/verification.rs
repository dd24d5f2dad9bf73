//! Contract §2: proving that an address is one's own.

use std::future::IntoFuture;
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use serde_json::json;
use tasks_domain::access::VerifiedOnly;
use tasks_domain::mail::MailKind;

use crate::support::{Answer, World};

const ADA: &str = "ada@example.com";
const TTL: Duration = Duration::from_hours(24);

/// The token of the verification mail that waits for Ada.
async fn token(world: &World) -> String {
    world.token_mailed(MailKind::VerifyEmail, ADA).await
}

#[actix_web::test]
async fn the_token_of_the_mail_makes_the_user_active_at_once() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    // Remembered as not active.
    let mut expected = ada.me().await.expect(200);
    assert_eq!(expected["is_active"], false);
    world.clock.advance(Duration::from_secs(1));
    let token = token(&world).await;
    let verified = world.verify_email(&token).await.expect(200);
    expected["is_active"] = true.into();
    expected["updated_at"] = "2030-06-15T12:00:01.000000Z".into();
    assert_eq!(verified, expected);
    assert_eq!(ada.me().await.expect(200), expected);
}

#[actix_web::test]
async fn a_token_is_good_once() {
    let world = World::new().await;
    world.register(ADA).await;
    let token = token(&world).await;
    world.verify_email(&token).await.expect(200);
    let again = world.verify_email(&token).await;
    again.assert_problem(400, "invalid_token");
}

#[actix_web::test]
async fn of_concurrent_uses_of_one_token_one_succeeds() {
    let world = World::new().await;
    world.register(ADA).await;
    let token = token(&world).await;
    let attempts = (0..20).map(|_| world.verify_email(&token).into_future());
    let answers = futures_util::future::join_all(attempts).await;
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 400).count();
    assert_eq!((good, refused), (1, 19));
}

#[actix_web::test]
async fn a_token_lives_24_hours() {
    for (later, status) in [
        (TTL.saturating_sub(Duration::from_micros(1)), 200),
        (TTL, 400),
    ] {
        let world = World::new().await;
        world.register(ADA).await;
        let token = token(&world).await;
        world.clock.advance(later);
        assert_eq!(world.verify_email(&token).await.status, status);
    }
}

#[actix_web::test]
async fn a_newer_mail_replaces_the_older_one() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let old = token(&world).await;
    world.clock.advance(Duration::from_secs(1));
    world.resend_verification(ADA).await.expect(202);
    let new = token(&world).await;
    assert_ne!(new, old);
    let answer = world.verify_email(&old).await;
    answer.assert_problem(400, "invalid_token");
    assert_eq!(ada.me().await.expect(200)["is_active"], false);
    world.verify_email(&new).await.expect(200);
}

#[actix_web::test]
async fn every_string_that_is_no_live_token_of_the_kind_is_400() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    world.deliver().await;
    world.forgot_password(ADA).await.expect(202);
    let of_another_kind = world.token_mailed(MailKind::ResetPassword, ADA).await;
    let long = "0".repeat(10_000);
    for token in [
        "",
        " ",
        "x",
        "\0",
        "🥛",
        &long,
        &ada.access_token,
        &ada.refresh_token,
        &of_another_kind,
    ] {
        let answer = world.verify_email(token).await;
        answer.assert_problem(400, "invalid_token");
        assert_eq!(answer.header("www-authenticate"), None);
    }
    assert_eq!(ada.me().await.expect(200)["is_active"], false);
}

#[actix_web::test]
async fn with_it_the_user_may_work_where_that_is_required() {
    let world = World::with(|setup| setup.settings.verified_only = VerifiedOnly(true)).await;
    let ada = world.register(ADA).await;
    let task = json!({ "title": "Buy milk" });
    let answer = ada.post("/api/v1/tasks", &task).await;
    answer.assert_problem(403, "email_not_verified");
    let token = token(&world).await;
    world.verify_email(&token).await.expect(200);
    // With the same access token.
    ada.task(&task).await;
    ada.category("Work").await;
}

#[actix_web::test]
async fn a_verified_address_gets_no_other_mail() {
    let world = World::new().await;
    world.register(ADA).await;
    let token = token(&world).await;
    world.verify_email(&token).await.expect(200);
    world.resend_verification(ADA).await.expect(202);
    assert_eq!(world.deliver().await.len(), 0);
}

/// What can be told apart of an answer.
fn visible(answer: &Answer) -> (u16, String, Vec<String>) {
    let line = |headers: &HeaderMap| -> Vec<String> {
        let mut lines: Vec<_> = headers.iter().map(|it| format!("{it:?}")).collect();
        lines.sort();
        lines
    };
    (answer.status, answer.text.clone(), line(&answer.headers))
}

#[actix_web::test]
async fn asking_for_a_mail_tells_nothing_of_who_has_the_address() {
    let world = World::new().await;
    world.register(ADA).await;
    let token = token(&world).await;
    world.verify_email(&token).await.expect(200);
    world.register("bob@example.com").await;
    world.deliver().await;

    for kind in MailKind::ALL {
        let ask = |email| match kind {
            MailKind::VerifyEmail => world.resend_verification(email),
            MailKind::ResetPassword => world.forgot_password(email),
        };
        let mut answers = Vec::new();
        let told = world.outbox_signal.count();
        let addresses = [ADA, "bob@example.com", "nobody@example.com"];
        for (n, email) in (1_u8..).zip(addresses) {
            let call = ask(email).header("x-request-id", "same");
            // Each from elsewhere, so that the limit says the same too.
            let answer = call.from([203, 0, 113, n]).await;
            assert_eq!((answer.status, answer.text.as_str()), (202, ""));
            assert_eq!(answer.header("content-type"), None);
            answers.push(visible(&answer));
            // Each is a row, whoever has the address.
            let waiting = world.store.store.waiting();
            assert_eq!(waiting.len(), usize::from(n));
            let is_there = |email| {
                let mut rows = waiting.iter();
                rows.any(|mail| mail.kind == kind && mail.to.as_str() == email)
            };
            assert!(is_there(email));
            assert_eq!(world.outbox_signal.count(), told + usize::from(n));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");

        let mails = world.deliver().await;
        let mut to: Vec<_> = mails.iter().map(|mail| mail.to.as_str()).collect();
        to.sort_unstable();
        let expected: &[&str] = match kind {
            MailKind::VerifyEmail => &["bob@example.com"],
            MailKind::ResetPassword => &[ADA, "bob@example.com"],
        };
        assert_eq!(to, expected);
    }
}

#[actix_web::test]
async fn an_address_is_read_as_at_registration() {
    let world = World::new().await;
    world.register(ADA).await;
    world.deliver().await;
    for call in [
        world.resend_verification(" Ada@Example.COM\t"),
        world.forgot_password(" Ada@Example.COM\t"),
    ] {
        call.await.expect(202);
    }
    assert_eq!(world.deliver().await.len(), 2);
    for call in [
        world.resend_verification("ada"),
        world.forgot_password("ada"),
    ] {
        call.await.assert_invalid(&[("email", "format")]);
    }
    assert_eq!(world.store.store.waiting().len(), 0);
}

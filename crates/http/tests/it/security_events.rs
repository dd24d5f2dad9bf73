//! What whoever watches over accounts is told, and from where it came.

use std::time::Duration;

use serde_json::{Value, json};
use tasks_domain::account::SecurityEvent;
use tasks_domain::mail::MailKind;

use crate::support::{MAIL_TOKEN, NEW_PASSWORD, PASSWORD, User, WRONG, World};

const ADA: &str = "ada@example.com";
/// Where every request comes from, as a trusted proxy says.
const CLIENT: &str = "198.51.100.7";

async fn world() -> World {
    World::with(|setup| {
        setup.settings.trusted_proxies = vec!["192.0.2.1/32".parse().unwrap()];
    })
    .await
}

/// Every event as what it is, whether it names the user, and whether it names the session; all of
/// them from the client's address.
fn told(world: &World, user: &User, session: &str) -> Vec<(&'static str, bool, bool)> {
    let events = world.security_log.events();
    let tell = |event: &SecurityEvent| {
        assert_eq!(event.address.to_string(), CLIENT, "{event:?}");
        assert!(event.user.is_none_or(|it| it == user.domain_id()));
        assert!(
            event
                .session
                .is_none_or(|it| session.ends_with(&it.to_string()))
        );
        (
            event.kind.as_str(),
            event.user.is_some(),
            event.session.is_some(),
        )
    };
    events.iter().map(tell).collect()
}

/// The body of a 2xx answer.
async fn good(call: crate::support::Call) -> Value {
    let answer = call.header("x-forwarded-for", CLIENT).await;
    assert!(answer.status < 300, "{}", answer.text);
    answer.json
}

async fn bad(call: crate::support::Call) {
    let answer = call.header("x-forwarded-for", CLIENT).await;
    assert!((400..500).contains(&answer.status), "{}", answer.text);
}

async fn ada(world: &World) -> (User, String) {
    let body = json!({ "email": ADA, "password": PASSWORD, "full_name": "Ada" });
    let ada = User::of(
        world,
        &good(world.post("/api/v1/auth/register", &body)).await,
    );
    let session = ada.session_path().await;
    (ada, session)
}

#[actix_web::test]
async fn the_life_of_an_account_is_told() {
    let world = world().await;
    let (ada, session) = ada(&world).await;
    let token = world.token_mailed(MailKind::VerifyEmail, ADA).await;
    good(world.verify_email(&token)).await;
    good(world.resend_verification(ADA)).await;
    bad(world.log_in("nobody@example.com", WRONG)).await;
    bad(world.log_in(ADA, WRONG)).await;
    bad(ada.change_password(WRONG, NEW_PASSWORD)).await;
    good(ada.change_password(PASSWORD, NEW_PASSWORD)).await;
    bad(ada.delete_account(WRONG)).await;
    good(ada.delete_account(NEW_PASSWORD)).await;
    assert_eq!(
        told(&world, &ada, &session),
        [
            ("account_registered", true, true),
            ("email_verified", true, false),
            ("login_failed", false, false),
            ("login_failed", true, false),
            ("reauthentication_failed", true, true),
            ("password_changed", true, true),
            ("reauthentication_failed", true, true),
            ("account_deleted", true, true),
        ]
    );
}

#[actix_web::test]
async fn a_lock_and_a_reset_are_told() {
    let world = world().await;
    let (ada, session) = ada(&world).await;
    for _ in 0..5 {
        bad(world.log_in(ADA, WRONG)).await;
    }
    bad(world.log_in(ADA, PASSWORD)).await;
    good(world.forgot_password(ADA)).await;
    let token = world.token_mailed(MailKind::ResetPassword, ADA).await;
    bad(world.reset_password("x", NEW_PASSWORD)).await;
    good(world.reset_password(&token, NEW_PASSWORD)).await;
    let mut expected = vec![("account_registered", true, true)];
    expected.extend([("login_failed", true, false); 5]);
    expected.push(("account_locked", true, false));
    expected.push(("login_failed", true, false));
    expected.push(("password_reset", true, false));
    assert_eq!(told(&world, &ada, &session), expected);
}

#[actix_web::test]
async fn the_end_of_a_session_is_told() {
    let world = world().await;
    let (ada, session) = ada(&world).await;
    good(world.log_out("unknown")).await;
    good(ada.delete(&session)).await;
    assert_eq!(
        told(&world, &ada, &session),
        [
            ("account_registered", true, true),
            ("session_ended", true, true),
        ]
    );
    let back = good(world.log_in(ADA, PASSWORD)).await;
    let back = User::of(&world, &back);
    good(back.delete("/api/v1/users/me/sessions")).await;
    let last = told(&world, &ada, &session).pop();
    assert_eq!(last, Some(("all_sessions_ended", true, false)));
}

#[actix_web::test]
async fn a_logout_and_a_theft_are_told() {
    let world = world().await;
    let (ada, session) = ada(&world).await;
    let next = good(world.refresh(&ada.refresh_token)).await;
    // A client's own retry is none.
    bad(world.refresh(&ada.refresh_token)).await;
    world.clock.advance(Duration::from_secs(11));
    bad(world.refresh(&ada.refresh_token)).await;
    good(world.log_out(next["refresh_token"].as_str().unwrap())).await;
    assert_eq!(
        told(&world, &ada, &session),
        [
            ("account_registered", true, true),
            ("refresh_reuse_detected", true, true),
            ("session_ended", true, true),
        ]
    );
}

#[actix_web::test]
async fn no_event_holds_a_secret() {
    let world = world().await;
    let (ada, _session) = ada(&world).await;
    bad(world.log_in(ADA, WRONG)).await;
    good(ada.change_password(PASSWORD, NEW_PASSWORD)).await;
    good(world.forgot_password(ADA)).await;
    let token = world.token_mailed(MailKind::ResetPassword, ADA).await;
    good(world.reset_password(&token, PASSWORD)).await;
    let text = format!("{:?}", world.security_log.events());
    for secret in [
        PASSWORD,
        NEW_PASSWORD,
        WRONG,
        MAIL_TOKEN,
        "hash:",
        &ada.access_token,
        &ada.refresh_token,
    ] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

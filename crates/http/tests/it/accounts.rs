//! Contract §2: accounts and tokens.

use std::future::IntoFuture;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tasks_domain::access::VerifiedOnly;
use tasks_domain::mail::MailKind;
use tasks_testkit::fakes::FakeSignedInCache;

use crate::support::{
    ACCESS_TOKEN_TTL, Answer, PASSWORD, REFRESH_TOKEN_TTL, Scene, User, WRONG, World,
};

const ADA: &str = "ada@example.com";

async fn register(world: &World, email: &str, password: &str, full_name: &str) -> Answer {
    let body = json!({ "email": email, "password": password, "full_name": full_name });
    world.post("/api/v1/auth/register", &body).await
}

fn assert_token_response(grant: &Value) {
    let refresh_token = grant["refresh_token"].as_str().unwrap();
    assert_eq!(refresh_token.len(), 64);
    assert!(refresh_token.chars().all(|c| c.is_ascii_hexdigit()));
    assert_eq!(grant["token_type"], "bearer");
    assert_eq!(grant["expires_in"], ACCESS_TOKEN_TTL.as_secs());
    let mut members: Vec<_> = grant.as_object().unwrap().keys().cloned().collect();
    members.sort();
    let expected = [
        "access_token",
        "expires_in",
        "refresh_token",
        "token_type",
        "user",
    ];
    assert_eq!(members, expected);
}

// --- register

#[actix_web::test]
async fn registering_makes_an_account_signs_in_and_sends_a_mail() {
    let world = World::new().await;
    let grant = register(&world, ADA, PASSWORD, "Ada Lovelace")
        .await
        .expect(201);
    assert_token_response(&grant);
    let ada = User::of(&world, &grant);
    assert_eq!(
        grant["user"],
        json!({
            "id": ada.id,
            "email": ADA,
            "full_name": "Ada Lovelace",
            "is_active": false,
            "created_at": "2030-06-15T12:00:00.000000Z",
            "updated_at": "2030-06-15T12:00:00.000000Z",
        })
    );
    let me = ada.get("/api/v1/users/me").await.expect(200);
    assert_eq!(me, grant["user"]);
    world.refresh(&ada.refresh_token).await.expect(200);
    assert_eq!(world.outbox_signal.count(), 1);
    let mails = world.deliver().await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].kind, MailKind::VerifyEmail);
    assert_eq!(mails[0].to.as_str(), ADA);
    assert!(!grant.to_string().contains(mails[0].token.expose_secret()));
}

#[actix_web::test]
async fn an_address_is_taken_once_without_regard_to_case_and_white_space() {
    let world = World::new().await;
    let grant = register(&world, "  Ada@Example.COM\t", PASSWORD, "Ada")
        .await
        .expect(201);
    assert_eq!(grant["user"]["email"], ADA);
    for again in [ADA, "ADA@EXAMPLE.COM", " ada@example.com "] {
        let answer = register(&world, again, PASSWORD, "Ada").await;
        answer.assert_problem(409, "email_taken");
    }
    assert_eq!(world.store.store.waiting().len(), 1);
    world
        .log_in(" ADA@example.com ", PASSWORD)
        .await
        .expect(200);
}

#[actix_web::test]
async fn an_address_is_what_html_takes_for_one() {
    let world = World::new().await;
    let label = "x".repeat(63);
    let longest = format!("{}@{label}.{label}.{}", "x".repeat(64), "x".repeat(61));
    assert_eq!(longest.len(), 254);
    for good in [
        "a@b",
        "first.last+tag@sub.example.com",
        "!#$%&'*+/=?^_`{|}~-@x-y.example",
        &longest,
    ] {
        let grant = register(&world, good, PASSWORD, "Ada").await.expect(201);
        assert_eq!(grant["user"]["email"], good);
    }
    let label_too_long = format!("a@{}.com", "x".repeat(64));
    for bad in [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@@example.com",
        "ada@example..com",
        "ada@.example.com",
        "ada@example.com.",
        "ada@-example.com",
        "ada@example-.com",
        "a..b@example.com",
        "ada lovelace@example.com",
        "Ada <ada@example.com>",
        "ädä@example.com",
        "ada@exämple.com",
        "ada@exa_mple.com",
        "ada@[192.0.2.1]",
        &label_too_long,
    ] {
        register(&world, bad, PASSWORD, "Ada")
            .await
            .assert_invalid(&[("email", "format")]);
        world
            .log_in(bad, PASSWORD)
            .await
            .assert_invalid(&[("email", "format")]);
    }
    let too_long = format!("x{longest}");
    register(&world, &too_long, PASSWORD, "Ada")
        .await
        .assert_invalid(&[("email", "length")]);
    world
        .log_in(&too_long, PASSWORD)
        .await
        .assert_invalid(&[("email", "length")]);
}

#[actix_web::test]
async fn a_password_has_its_lengths_and_kinds_of_characters() {
    let world = World::new().await;
    let mut n = 0;
    let mut attempt = async |password: &str| {
        n += 1;
        let email = format!("user{n}@example.com");
        let answer = register(&world, &email, password, "Ada").await;
        if answer.status == 201 {
            world.log_in(&email, password).await.expect(200);
        }
        answer
    };
    let bytes_72 = format!("Aa1!{}", "x".repeat(68));
    let bytes_72_in_36_characters = format!("A1!{}x", "é".repeat(34));
    assert_eq!(bytes_72_in_36_characters.len(), 72);
    for good in [
        "Aaaaaa1!",
        "ÄÄÄÄÄÄ1!",
        " Aaaa1! ",
        "A1@xxxxx",
        "A1#xxxxx",
        "A1$xxxxx",
        "A1%xxxxx",
        "A1^xxxxx",
        "A1&xxxxx",
        "A1*xxxxx",
        &bytes_72,
        &bytes_72_in_36_characters,
    ] {
        assert_eq!(attempt(good).await.status, 201, "{good}");
    }
    let bytes_73 = format!("{bytes_72}x");
    let bytes_74_in_37_characters = format!("{bytes_72_in_36_characters}é");
    for bad in [
        "",
        "Aaaaa1!",
        "ÄÄÄÄÄ1!",
        &bytes_73,
        &bytes_74_in_37_characters,
    ] {
        attempt(bad).await.assert_invalid(&[("password", "length")]);
    }
    for bad in [
        "aaaaaaa1!",
        "AAAAAAAA!",
        "AAAAAAA11",
        "aaaaaaaaa",
        "AAAA1111?",
        "AAAA٣٣٣٣!",
    ] {
        attempt(bad).await.assert_invalid(&[("password", "weak")]);
    }
}

#[actix_web::test]
async fn a_password_is_taken_as_it_is() {
    let world = World::new().await;
    register(&world, ADA, " Correct-Horse-8! ", "Ada")
        .await
        .expect(201);
    world.log_in(ADA, " Correct-Horse-8! ").await.expect(200);
    let trimmed = world.log_in(ADA, "Correct-Horse-8!").await;
    trimmed.assert_problem(401, "invalid_credentials");
}

#[actix_web::test]
async fn a_name_has_1_to_200_characters_after_trimming() {
    let world = World::new().await;
    let longest = "é".repeat(200);
    for (email, name) in [("a@example.com", "A"), ("b@example.com", longest.as_str())] {
        let padded = format!(" \u{a0}{name}\n");
        let grant = register(&world, email, PASSWORD, &padded).await.expect(201);
        assert_eq!(grant["user"]["full_name"], name);
    }
    for bad in ["", "  \t ", &"é".repeat(201)] {
        let answer = register(&world, ADA, PASSWORD, bad).await;
        answer.assert_invalid(&[("full_name", "length")]);
    }
}

#[actix_web::test]
async fn every_bad_field_of_a_registration_is_named_at_once() {
    let world = World::new().await;
    let answer = register(&world, "ada", "weakpassword", " ").await;
    answer.assert_invalid(&[
        ("email", "format"),
        ("password", "weak"),
        ("full_name", "length"),
    ]);
}

#[actix_web::test]
async fn of_concurrent_registrations_of_one_address_one_succeeds() {
    let world = World::new().await;
    let attempts = (0..10).map(|_| register(&world, ADA, PASSWORD, "Ada"));
    let answers = futures_util::future::join_all(attempts).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    let refused = answers.iter().filter(|answer| answer.status == 409).count();
    assert_eq!((made, refused), (1, 9));
    assert_eq!(world.store.store.waiting().len(), 1);
}

#[actix_web::test]
async fn a_session_remembers_where_it_was_opened_and_used_from() {
    let world = World::with(|setup| {
        setup.settings.trusted_proxies = vec!["192.0.2.1/32".parse().unwrap()];
    })
    .await;
    let body = json!({ "email": ADA, "password": PASSWORD, "full_name": "Ada" });
    let call = world.post("/api/v1/auth/register", &body);
    let call = call.header("user-agent", "é".repeat(300));
    let grant = call
        .header("x-forwarded-for", "198.51.100.7")
        .await
        .expect(201);
    let ada = User::of(&world, &grant);
    let sessions = world.store.store.sessions_of(ada.domain_id());
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].client.user_agent, Some("é".repeat(256)));
    assert_eq!(sessions[0].client.address.to_string(), "198.51.100.7");

    let call = world
        .refresh(&ada.refresh_token)
        .header("user-agent", "curl/8");
    call.from([203, 0, 113, 5]).await.expect(200);
    let sessions = world.store.store.sessions_of(ada.domain_id());
    assert_eq!(sessions[0].client.user_agent.as_deref(), Some("curl/8"));
    assert_eq!(sessions[0].client.address.to_string(), "203.0.113.5");
}

// --- log in

#[actix_web::test]
async fn logging_in_opens_another_session() {
    let world = World::new().await;
    let first = world.register(ADA).await;
    let grant = world.log_in(ADA, PASSWORD).await.expect(200);
    assert_token_response(&grant);
    let second = User::of(&world, &grant);
    assert_eq!(second.id, first.id);
    assert_ne!(second.refresh_token, first.refresh_token);
    assert_ne!(second.access_token, first.access_token);
    for user in [&first, &second] {
        user.get("/api/v1/users/me").await.expect(200);
    }
}

#[actix_web::test]
async fn a_wrong_password_and_an_unknown_address_look_the_same() {
    let world = World::new().await;
    world.register(ADA).await;
    let mut answers = Vec::new();
    let too_long = "x".repeat(73);
    for (email, password) in [
        (ADA, WRONG),
        ("nobody@example.com", WRONG),
        (ADA, ""),
        (ADA, "Correct\0Horse"),
        (ADA, &too_long),
        ("nobody@example.com", ""),
    ] {
        let call = world.log_in(email, password).header("x-request-id", "same");
        let answer = call.await;
        answer.assert_problem(401, "invalid_credentials");
        answers.push(answer.text);
        // A success forgets the failures, so that the account is not locked here.
        world.log_in(ADA, PASSWORD).await.expect(200);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

fn assert_locked(answer: &Answer, until: &str, wait: &str) {
    answer.assert_problem(403, "account_locked");
    assert_eq!(answer.json["locked_until"], until);
    assert_eq!(answer.header("retry-after"), Some(wait));
}

/// An account that is locked until a quarter past noon.
async fn locked() -> (World, User) {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    for _ in 0..4 {
        world
            .log_in(ADA, WRONG)
            .await
            .assert_problem(401, "invalid_credentials");
    }
    let fifth = world.log_in(ADA, WRONG).await;
    assert_locked(&fifth, "2030-06-15T12:15:00.000000Z", "900");
    (world, ada)
}

#[actix_web::test]
async fn the_fifth_failure_in_a_row_locks_the_account_also_for_the_right_password() {
    let (world, _ada) = locked().await;
    world.clock.advance(Duration::from_millis(60_500));
    for password in [PASSWORD, WRONG, ""] {
        let answer = world.log_in(ADA, password).await;
        assert_locked(&answer, "2030-06-15T12:15:00.000000Z", "840");
    }
}

#[actix_web::test]
async fn concurrent_failures_are_all_counted() {
    let world = World::new().await;
    world.register(ADA).await;
    let attempts = (0..20).map(|_| world.log_in(ADA, WRONG).into_future());
    let answers = futures_util::future::join_all(attempts).await;
    let wrong = answers.iter().filter(|answer| answer.status == 401).count();
    let locked = answers.iter().filter(|answer| answer.status == 403).count();
    assert_eq!((wrong, locked), (4, 16));
    world
        .log_in(ADA, PASSWORD)
        .await
        .assert_problem(403, "account_locked");
}

#[actix_web::test]
async fn a_lock_ends_and_is_not_prolonged() {
    let (world, _ada) = locked().await;
    world.clock.advance(Duration::from_mins(14));
    for _ in 0..10 {
        world
            .log_in(ADA, WRONG)
            .await
            .assert_problem(403, "account_locked");
    }
    world.clock.advance(Duration::from_micros(59_999_999));
    let last = world.log_in(ADA, PASSWORD).await;
    assert_locked(&last, "2030-06-15T12:15:00.000000Z", "1");
    world.clock.advance(Duration::from_micros(1));
    world.log_in(ADA, PASSWORD).await.expect(200);
}

#[actix_web::test]
async fn the_end_of_a_lock_resets_the_count() {
    let (world, _ada) = locked().await;
    world.clock.advance(Duration::from_mins(15));
    for _ in 0..4 {
        world
            .log_in(ADA, WRONG)
            .await
            .assert_problem(401, "invalid_credentials");
    }
    let again = world.log_in(ADA, WRONG).await;
    assert_locked(&again, "2030-06-15T12:30:00.000000Z", "900");
}

#[actix_web::test]
async fn a_success_resets_the_count() {
    let world = World::new().await;
    world.register(ADA).await;
    for _ in 0..3 {
        for _ in 0..4 {
            world
                .log_in(ADA, WRONG)
                .await
                .assert_problem(401, "invalid_credentials");
        }
        world.log_in(ADA, PASSWORD).await.expect(200);
    }
}

#[actix_web::test]
async fn a_lock_refuses_logins_only_and_of_one_account_only() {
    let (world, ada) = locked().await;
    ada.get("/api/v1/users/me").await.expect(200);
    world.refresh(&ada.refresh_token).await.expect(200);
    world.register("bob@example.com").await;
    world.log_in("bob@example.com", PASSWORD).await.expect(200);
    for _ in 0..9 {
        let nobody = world.log_in("nobody@example.com", WRONG).await;
        nobody.assert_problem(401, "invalid_credentials");
    }
}

#[actix_web::test]
async fn a_body_that_is_refused_is_no_failed_login() {
    let world = World::new().await;
    world.register(ADA).await;
    for _ in 0..9 {
        let answer = world
            .post("/api/v1/auth/login", &json!({ "email": ADA }))
            .await;
        answer.assert_invalid(&[("password", "required")]);
    }
    world.log_in(ADA, PASSWORD).await.expect(200);
}

// --- refresh

#[actix_web::test]
async fn a_refresh_token_is_good_once_for_a_new_pair() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let grant = world.refresh(&ada.refresh_token).await.expect(200);
    assert_token_response(&grant);
    let next = User::of(&world, &grant);
    assert_ne!(next.refresh_token, ada.refresh_token);
    assert_eq!(next.id, ada.id);
    next.get("/api/v1/users/me").await.expect(200);
    let again = world.refresh(&ada.refresh_token).await;
    again.assert_problem(401, "refresh_token_invalid");
}

#[actix_web::test]
async fn of_concurrent_refreshes_with_one_token_one_succeeds() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let attempts = (0..10).map(|_| world.refresh(&ada.refresh_token).into_future());
    let answers = futures_util::future::join_all(attempts).await;
    let new = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!((new, refused), (1, 9));
}

#[actix_web::test]
async fn a_retry_within_10_s_is_refused_and_the_session_lives() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let next = User::of(&world, &world.refresh(&ada.refresh_token).await.expect(200));
    world.clock.advance(Duration::from_secs(10));
    let retry = world.refresh(&ada.refresh_token).await;
    retry.assert_problem(401, "refresh_token_invalid");
    next.get("/api/v1/users/me").await.expect(200);
    ada.get("/api/v1/users/me").await.expect(200);
    world.refresh(&next.refresh_token).await.expect(200);
}

#[actix_web::test]
async fn a_used_token_that_comes_later_ends_the_whole_family_at_once() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let other = User::of(&world, &world.log_in(ADA, PASSWORD).await.expect(200));
    let second = User::of(&world, &world.refresh(&ada.refresh_token).await.expect(200));
    let third = User::of(
        &world,
        &world.refresh(&second.refresh_token).await.expect(200),
    );
    for user in [&ada, &second, &third, &other] {
        user.get("/api/v1/users/me").await.expect(200);
    }
    world.clock.advance(Duration::from_micros(10_000_001));
    let theft = world.refresh(&ada.refresh_token).await;
    theft.assert_problem(401, "refresh_token_invalid");
    for user in [&ada, &second, &third] {
        let answer = user.get("/api/v1/users/me").await;
        answer.assert_problem(401, "token_invalid");
        let answer = world.refresh(&user.refresh_token).await;
        answer.assert_problem(401, "refresh_token_invalid");
    }
    other.get("/api/v1/users/me").await.expect(200);
    world.refresh(&other.refresh_token).await.expect(200);
}

#[actix_web::test]
async fn a_refresh_token_lives_7_days_from_its_making() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    world
        .clock
        .advance(REFRESH_TOKEN_TTL.saturating_sub(Duration::from_micros(1)));
    let next = User::of(&world, &world.refresh(&ada.refresh_token).await.expect(200));
    world.clock.advance(REFRESH_TOKEN_TTL);
    let late = world.refresh(&next.refresh_token).await;
    late.assert_problem(401, "refresh_token_invalid");
}

#[actix_web::test]
async fn every_string_that_is_not_a_live_token_is_401() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let upper_case = "F".repeat(64);
    let long = "0".repeat(10_000);
    for token in [
        "",
        " ",
        "x",
        "\0",
        "🥛",
        &upper_case,
        &long,
        &ada.access_token,
    ] {
        let answer = world.refresh(token).await;
        answer.assert_problem(401, "refresh_token_invalid");
    }
    let padded = format!(" {}", ada.refresh_token);
    world
        .refresh(&padded)
        .await
        .assert_problem(401, "refresh_token_invalid");
}

// --- log out

#[actix_web::test]
async fn logging_out_ends_the_session_with_its_access_tokens() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let other = User::of(&world, &world.log_in(ADA, PASSWORD).await.expect(200));
    ada.get("/api/v1/users/me").await.expect(200);
    world.log_out(&ada.refresh_token).await.expect(204);
    ada.get("/api/v1/users/me")
        .await
        .assert_problem(401, "token_invalid");
    let refresh = world.refresh(&ada.refresh_token).await;
    refresh.assert_problem(401, "refresh_token_invalid");
    other.get("/api/v1/users/me").await.expect(200);
}

#[actix_web::test]
async fn logging_out_with_a_used_token_ends_the_session_too() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let next = User::of(&world, &world.refresh(&ada.refresh_token).await.expect(200));
    world.clock.advance(Duration::from_hours(1));
    world.log_out(&ada.refresh_token).await.expect(204);
    let refresh = world.refresh(&next.refresh_token).await;
    refresh.assert_problem(401, "refresh_token_invalid");
}

#[actix_web::test]
async fn logging_out_with_an_unknown_token_is_no_error() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    for token in ["", "x", "\0", &"0".repeat(64)] {
        if *token != ada.refresh_token {
            world.log_out(token).await.expect(204);
        }
    }
    ada.get("/api/v1/users/me").await.expect(200);
    world.log_out(&ada.refresh_token).await.expect(204);
    world.log_out(&ada.refresh_token).await.expect(204);
}

// --- access tokens

#[actix_web::test]
async fn an_access_token_expires_with_5_s_of_leeway() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    world
        .clock
        .advance(ACCESS_TOKEN_TTL + Duration::from_secs(5));
    ada.get("/api/v1/users/me").await.expect(200);
    world.clock.advance(Duration::from_secs(1));
    let answer = ada.get("/api/v1/users/me").await;
    answer.assert_problem(401, "token_expired");
    world.refresh(&ada.refresh_token).await.expect(200);
}

#[actix_web::test]
async fn a_token_of_another_users_session_is_no_token() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let bob = world.register("bob@example.com").await;
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let mut forged = parts(&bob.access_token);
    forged[1] = parts(&ada.access_token).remove(1);
    let answer = world
        .get("/api/v1/users/me")
        .bearer(&forged.join("."))
        .await;
    answer.assert_problem(401, "token_invalid");
}

#[actix_web::test]
async fn an_account_that_is_gone_has_no_token() {
    for cache in [FakeSignedInCache::forgetful(), FakeSignedInCache::default()] {
        let world = World::with(|setup| setup.cache = cache).await;
        let ada = world.register(ADA).await;
        // Remembered, or not.
        ada.get("/api/v1/users/me").await.expect(200);
        world.store.store.erase(ada.domain_id());
        let answer = ada
            .patch("/api/v1/users/me", &json!({ "full_name": "Ada King" }))
            .await;
        answer.assert_problem(401, "token_invalid");
        let answer = ada.get("/api/v1/users/me").await;
        answer.assert_problem(401, "token_invalid");
        let answer = world.log_in(ADA, PASSWORD).await;
        answer.assert_problem(401, "invalid_credentials");
    }
}

#[actix_web::test]
async fn the_authorization_header_is_read_as_rfc_6750_says() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let token = &ada.access_token;
    let me = |value: String| world.get("/api/v1/users/me").header("authorization", value);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        me(format!("{scheme} {token}")).await.expect(200);
    }
    me(format!("Bearer  {token}")).await.expect(200);
    for none in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Basic YWRhOng=".to_owned(),
        format!("Token {token}"),
        token.clone(),
    ] {
        me(none).await.assert_problem(401, "token_missing");
    }
    for bad in [
        "Bearer x".to_owned(),
        format!("Bearer {token}x"),
        format!("Bearer {token} {token}"),
    ] {
        me(bad).await.assert_problem(401, "token_invalid");
    }
    let non_ascii = world
        .get("/api/v1/users/me")
        .header("authorization", b"Bearer \xff");
    assert_eq!(non_ascii.await.status, 401);
    let twice = ada.get("/api/v1/users/me").bearer(token).await;
    twice.assert_problem(401, "token_invalid");
    let in_query = format!("/api/v1/users/me?access_token={token}");
    world
        .get(&in_query)
        .await
        .assert_problem(401, "token_missing");
}

#[actix_web::test]
async fn a_challenge_says_what_is_wrong_with_the_token() {
    // That every 401 has one, and which, is checked of every answer, in `support`.
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let none = world.get("/api/v1/users/me").await;
    assert_eq!(none.header("www-authenticate"), Some("Bearer"));
    world.clock.advance(Duration::from_hours(1));
    let expired = ada.get("/api/v1/users/me").await;
    let challenge = expired.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert!(challenge.contains("expired"), "{challenge}");
}

// --- the signed-in user

#[actix_web::test]
async fn a_user_changes_the_name() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let before = ada.get("/api/v1/users/me").await.expect(200);
    world.clock.advance(Duration::from_secs(1));
    let same = ada
        .patch("/api/v1/users/me", &json!({ "full_name": "Ada Lovelace" }))
        .await;
    assert_eq!(same.expect(200), before);
    let same = ada.patch("/api/v1/users/me", &json!({})).await;
    assert_eq!(same.expect(200), before);

    let after = ada
        .patch("/api/v1/users/me", &json!({ "full_name": " Ada King " }))
        .await;
    let after = after.expect(200);
    let mut expected = before;
    expected["full_name"] = "Ada King".into();
    expected["updated_at"] = "2030-06-15T12:00:01.000000Z".into();
    assert_eq!(after, expected);
    // What was remembered of the user is forgotten.
    assert_eq!(ada.get("/api/v1/users/me").await.expect(200), expected);
    let grant = world.log_in(ADA, PASSWORD).await.expect(200);
    assert_eq!(grant["user"], expected);
    for bad in ["", &"é".repeat(201)] {
        let answer = ada
            .patch("/api/v1/users/me", &json!({ "full_name": bad }))
            .await;
        answer.assert_invalid(&[("full_name", "length")]);
    }
}

#[actix_web::test]
async fn only_verified_users_work_with_tasks_and_categories_where_that_is_required() {
    let verified_only = || World::with(|setup| setup.settings.verified_only = VerifiedOnly(true));
    let scene = Scene::of(verified_only().await).await;
    for operation in scene.operations().into_iter().filter(|it| it.needs_token) {
        // Each in a world of its own: what one changes does not meet the next.
        let scene = Scene::of(verified_only().await).await;
        let operation = scene.operation(operation.id);
        let eve = scene.world.register("eve@example.com").await;
        let answer = operation.by(&eve).await;
        let is_refused = answer.json["code"] == "email_not_verified";
        assert_eq!(is_refused, operation.is_for_members(), "{}", operation.id);
        let answer = operation.by(&scene.ada).await;
        assert!(answer.status < 300, "{}", operation.id);
    }
}

#[actix_web::test]
async fn elsewhere_they_need_not_be_verified() {
    let ada = World::new().await.register(ADA).await;
    ada.task(&json!({ "title": "Buy milk" })).await;
    ada.category("Work").await;
}

//! R041.

use mockall::Sequence;
use secrecy::ExposeSecret;
use tasks_domain::account::{
    Credentials, FailedLogin, HashError, Locked, LogIn, LogInError, LoginAttempts, OpaqueTokens,
    PasswordAttempt, PasswordHash, SessionOpening, TokenIssuer, User,
};
use tasks_testkit::build;
use tasks_testkit::clock::noon;
use tasks_testkit::fakes::FakeIssuer;

use super::{POLICY, Ports};
use crate::unavailable;

fn command() -> LogIn {
    LogIn {
        email: build::email("ada@example.com"),
        password: PasswordAttempt::new("Correct-1!"),
        client: build::client(),
    }
}

fn ada() -> User {
    build::user().email("ada@example.com").build()
}

fn credentials(user: &User) -> Credentials {
    Credentials {
        user: user.clone(),
        password_hash: PasswordHash::new("the hash"),
        attempts: LoginAttempts::default(),
    }
}

fn locked() -> Locked {
    Locked {
        until: noon().plus(LoginAttempts::LOCK),
    }
}

/// The user is found, and the password is compared with the user's hash.
fn knowing(mut ports: Ports, user: &User, is_right: bool) -> Ports {
    let found = credentials(user);
    ports
        .users
        .expect_find_credentials()
        .once()
        .withf(|email| *email == build::email("ada@example.com"))
        .returning(move |_| Ok(Some(found.clone())));
    ports
        .hasher
        .expect_verify()
        .once()
        .withf(|attempt, hash| {
            attempt.comparable() == Some("Correct-1!")
                && hash
                    .as_ref()
                    .is_some_and(|hash| hash.expose() == "the hash")
        })
        .returning(move |_, _| Ok(is_right));
    ports
}

fn recording(mut ports: Ports, outcome: FailedLogin) -> Ports {
    ports
        .users
        .expect_record_failed_login()
        .once()
        .withf(|email, now| *email == build::email("ada@example.com") && *now == noon())
        .returning(move |_, _| Ok(outcome));
    ports
}

#[tokio::test]
async fn the_right_password_opens_a_session() {
    let user = ada();
    let mut ports = knowing(Ports::new(), &user, true);
    let tokens = ports.tokens.clone();
    let (sender, opened) = std::sync::mpsc::channel();
    ports
        .sessions
        .expect_open()
        .once()
        .returning(move |user, session, now| {
            sender.send((user, session, now)).unwrap();
            Ok(SessionOpening::Opened)
        });

    let grant = ports.service().log_in(command()).await.unwrap();

    let (owner, session, now) = opened.recv().unwrap();
    assert_eq!((owner, now), (user.id, noon()));
    assert_eq!(session.client, build::client());
    let granted = tokens.digest(grant.refresh_token.expose_secret());
    assert_eq!(session.refresh_token.digest, granted);
    let end = noon().plus(POLICY.refresh_token_ttl);
    assert_eq!(session.refresh_token.expires_at, end);
    let claims = FakeIssuer
        .verify(grant.access_token.expose_secret(), noon())
        .unwrap();
    assert_eq!((claims.user, claims.session), (user.id, session.id));
    assert_eq!(grant.user, user);
}

#[tokio::test]
async fn a_wrong_password_is_recorded_and_refused() {
    let ports = knowing(Ports::new(), &ada(), false);
    let ports = recording(ports, FailedLogin::Counted);
    let refused = ports.service().log_in(command()).await;
    assert!(matches!(refused, Err(LogInError::InvalidCredentials)));
}

/// What it takes for the times of all refusals to be equal.
#[tokio::test]
async fn an_unknown_address_is_compared_with_nobodys_password_and_recorded_as_well() {
    let mut ports = Ports::new();
    let mut in_order = Sequence::new();
    ports
        .users
        .expect_find_credentials()
        .once()
        .in_sequence(&mut in_order)
        .returning(|_| Ok(None));
    ports
        .hasher
        .expect_verify()
        .once()
        .in_sequence(&mut in_order)
        .withf(|_, hash| hash.is_none())
        .returning(|_, _| Ok(false));
    ports
        .users
        .expect_record_failed_login()
        .once()
        .in_sequence(&mut in_order)
        .returning(|_, _| Ok(FailedLogin::NoAccount));
    let refused = ports.service().log_in(command()).await;
    assert!(matches!(refused, Err(LogInError::InvalidCredentials)));
}

/// A hasher that took a missing hash for a match would let anybody in otherwise.
#[tokio::test]
async fn nobody_gets_in_without_an_account_whatever_the_hasher_says() {
    let mut ports = Ports::new();
    ports
        .users
        .expect_find_credentials()
        .returning(|_| Ok(None));
    ports.hasher.expect_verify().returning(|_, _| Ok(true));
    let refused = recording(ports, FailedLogin::NoAccount)
        .service()
        .log_in(command())
        .await;
    assert!(matches!(refused, Err(LogInError::InvalidCredentials)));
}

#[tokio::test]
async fn the_failure_that_locks_and_those_under_the_lock_say_until_when() {
    for outcome in [
        FailedLogin::LockedNow(locked()),
        FailedLogin::StillLocked(locked()),
    ] {
        let ports = recording(knowing(Ports::new(), &ada(), false), outcome);
        let refused = ports.service().log_in(command()).await;
        assert!(matches!(refused, Err(LogInError::Locked(lock)) if lock == locked()));
    }
}

#[tokio::test]
async fn the_right_password_does_not_open_a_locked_account() {
    let mut ports = knowing(Ports::new(), &ada(), true);
    let opening = SessionOpening::Locked(locked());
    ports
        .sessions
        .expect_open()
        .once()
        .returning(move |_, _, _| Ok(opening));
    let refused = ports.service().log_in(command()).await;
    assert!(matches!(refused, Err(LogInError::Locked(lock)) if lock == locked()));
}

#[tokio::test]
async fn an_account_that_went_while_the_password_was_compared_is_nobodys() {
    let mut ports = knowing(Ports::new(), &ada(), true);
    ports
        .sessions
        .expect_open()
        .returning(|_, _, _| Ok(SessionOpening::NoAccount));
    let refused = ports.service().log_in(command()).await;
    assert!(matches!(refused, Err(LogInError::InvalidCredentials)));
}

#[tokio::test]
async fn what_could_not_be_compared_is_not_recorded() {
    let mut ports = Ports::new();
    let found = credentials(&ada());
    ports
        .users
        .expect_find_credentials()
        .returning(move |_| Ok(Some(found.clone())));
    ports
        .hasher
        .expect_verify()
        .returning(|_, _| Err(HashError::Overloaded));
    let failed = ports.service().log_in(command()).await;
    assert!(matches!(
        failed,
        Err(LogInError::Hash(HashError::Overloaded))
    ));
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_at_each_step() {
    let mut at_lookup = Ports::new();
    at_lookup
        .users
        .expect_find_credentials()
        .returning(|_| Err(unavailable()));
    let mut at_recording = knowing(Ports::new(), &ada(), false);
    at_recording
        .users
        .expect_record_failed_login()
        .returning(|_, _| Err(unavailable()));
    let mut at_opening = knowing(Ports::new(), &ada(), true);
    at_opening
        .sessions
        .expect_open()
        .returning(|_, _, _| Err(unavailable()));
    for ports in [at_lookup, at_recording, at_opening] {
        let failed = ports.service().log_in(command()).await;
        assert!(matches!(failed, Err(LogInError::Store(_))), "{failed:?}");
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_signed_is_an_error() {
    let mut ports = knowing(Ports::unable_to_sign(), &ada(), true);
    ports
        .sessions
        .expect_open()
        .returning(|_, _, _| Ok(SessionOpening::Opened));
    let failed = ports.service().log_in(command()).await;
    assert!(matches!(failed, Err(LogInError::Token(_))));
}

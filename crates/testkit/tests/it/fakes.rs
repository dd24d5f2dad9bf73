//! What the fakes offer beyond their ports, and the ports that have no contract suite.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tasks_domain::account::{
    AccessClaims, AccessTokenError, Admission, CacheLookup, HashError, OpaqueTokens, Password,
    PasswordAttempt, PasswordHasher, Registration, SecurityEvent, SecurityEventKind, SecurityLog,
    SignedInCache, TokenIssuer, User,
};
use tasks_domain::clock::Clock;
use tasks_domain::health::{HealthProbe, SchemaProbe, SchemaState};
use tasks_domain::housekeeping::{Housekeeping, Leftover};
use tasks_domain::id::IdGenerator;
use tasks_domain::mail::{
    Claim, Mail, MailError, MailKind, MailTokens, Mailer, NewMail, Outbox, OutboxSignal, Settlement,
};
use tasks_domain::rate_limit::{Quota, RateLimitKey, RateLimiter};
use tasks_domain::store::StoreError;
use tasks_domain::task::TaskQuery;
use tasks_testkit::build;
use tasks_testkit::clock::{FrozenClock, noon};
use tasks_testkit::contract::{SUITES, Stores};
use tasks_testkit::fakes::{
    FakeHasher, FakeIssuer, FakeMailTokens, FakeRateLimiter, FakeSignedInCache, FakeStore,
    FakeTokens, RecordingMailer, RecordingSecurityLog, RecordingSignal,
};
use tasks_testkit::ids::SequentialIds;

async fn registered(store: &FakeStore) -> User {
    let user = build::user().build();
    let outcome = store.users().register(build::account(&user)).await;
    assert!(matches!(outcome, Ok(Registration::Registered)));
    user
}

#[test]
fn every_suite_has_cases_of_different_names() {
    for (port, cases) in SUITES {
        let names: HashSet<_> = cases.iter().collect();
        assert!(names.len() > 8, "{port} has {}", names.len());
        assert_eq!(names.len(), cases.len(), "{port}");
    }
}

#[test]
fn a_frozen_clock_moves_when_it_is_told_and_clones_share_it() {
    let clock = FrozenClock::default();
    let clone = clock.clone();
    assert_eq!(clock.now(), noon());
    clone.advance(Duration::from_micros(1));
    assert_eq!(clock.now(), noon().plus(Duration::from_micros(1)));
    clone.set(noon());
    assert_eq!(clock.now(), noon());
}

#[test]
fn sequential_ids_rise_are_of_version_7_and_differ_by_seed() {
    let (ids, others) = (SequentialIds::new(1), SequentialIds::new(2));
    let made: Vec<_> = (0..3).map(|_| ids.next_uuid()).collect();
    assert!(made.is_sorted() && made.iter().all(|id| id.get_version_num() == 7));
    assert!((0..3).all(|_| !made.contains(&others.next_uuid())));
    assert_eq!(SequentialIds::new(1).next_uuid(), *made.first().unwrap());
}

#[tokio::test]
async fn a_store_that_is_switched_off_is_unavailable_until_it_is_switched_on() {
    let store = FakeStore::default();
    let user = registered(&store).await;
    store.fail_with_unavailable(true);
    let query = TaskQuery::default();
    let list = store.tasks().list(user.id, &query).await;
    assert!(matches!(list, Err(StoreError::Unavailable(_))));
    let found = store.users().find_credentials(&user.email).await;
    assert!(matches!(found, Err(StoreError::Unavailable(_))));
    let claim = store.claim(noon(), noon()).await;
    assert!(matches!(claim, Err(StoreError::Unavailable(_))));
    let removal = store.remove(Leftover::Sessions, noon(), 1).await;
    assert!(matches!(removal, Err(StoreError::Unavailable(_))));
    assert!(matches!(
        store.check().await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(matches!(
        store.schema().await,
        Err(StoreError::Unavailable(_))
    ));
    store.fail_with_unavailable(false);
    assert!(store.check().await.is_ok());
    assert!(store.tasks().list(user.id, &query).await.is_ok());
}

#[tokio::test]
async fn a_store_has_the_schema_that_it_is_told() {
    let store = FakeStore::default();
    assert_eq!(store.schema().await.unwrap(), SchemaState::Current);
    store.set_schema(SchemaState::Behind(2));
    assert_eq!(store.schema().await.unwrap(), SchemaState::Behind(2));
}

#[tokio::test]
async fn a_store_shows_what_its_ports_hide() {
    let store = FakeStore::default();
    let user = build::user().build();
    let account = build::account(&user);
    store.users().register(account.clone()).await.unwrap();
    let hash = store.password_hash(user.id).unwrap();
    assert_eq!(hash.expose(), account.password_hash.expose());
    store
        .users()
        .record_failed_login(&user.email, noon())
        .await
        .unwrap();
    assert_eq!(store.attempts(user.id).unwrap().failed, 1);

    let task = build::task(&user).build();
    store.tasks().create(&task).await.unwrap();
    assert_eq!(store.deleted_at(task.id), None);
    store.tasks().delete(task.id, noon()).await.unwrap();
    assert_eq!(store.deleted_at(task.id), Some(noon()));

    store.activate(user.id);
    assert!(store.user(user.id).unwrap().is_active);
    store.deactivate(user.id);
    assert!(!store.user(user.id).unwrap().is_active);
}

#[tokio::test]
async fn a_store_shows_its_mails_and_the_tokens_that_accounts_accept() {
    let store = FakeStore::default();
    let user = build::user().build();
    let account = build::account(&user);
    store.users().register(account.clone()).await.unwrap();
    let ids = |mails: Vec<NewMail>| -> Vec<_> { mails.into_iter().map(|mail| mail.id).collect() };
    let mail = &account.mail;
    assert_eq!(ids(store.waiting()), [mail.id]);
    assert_eq!(store.due_at(mail.id), Some(noon()));
    assert_eq!(store.mail_token(user.id, MailKind::VerifyEmail), None);

    let until = noon().plus(Duration::from_mins(1));
    let Claim::Claimed(claimed) = store.claim(noon(), until).await.unwrap() else {
        panic!("not claimed");
    };
    assert_eq!(store.due_at(mail.id), Some(until));
    let token = store.mail_token(user.id, MailKind::VerifyEmail);
    assert_eq!(token.as_ref(), Some(&mail.token));
    assert_eq!(store.mail_token(user.id, MailKind::ResetPassword), None);

    let dead = Settlement::Dead(noon());
    store.settle(&claimed, dead).await.unwrap();
    assert_eq!(ids(store.waiting()), []);
    assert_eq!(ids(store.dead()), [mail.id]);
    assert_eq!(store.due_at(mail.id), None);
}

#[tokio::test]
async fn a_rotated_session_says_when_and_where_it_was_last_used_and_when_it_ended() {
    let store = FakeStore::default();
    let user = build::user().build();
    let account = build::account(&user);
    let first = account.session.refresh_token.digest.clone();
    store.users().register(account.clone()).await.unwrap();
    let later = noon().plus(Duration::from_hours(1));
    let successor = build::refresh_token(later);
    let mut client = build::client();
    client.user_agent = Some("another".to_owned());

    store
        .sessions()
        .rotate(&first, successor.clone(), client.clone())
        .await
        .unwrap();

    let sessions = store.sessions_of(user.id);
    let [session] = sessions.as_slice() else {
        panic!("not one session: {sessions:?}");
    };
    assert_eq!(
        (session.id, session.created_at),
        (account.session.id, noon())
    );
    assert_eq!(
        (session.last_used_at, session.expires_at),
        (later, successor.expires_at)
    );
    assert_eq!(session.client, client);
    assert_eq!(store.ended_at(session.id), None);
    // Ending it again does not change when it ended.
    for at in [later, later.plus(Duration::from_secs(1))] {
        store.sessions().end_by_token(&first, at).await.unwrap();
        assert_eq!(store.ended_at(session.id), Some(later));
    }
}

#[tokio::test]
async fn an_erased_account_takes_everything_along() {
    let store = FakeStore::default();
    let (user, other) = (registered(&store).await, registered(&store).await);
    for owner in [&user, &other] {
        store
            .tasks()
            .create(&build::task(owner).build())
            .await
            .unwrap();
        store
            .categories()
            .create(&build::category(owner).build())
            .await
            .unwrap();
    }
    store.erase(user.id);
    assert_eq!(store.user(user.id), None);
    assert_eq!(store.sessions_of(user.id), []);
    assert_eq!(store.categories().list(user.id).await.unwrap(), []);
    let query = TaskQuery::default();
    assert_eq!(store.tasks().list(user.id, &query).await.unwrap().total, 0);
    assert_eq!(store.tasks().list(other.id, &query).await.unwrap().total, 1);
    assert_eq!(store.categories().list(other.id).await.unwrap().len(), 1);
    let opening = store
        .sessions()
        .open(
            user.id,
            build::password_hash("any"),
            build::session(noon()),
            noon(),
        )
        .await;
    assert_eq!(opening.unwrap(), Admission::Outdated);
}

#[tokio::test]
async fn a_hasher_knows_the_password_of_a_hash_unless_it_is_overloaded() {
    let hasher = FakeHasher::default();
    let password = || Password::parse("Correct-1!").unwrap();
    let attempt = |raw| PasswordAttempt::new(raw);
    let hash = hasher.hash(password()).await.unwrap();
    assert_ne!(
        hasher.hash(password()).await.unwrap().expose(),
        hash.expose()
    );
    let verify = |raw, hash| hasher.verify(attempt(raw), hash);
    assert!(verify("Correct-1!", Some(hash.clone())).await.unwrap());
    assert!(!verify("Wrong-1!", Some(hash.clone())).await.unwrap());
    assert!(!verify("Correct-1!", None).await.unwrap());
    assert!(!verify("\0", None).await.unwrap());
    hasher.overload(true);
    assert!(matches!(
        hasher.hash(password()).await,
        Err(HashError::Overloaded)
    ));
    let refused = hasher.verify(attempt("Correct-1!"), Some(hash)).await;
    assert!(matches!(refused, Err(HashError::Overloaded)));
    hasher.overload(false);
    assert!(hasher.hash(password()).await.is_ok());
}

#[test]
fn an_issuer_reads_its_tokens_within_their_time_give_or_take_5_seconds() {
    let user = build::user().email("Ada.L+x@example.com").build();
    let claims = AccessClaims {
        user: user.id,
        session: build::id(),
        email: user.email,
        issued_at: noon(),
        expires_at: noon().plus(Duration::from_mins(15)),
        token_id: build::id::<()>().uuid(),
    };
    let token = FakeIssuer.issue(&claims).unwrap();
    let token = token.expose_secret();
    let latest = claims.expires_at.plus(Duration::from_secs(5));
    let too_late = latest.plus(Duration::from_secs(1));
    assert_eq!(FakeIssuer.verify(token, noon()), Ok(claims.clone()));
    assert_eq!(FakeIssuer.verify(token, latest), Ok(claims.clone()));
    let expired = FakeIssuer.verify(token, too_late);
    assert_eq!(expired, Err(AccessTokenError::Expired));
    let early = AccessClaims {
        issued_at: noon().plus(Duration::from_secs(6)),
        ..claims
    };
    let early = FakeIssuer.issue(&early).unwrap();
    for invalid in [
        "",
        "token",
        early.expose_secret(),
        &format!("{token}.x"),
        &token.replace('.', "-"),
    ] {
        let refused = FakeIssuer.verify(invalid, noon());
        assert_eq!(refused, Err(AccessTokenError::Invalid), "{invalid}");
    }
}

#[test]
fn tokens_have_their_length_and_digests_are_64_hex_characters() {
    let tokens = FakeTokens::default();
    let mails = FakeMailTokens::default();
    let made: Vec<_> = (0..3)
        .flat_map(|_| [tokens.refresh_token(), mails.token(build::id())])
        .collect();
    let lengths: Vec<_> = made
        .iter()
        .map(|token| token.expose_secret().len())
        .collect();
    assert_eq!(lengths, [64, 43, 64, 43, 64, 43]);
    let digests: HashSet<_> = made
        .iter()
        .map(|token| tokens.digest(token.expose_secret()))
        .collect();
    assert_eq!(digests.len(), made.len());
    for digest in digests {
        assert_eq!(digest.expose().len(), 64);
        assert!(
            digest
                .expose()
                .bytes()
                .all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
        );
    }
    assert_eq!(tokens.digest("any"), FakeTokens::default().digest("any"));
}

#[test]
fn a_mails_token_is_made_again_for_its_digest_unless_forgotten() {
    let (tokens, mails) = (FakeTokens::default(), FakeMailTokens::default());
    let (mail, other) = (build::id(), build::id());
    let token = mails.token(mail);
    let digest = tokens.digest(token.expose_secret());
    let again = |id| {
        let token = mails.token_again(id, &digest)?;
        Some(token.expose_secret().to_owned())
    };
    assert_eq!(again(mail).as_deref(), Some(token.expose_secret()));
    assert_eq!(again(other), None);
    mails.clone().forget(true);
    assert_eq!(again(mail), None);
    mails.forget(false);
    assert!(again(mail).is_some());
}

#[tokio::test]
async fn a_mailer_keeps_what_was_sent_in_order_and_fails_as_it_is_told() {
    let mailer = RecordingMailer::default();
    let clone = mailer.clone();
    let send = async |kind| {
        let mail = Mail {
            id: build::id(),
            kind,
            to: build::email("ada@example.com"),
            name: build::full_name("Ada"),
            token: "token".to_owned().into(),
            cause: None,
        };
        clone.send(&mail).await
    };
    send(MailKind::VerifyEmail).await.unwrap();
    mailer.fail_next(MailError::Unavailable("down".into()));
    mailer.fail_next(MailError::Refused("unknown".into()));
    let failed = send(MailKind::VerifyEmail).await;
    assert!(matches!(failed, Err(MailError::Unavailable(_))));
    let failed = send(MailKind::VerifyEmail).await;
    assert!(matches!(failed, Err(MailError::Refused(_))));
    send(MailKind::ResetPassword).await.unwrap();
    let kinds: Vec<_> = mailer.sent().iter().map(|mail| mail.kind).collect();
    assert_eq!(kinds, [MailKind::VerifyEmail, MailKind::ResetPassword]);
}

#[test]
fn a_security_log_and_a_signal_keep_what_they_are_told() {
    let (log, signal) = (RecordingSecurityLog::default(), RecordingSignal::default());
    let event = |kind| SecurityEvent {
        kind,
        user: None,
        session: None,
        address: build::client().address,
    };
    let events = [
        event(SecurityEventKind::LoginFailed),
        event(SecurityEventKind::AccountLocked),
    ];
    for event in events {
        log.clone().record(event);
        signal.clone().added();
    }
    assert_eq!(log.events(), events);
    assert_eq!(signal.count(), 2);
}

#[tokio::test]
async fn a_limiter_that_is_switched_off_is_unavailable() {
    let limiter = FakeRateLimiter::new(FrozenClock::at_noon());
    limiter.clone().fail_with_unavailable(true);
    let quota = Quota {
        limit: 1,
        window: Duration::from_secs(1),
    };
    let hit = limiter.hit(RateLimitKey::User(build::id()), quota).await;
    assert!(matches!(hit, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_cache_counts_its_answers_and_a_forgetful_one_has_none() {
    let user = build::user().build();
    let session = build::session_ref(&user, &build::session(noon()));
    for (cache, expected) in [
        (FakeSignedInCache::default(), (2, 1)),
        (FakeSignedInCache::forgetful(), (0, 3)),
    ] {
        let port: Arc<dyn SignedInCache> = Arc::new(cache.clone());
        for _ in 0..3 {
            if let CacheLookup::Miss(lease) = port.get(session).await {
                port.put(session, &user, lease).await;
            }
        }
        assert_eq!((cache.hits(), cache.misses()), expected);
    }
}

//! What mails leave in the files, and what asking for one costs.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tasks_domain::account::{
    AccountPorts, AccountService, Password, Refresh, Register, ResetPassword, SessionPolicy,
};
use tasks_domain::clock::Timestamp;
use tasks_domain::housekeeping::{Housekeeping, Leftover, Removal};
use tasks_domain::mail::{Claim, Delivery, DeliveryService, MailKind, Outbox, Settlement};
use tasks_domain::store::StoreError;
use tasks_testkit::build;
use tasks_testkit::clock::{FrozenClock, just_before, noon};
use tasks_testkit::fakes::{
    FakeHasher, FakeIssuer, FakeMailTokens, FakeSignedInCache, FakeTokens, FakeTrace,
    RecordingMailer, RecordingSecurityLog, RecordingSignal,
};
use tasks_testkit::ids::SequentialIds;

use crate::{TestStore, user};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn until(now: Timestamp) -> Timestamp {
    now.plus(DeliveryService::CLAIM)
}

/// Both are asked for again and again, and a transaction that writes has to wait for the disk.
#[tokio::test]
async fn looking_for_mails_and_leftovers_that_are_not_there_writes_nothing() {
    let test = TestStore::migrated();
    user(&test.store).await;
    // A mail is there, but not due.
    let early = just_before(noon());
    let before = test.bytes();
    assert_eq!(
        test.store.claim(early, until(early)).await.unwrap(),
        Claim::Idle
    );
    for what in Leftover::ALL {
        let removal = test.store.remove(what, early, 500).await.unwrap();
        assert_eq!(removal, Removal::Removed(0));
    }
    assert!(test.bytes() == before);

    let claim = test.store.claim(noon(), until(noon())).await.unwrap();
    assert!(matches!(claim, Claim::Claimed(_)));
    assert!(test.bytes() != before);
}

/// Somebody changed it by hand.
#[tokio::test]
async fn a_mail_that_cannot_be_read_is_told_and_does_not_keep_the_others_back() {
    let too_late = format!("UPDATE outbox SET created_at = {}", i64::MAX);
    let changes: [(&[&str], &str); 3] = [
        (&["UPDATE users SET full_name = ''"], "users.full_name"),
        (
            &[
                "UPDATE users SET email = 'nobody'",
                "UPDATE outbox SET recipient = 'nobody'",
            ],
            "outbox.recipient",
        ),
        (&[too_late.as_str()], "outbox.created_at"),
    ];
    for (changes, column) in changes {
        let test = TestStore::migrated();
        user(&test.store).await;
        for change in changes {
            test.execute(change);
        }
        let bob = user(&test.store).await;
        let claim = |now: Timestamp| test.store.claim(now, until(now));
        let tokens = "SELECT id AS value FROM users WHERE verification_token_hash IS NOT NULL";

        let unreadable = claim(noon()).await;
        assert!(
            matches!(&unreadable, Err(StoreError::Corrupt { what }) if what == column),
            "{unreadable:?}"
        );
        assert_eq!(test.query(tokens), Vec::<String>::new());
        let Ok(Claim::Claimed(mail)) = claim(noon()).await else {
            panic!("the other waits because of {column}");
        };
        assert_eq!(mail.to, bob.email);
        test.store.settle(&mail, Settlement::Sent).await.unwrap();
        let before = just_before(until(noon()));
        assert_eq!(claim(before).await.unwrap(), Claim::Idle);

        let again = claim(until(noon())).await;
        assert!(matches!(again, Err(StoreError::Corrupt { .. })));
        let attempts = test.query("SELECT CAST(attempts AS TEXT) AS value FROM outbox");
        assert_eq!(attempts, ["2"]);
    }
}

/// Whatever somebody wrote there: it is no reason not to send a mail.
#[tokio::test]
async fn a_cause_that_cannot_be_read_is_none() {
    let test = TestStore::migrated();
    user(&test.store).await;
    test.execute("UPDATE outbox SET trace_parent = '00-no-trace-01'");
    let Ok(Claim::Claimed(mail)) = test.store.claim(noon(), until(noon())).await else {
        panic!("it waits");
    };
    assert_eq!(mail.cause, None);
}

/// The time of a commit is the time of what it writes: it must not tell who has an account.
#[tokio::test]
async fn asking_for_a_mail_writes_the_same_amount_for_everybody() {
    let test = TestStore::migrated();
    let ada = user(&test.store).await;
    let nobody = build::user().build();
    let log = test.folder.path().join("tasks.db-wal");
    let mut written = Vec::new();
    for kind in MailKind::ALL {
        for to in [&ada.email, &nobody.email] {
            let before = log.metadata().unwrap().len();
            test.store.add(build::mail(kind, to)).await.unwrap();
            written.push(log.metadata().unwrap().len() - before);
        }
    }
    assert!(written.iter().all(|size| *size == written[0] && *size > 0));
}

fn password(raw: &str) -> Password {
    Password::parse(raw).unwrap()
}

#[tokio::test]
async fn no_token_is_in_the_files() {
    let test = TestStore::migrated();
    let store = Arc::new(test.store.clone());
    let clock = Arc::new(FrozenClock::at_noon());
    let mail_tokens = Arc::new(FakeMailTokens::default());
    let mailer = RecordingMailer::default();
    let ports = AccountPorts {
        users: store.clone(),
        sessions: store.clone(),
        cache: Arc::new(FakeSignedInCache::default()),
        hasher: Arc::new(FakeHasher::default()),
        issuer: Arc::new(FakeIssuer),
        tokens: Arc::new(FakeTokens::default()),
        outbox: store.clone(),
        outbox_signal: Arc::new(RecordingSignal::default()),
        mail_tokens: mail_tokens.clone(),
        security_log: Arc::new(RecordingSecurityLog::default()),
        trace: Arc::new(FakeTrace::default()),
        clock: clock.clone(),
        ids: Arc::new(SequentialIds::new(1)),
    };
    let policy = SessionPolicy {
        access_token_ttl: Duration::from_mins(15),
        refresh_token_ttl: build::REFRESH_TOKEN_TTL,
    };
    let accounts = AccountService::new(ports, policy);
    let delivery = DeliveryService::new(store, Arc::new(mailer.clone()), mail_tokens, clock);
    let deliver = async || {
        let delivered = delivery.deliver_next().await.unwrap();
        assert!(matches!(delivered, Delivery::Sent(_)), "{delivered:?}");
        mailer.sent().pop().unwrap().token
    };
    let mut written = Vec::new();
    let mut tokens: Vec<SecretString> = Vec::new();

    let ada = build::email("ada@example.com");
    let registered = accounts
        .register(Register {
            email: ada.clone(),
            password: password("Secret#123"),
            full_name: build::full_name("Ada"),
            client: build::client(),
        })
        .await
        .unwrap();
    tokens.push(registered.refresh_token.clone());
    tokens.push(registered.access_token);
    written.extend(test.bytes());
    let verification = deliver().await;
    written.extend(test.bytes());
    accounts.verify_email(&verification, HERE).await.unwrap();
    tokens.push(verification);
    let refreshed = accounts
        .refresh(Refresh {
            refresh_token: registered.refresh_token,
            client: build::client(),
        })
        .await
        .unwrap();
    tokens.push(refreshed.refresh_token);
    tokens.push(refreshed.access_token);
    accounts.forgot_password(ada).await.unwrap();
    let reset = deliver().await;
    written.extend(test.bytes());
    accounts
        .reset_password(ResetPassword {
            token: reset.clone(),
            new: password("Another#123"),
            address: HERE,
        })
        .await
        .unwrap();
    tokens.push(reset);
    written.extend(test.bytes());

    let is_written = |secret: &str| {
        let mut windows = written.windows(secret.len());
        windows.any(|window| window == secret.as_bytes())
    };
    for token in &tokens {
        assert!(!is_written(token.expose_secret()));
    }
    // It would be found: the digests are.
    for token in tokens
        .iter()
        .filter(|token| token.expose_secret().len() < 80)
    {
        assert!(is_written(build::digest(token.expose_secret()).expose()));
    }
}

//! The outbox, where several instances share it.

use std::collections::HashSet;

use futures_util::future::join_all;
use tasks_domain::account::UserRepository;
use tasks_domain::mail::{Claim, ClaimedMail, DeliveryService, MailKind, Outbox, Settlement};
use tasks_domain::store::StoreError;
use tasks_postgres::PgStore;
use tasks_testkit::build;
use tasks_testkit::clock::{just_before, noon};
use tasks_testkit::contract::Stores;
use tokio::task::JoinHandle;

use crate::{TestStore, connect, user};

async fn claim(store: &PgStore) -> Claim {
    let until = noon().plus(DeliveryService::CLAIM);
    store.claim(noon(), until).await.unwrap()
}

/// Claims mails until none is left.
async fn claim_all(store: PgStore) -> Vec<ClaimedMail> {
    let mut claimed = Vec::new();
    loop {
        match claim(&store).await {
            Claim::Idle => return claimed,
            Claim::Moot => {}
            Claim::Claimed(mail) => claimed.push(mail),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_instances_none_gets_a_mail_that_the_other_has() {
    let test = TestStore::migrated().await;
    let mut wanted = HashSet::new();
    for _ in 0..200 {
        let user = build::user().build();
        let account = build::account(&user);
        wanted.insert(account.mail.id);
        test.store.register(account).await.unwrap();
    }
    let instances = [&test.database.url; 2].map(|url| connect(url, 4));
    let deliverers = instances
        .iter()
        .flat_map(|store| (0..4).map(|_| tokio::spawn(claim_all(store.clone()))));
    let claimed: Vec<_> = join_all(deliverers)
        .await
        .into_iter()
        .flat_map(Result::unwrap)
        .collect();
    assert_eq!(claimed.len(), wanted.len());
    let ids: HashSet<_> = claimed.iter().map(|mail| mail.id).collect();
    assert_eq!(ids, wanted);
    join_all(
        claimed
            .iter()
            .map(|mail| test.store.settle(mail, Settlement::Sent)),
    )
    .await;
    assert_eq!(
        test.query("SELECT id::text FROM outbox").await,
        Vec::<String>::new()
    );
}

/// Somebody changed it by hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_cannot_be_read_is_told_and_does_not_keep_the_others_back() {
    for (change, column) in [
        ("UPDATE users SET full_name = ''", "users.full_name"),
        (
            "UPDATE users SET email = 'nobody'; UPDATE outbox SET recipient = 'nobody'",
            "outbox.recipient",
        ),
        (
            "UPDATE outbox SET created_at = 'infinity'",
            "outbox.created_at",
        ),
    ] {
        let test = TestStore::migrated().await;
        user(&test.store).await;
        test.execute(change).await;
        let bob = user(&test.store).await;
        let until = noon().plus(DeliveryService::CLAIM);
        let tokens = "SELECT id::text FROM users WHERE verification_token_hash IS NOT NULL";

        let unreadable = test.store.claim(noon(), until).await;
        assert!(
            matches!(&unreadable, Err(StoreError::Corrupt { what }) if what == column),
            "{unreadable:?}"
        );
        assert_eq!(test.query(tokens).await, Vec::<String>::new());
        let Claim::Claimed(mail) = claim(&test.store).await else {
            panic!("the other waits because of {column}");
        };
        assert_eq!(mail.to, bob.email);
        test.store.settle(&mail, Settlement::Sent).await.unwrap();
        assert_eq!(claim(&test.store).await, Claim::Idle);
        let idle = test.store.claim(just_before(until), until).await;
        assert_eq!(idle.unwrap(), Claim::Idle);

        let again = test.store.claim(until, until).await;
        assert!(matches!(again, Err(StoreError::Corrupt { .. })));
        let attempts = test.query("SELECT attempts::text FROM outbox").await;
        assert_eq!(attempts, ["2"]);
    }
}

/// Whatever somebody wrote there: it is no reason not to send a mail.
#[tokio::test(flavor = "multi_thread")]
async fn a_cause_that_cannot_be_read_is_none() {
    let test = TestStore::migrated().await;
    user(&test.store).await;
    test.execute("UPDATE outbox SET trace_parent = '00-no-trace-01'")
        .await;
    let Ok(Claim::Claimed(mail)) = test
        .store
        .claim(noon(), noon().plus(DeliveryService::CLAIM))
        .await
    else {
        panic!("it waits");
    };
    assert_eq!(mail.cause, None);
}

/// Begins to claim, and returns when that waits for a lock.
async fn claim_that_waits(test: &TestStore, waiting: usize) -> JoinHandle<Claim> {
    let store = test.store.clone();
    let claim = tokio::spawn(async move { claim(&store).await });
    test.waits(&claim, waiting).await;
    claim
}

/// Whoever has the row of an account may want its mails: a claim that waits for the account does not
/// have them.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_waits_for_an_account_has_no_mail() {
    let test = TestStore::migrated().await;
    user(&test.store).await;
    let mut other = test.client().await;
    let changing = other.transaction().await.unwrap();
    changing
        .batch_execute("SELECT id FROM users FOR NO KEY UPDATE")
        .await
        .unwrap();
    let claim = claim_that_waits(&test, 1).await;
    changing
        .batch_execute("SET LOCAL lock_timeout = '1s'; DELETE FROM outbox")
        .await
        .unwrap();
    changing.commit().await.unwrap();
    assert_eq!(claim.await.unwrap(), Claim::Idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_mails_claimed_at_once_the_younger_has_the_token() {
    let test = TestStore::migrated().await;
    let ada = user(&test.store).await;
    test.execute("DELETE FROM outbox").await;
    let older = build::mail_at(MailKind::ResetPassword, &ada.email, noon());
    let younger = build::mail_at(MailKind::ResetPassword, &ada.email, noon());
    for mail in [&younger, &older] {
        test.outbox().add(mail.clone()).await.unwrap();
    }

    let mut other = test.client().await;
    let changing = other.transaction().await.unwrap();
    changing
        .batch_execute("SELECT id FROM users FOR NO KEY UPDATE")
        .await
        .unwrap();
    let first = claim_that_waits(&test, 1).await;
    let second = claim_that_waits(&test, 2).await;
    changing.commit().await.unwrap();
    let mut claims = vec![first.await.unwrap(), second.await.unwrap()];
    claims.push(claim(&test.store).await);
    let claimed: Vec<_> = claims
        .into_iter()
        .filter_map(|claim| match claim {
            Claim::Claimed(mail) => Some(mail.id),
            Claim::Idle | Claim::Moot => None,
        })
        .collect();
    assert_eq!(claimed, [younger.id]);
    for (mail, user) in [(&younger, Some(ada.id)), (&older, None)] {
        let found = test.store.find_by_reset_token(&mail.token, noon());
        assert_eq!(found.await.unwrap(), user);
    }
}

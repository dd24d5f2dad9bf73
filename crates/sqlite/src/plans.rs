//! Tests that statements find their rows by an index.

use std::sync::{Arc, Mutex};

use diesel::connection::InstrumentationEvent;
use diesel::prelude::*;
use diesel::sql_types::Text;
use tasks_domain::account::{
    Admission, PasswordChange, Rotation, SessionRepository, UserRepository,
};
use tasks_domain::clock::Timestamp;
use tasks_domain::housekeeping::{Housekeeping, Leftover};
use tasks_domain::mail::{Claim, ClaimedMail, DeliveryService, MailKind, Outbox, Settlement};
use tasks_domain::store::StoreError;
use tasks_testkit::build;
use tasks_testkit::clock::noon;

use crate::SqliteStore;
use crate::error::Failure;
use crate::tests::{Opened, user};

/// How `SQLite` goes about a statement, as Diesel prints it.
pub(crate) fn plan(connection: &mut SqliteConnection, statement: &str) -> String {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        detail: String,
    }
    let sql = statement.split(" -- binds").next().unwrap();
    let rows: Vec<Row> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {sql}"))
        .load(connection)
        .unwrap();
    let details: Vec<_> = rows.into_iter().map(|row| row.detail).collect();
    details.join("\n")
}

/// The statements of a store, from now on.
async fn listen(store: &SqliteStore) -> Arc<Mutex<Vec<String>>> {
    let statements = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&statements);
    let listen = move |connection: &mut SqliteConnection| -> Result<(), Failure> {
        connection.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::StartQuery { query, .. } = event {
                heard.lock().unwrap().push(query.to_string());
            }
        });
        Ok(())
    };
    store.write(listen.clone()).await.unwrap();
    store.read(listen).await.unwrap();
    statements
}

async fn claim(store: &SqliteStore, now: Timestamp) -> Result<ClaimedMail, Claim> {
    let until = now.plus(DeliveryService::CLAIM);
    match store.claim(now, until).await.unwrap() {
        Claim::Claimed(mail) => Ok(mail),
        none @ (Claim::Idle | Claim::Moot) => Err(none),
    }
}

/// Whatever the account of a user is asked: look-ups, mails, sessions, passwords, its end.
async fn live(store: &SqliteStore) -> Result<(), StoreError> {
    let now = noon();
    let ada = user(store).await;
    let found = store.find_credentials(&ada.email).await?.unwrap();
    let hash = || build::password_hash("Ada's");
    store.record_failed_login(&ada.email, now).await?;
    store.rename(ada.id, ada.full_name.clone(), now).await?;

    let mail = claim(store, now).await.unwrap();
    store.settle(&mail, Settlement::Retry(now)).await?;
    let mail = claim(store, now).await.unwrap();
    store.settle(&mail, Settlement::Dead(now)).await?;
    assert!(store.verify_email(&mail.token, now).await?.is_some());

    for kind in MailKind::ALL {
        store.add(build::mail(kind, &ada.email)).await?;
    }
    assert_eq!(claim(store, now).await, Err(Claim::Moot));
    let mail = claim(store, now).await.unwrap();
    store.settle(&mail, Settlement::Sent).await?;
    assert_eq!(claim(store, now).await, Err(Claim::Idle));
    let with_token = store.find_by_reset_token(&mail.token, now).await?;
    assert_eq!(with_token, Some(ada.id));
    let reset = store.reset_password(&mail.token, hash(), now).await?;
    assert!(reset.is_some());

    let session = build::session(now);
    let token = session.refresh_token.digest.clone();
    let kept = session.id;
    let opened = store
        .open(ada.id, found.password_hash, session.clone(), now)
        .await?;
    assert_eq!(opened, Admission::Outdated);
    let opened = store.open(ada.id, hash(), session.clone(), now).await?;
    assert_eq!(opened, Admission::Granted);
    store
        .find_signed_in(build::session_ref(&ada, &session))
        .await?;
    let rotated = store
        .rotate(&token, build::refresh_token(now), build::client())
        .await?;
    assert!(matches!(rotated, Rotation::Rotated { .. }));
    let change = PasswordChange {
        user: ada.id,
        old: hash(),
        new: hash(),
        kept,
    };
    assert_eq!(
        store.change_password(change, now).await?,
        Admission::Granted
    );
    assert_eq!(SessionRepository::list(store, ada.id, now).await?.len(), 1);
    assert!(SessionRepository::find(store, kept, now).await?.is_some());
    assert!(store.end(kept, now).await?);
    store.end_all(ada.id, now).await?;
    store.end_by_token(&token, now).await?;
    for what in Leftover::ALL {
        store.remove(what, now, 500).await?;
    }
    let deleted = UserRepository::delete(store, ada.id, hash(), now).await?;
    assert_eq!(deleted, Admission::Granted);
    Ok(())
}

#[tokio::test]
async fn an_index_finds_whatever_is_about_accounts_mails_and_leftovers() {
    let opened = Opened::with_one_reader();
    let heard = listen(&opened.store).await;
    live(&opened.store).await.unwrap();

    let statements = std::mem::take(&mut *heard.lock().unwrap());
    let connection = &mut opened.store.connect().unwrap();
    let mut planned = 0;
    for statement in statements {
        let is_planned = ["SELECT", "UPDATE", "DELETE"]
            .iter()
            .any(|verb| statement.starts_with(verb));
        if is_planned {
            let plan = plan(connection, &statement).replace("SCAN CONSTANT ROW", "");
            assert!(!plan.contains("SCAN"), "{statement}: {plan}");
            // Of a user's sessions those that have not ended are few: only they are read, until all go, and
            // may be sorted.
            let all_of_user = plan.contains(" sessions_by_user ");
            assert!(
                !all_of_user || statement.starts_with("DELETE"),
                "{statement}: {plan}"
            );
            let is_sorted = plan.contains("TEMP B-TREE FOR");
            let open_of_user = plan.contains(" open_sessions_by_user ");
            assert!(!is_sorted || open_of_user, "{statement}: {plan}");
            assert!(plan.contains("SEARCH"), "{statement}: {plan}");
            planned += 1;
        }
    }
    // Each method above takes at least one.
    assert!(planned > 40, "{planned}");
}

//! That nothing reads a whole table: told by what the server counted, for whatever statements are sent.

use std::time::Duration;

use tasks_domain::account::{Admission, PasswordChange, SessionRepository, UserRepository};
use tasks_domain::housekeeping::{Housekeeping, Leftover, Removal};
use tasks_domain::mail::{Claim, MailKind, Outbox, Settlement};
use tasks_testkit::build;
use tasks_testkit::clock::noon;

use crate::{TestStore, connect, user};

/// Tables in which a little is due, over, or given up, and much is not.
const SEED: &str = "
    INSERT INTO users (id, email, password_hash, full_name, verification_token_hash,
        verification_token_expires_at, password_reset_token_hash, password_reset_token_expires_at,
        created_at, updated_at)
    SELECT md5('user ' || u)::uuid, u || '@example.com', '-', 'A user',
        md5('verify ' || u), CASE WHEN u <= 30 THEN timestamptz '2000-01-01' ELSE '9999-01-01' END,
        md5('reset ' || u), CASE WHEN u <= 30 THEN timestamptz '2000-01-01' ELSE '9999-01-01' END,
        now(), now()
    FROM generate_series(1, 20000) u;
    INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, ended_at, ip_address)
    SELECT md5('session ' || s)::uuid, md5('user ' || 1 + s % 20000)::uuid, now(), now(),
        CASE WHEN s <= 30 THEN timestamptz '2000-01-01' ELSE '9999-01-01' END,
        CASE WHEN s BETWEEN 30 AND 60 THEN timestamptz '2000-01-01' END, '192.0.2.1'
    FROM generate_series(1, 40000) s;
    INSERT INTO refresh_tokens (id, user_id, session_id, token_hash, expires_at, created_at)
    SELECT md5('token ' || s)::uuid, md5('user ' || 1 + s % 20000)::uuid,
        md5('session ' || s)::uuid, md5('token ' || s),
        CASE WHEN s < 30 OR s BETWEEN 1000 AND 1030 THEN timestamptz '2000-01-01' ELSE '9999-01-01' END, now()
    FROM generate_series(1, 40000) s;
    INSERT INTO tasks (id, user_id, title, deleted_at, created_at, updated_at)
    SELECT md5('task ' || t)::uuid, md5('user ' || 1 + t % 20000)::uuid, 'A task',
        CASE WHEN t <= 60 THEN timestamptz '2000-01-01' WHEN t % 10 = 0 THEN '9999-01-01' END, now(), now()
    FROM generate_series(1, 40000) t;
    INSERT INTO categories (id, user_id, name, color, created_at)
    SELECT md5('category ' || u)::uuid, md5('user ' || u)::uuid, 'A category', '#6366F1', now()
    FROM generate_series(1, 20000) u;
    INSERT INTO task_categories (task_id, category_id)
    SELECT md5('task ' || t)::uuid, md5('category ' || 1 + t % 20000)::uuid
    FROM generate_series(1, 40000) t;
    INSERT INTO outbox (id, kind, recipient, token_hash, created_at, due_at, dead_at)
    SELECT md5('mail ' || m)::uuid, 'reset_password', m || '@example.com', md5('mail ' || m), now(),
        CASE WHEN m <= 60 THEN timestamptz '2000-01-01' ELSE '9999-01-01' END,
        CASE WHEN m BETWEEN 31 AND 60 THEN timestamptz '2000-01-01'
             WHEN m > 60 AND m % 10 = 0 THEN '9999-01-01' END
    FROM generate_series(1, 40000) m";

/// A store with a lot in it, of which nothing is counted yet.
async fn seeded() -> TestStore {
    let mut test = TestStore::migrated().await;
    test.execute(SEED).await;
    test.execute("VACUUM ANALYZE").await;
    test.store.close().await;
    test.store = connect(&test.database.url, 4);
    test.alone().await;
    test.execute("SELECT pg_stat_reset()").await;
    test
}

async fn assert_few_rows_were_read(test: TestStore) {
    test.store.clone().close().await;
    test.alone().await;
    let read = format!(
        "SELECT relname::text || ': ' || seq_tup_read || ', ' || idx_tup_fetch \
         FROM pg_stat_user_tables \
         WHERE seq_tup_read > 0 OR idx_tup_fetch > {FEW} ORDER BY 1"
    );
    assert_eq!(test.query(&read).await, Vec::<String>::new());
    let read = format!(
        "SELECT indexrelname::text || ': ' || idx_tup_read \
         FROM pg_stat_user_indexes WHERE idx_tup_read > {FEW} ORDER BY 1"
    );
    assert_eq!(test.query(&read).await, Vec::<String>::new());
}

/// Fewer than any table has, though what was removed is read again until the server forgets it.
const FEW: u32 = 15_000;
/// More often than a statement is planned anew.
const OFTEN: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn delivering_reads_what_is_due() {
    let test = seeded().await;
    let store = &test.store;
    for _ in 0..OFTEN {
        let until = noon().plus(Duration::from_mins(1));
        let Claim::Claimed(mail) = store.claim(noon(), until).await.unwrap() else {
            panic!("nothing is due");
        };
        store.settle(&mail, Settlement::Sent).await.unwrap();
    }
    for _ in 0..OFTEN {
        let claim = store.claim(noon(), noon()).await.unwrap();
        assert_eq!(claim, Claim::Idle);
    }
    assert_few_rows_were_read(test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn housekeeping_reads_what_is_left_over() {
    let test = seeded().await;
    for (what, left) in [
        (Leftover::RefreshTokens, 29 + 31 + 31),
        (Leftover::Sessions, 60),
        (Leftover::MailTokens, 60),
        (Leftover::DeadMails, 30),
        (Leftover::DeletedTasks, 60),
    ] {
        let mut removed = 0;
        for _ in 0..OFTEN {
            let removal = test.store.remove(what, noon(), 10).await.unwrap();
            let Removal::Removed(more) = removal else {
                panic!("busy with {what:?}");
            };
            removed += more;
        }
        assert_eq!(removed, left, "{what:?}");
    }
    assert_few_rows_were_read(test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_and_sessions_are_found_by_what_they_are_asked_for() {
    let test = seeded().await;
    let store = &test.store;
    for round in 0..OFTEN {
        let ada = user(store).await;
        let unknown = build::digest(&round.to_string());
        let found = store.verify_email(&unknown, noon()).await.unwrap();
        assert_eq!(found, None);
        let found = store.find_by_reset_token(&unknown, noon()).await.unwrap();
        assert_eq!(found, None);
        let hash = || build::password_hash("new");
        let reset = store.reset_password(&unknown, hash(), noon()).await;
        assert_eq!(reset.unwrap(), None);

        let credentials = store.find_credentials(&ada.email).await.unwrap().unwrap();
        let (password, session) = (credentials.password_hash, build::session(noon()));
        let opened = store.open(ada.id, password.clone(), session, noon()).await;
        assert_eq!(opened.unwrap(), Admission::Granted);
        let sessions = store.list(ada.id, noon()).await.unwrap();
        let session = sessions.first().unwrap().id;
        assert!(store.find(session, noon()).await.unwrap().is_some());
        assert!(store.end(session, noon()).await.unwrap());
        store.end_all(ada.id, noon()).await.unwrap();
        let reset = build::mail(MailKind::ResetPassword, &ada.email);
        store.add(reset).await.unwrap();
        let change = PasswordChange {
            user: ada.id,
            old: password,
            new: hash(),
            kept: session,
        };
        store.change_password(change, noon()).await.unwrap();
        store.delete(ada.id, hash(), noon()).await.unwrap();
    }
    assert_few_rows_were_read(test).await;
}

//! That nobody waits in a circle, whoever does what at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tasks_domain::account::{
    Admission, PasswordChange, PasswordHash, Registration, Rotation, SessionRepository, User,
    UserRepository,
};
use tasks_domain::clock::Timestamp;
use tasks_domain::housekeeping::{Housekeeping, Leftover, Removal};
use tasks_domain::mail::{Claim, DeliveryService, MailKind, Outbox, Settlement};
use tasks_domain::task::{Assignment, TaskContent, TaskStatus, TaskUpdate};
use tasks_postgres::PgStore;
use tasks_testkit::build;
use tasks_testkit::clock::noon;
use tasks_testkit::contract::Stores;
use tokio::sync::Barrier;

use crate::{TestStore, connect, user};

/// So many do something at once,
const ACTORS: u64 = 12;
/// so often,
const ROUNDS: u64 = 40;
/// to the accounts of so few.
const USERS: u64 = 3;

/// Notices circles soon.
async fn impatient() -> TestStore {
    let mut test = TestStore::migrated().await;
    test.execute(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = ''20ms''', \
         current_database()); END $$",
    )
    .await;
    test.store = connect(&test.database.url, 4);
    test
}

/// A unit of work that was taken back because of a circle is done once more, so only the server knows.
async fn assert_no_circle(test: TestStore) {
    test.store.clone().close().await;
    test.alone().await;
    let circles = "SELECT deadlocks::text FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(test.query(circles).await, ["0"]);
}

/// Somebody who does everything, again and again.
struct Actor {
    store: PgStore,
    number: u64,
    now: Timestamp,
}

impl Actor {
    async fn hash(&self, address: &str) -> Option<(User, PasswordHash)> {
        let email = build::email(address);
        let found = self.store.find_credentials(&email).await.unwrap();
        found.map(|found| (found.user, found.password_hash))
    }

    async fn register(&self, address: &str) {
        let user = build::user().email(address).build();
        let outcome = self.store.register(build::account(&user)).await.unwrap();
        assert!(matches!(
            outcome,
            Registration::Registered | Registration::EmailTaken
        ));
    }

    /// Claims a mail, follows its link, and settles it.
    async fn deliver(&self) {
        let until = self.now.plus(DeliveryService::CLAIM);
        let Claim::Claimed(mail) = self.store.claim(self.now, until).await.unwrap() else {
            return;
        };
        match mail.kind {
            MailKind::VerifyEmail => {
                self.store
                    .verify_email(&mail.token, self.now)
                    .await
                    .unwrap();
            }
            MailKind::ResetPassword => {
                let hash = build::password_hash("reset");
                self.store
                    .reset_password(&mail.token, hash, self.now)
                    .await
                    .unwrap();
            }
        }
        self.store.settle(&mail, Settlement::Sent).await.unwrap();
    }

    async fn log_in_and_stay(&self, user: &User, hash: PasswordHash) {
        let session = build::session(self.now);
        let mut token = session.refresh_token.digest.clone();
        self.store
            .open(user.id, hash, session, self.now)
            .await
            .unwrap();
        for _ in 0..3 {
            let successor = build::refresh_token(self.now);
            let next = successor.digest.clone();
            let rotation = self.store.rotate(&token, successor, build::client());
            let Rotation::Rotated { .. } = rotation.await.unwrap() else {
                return;
            };
            token = next;
        }
    }

    async fn act(&self, round: u64) {
        let (store, now) = (&self.store, self.now);
        let dice = (self.number * 7919 + round * 104_729) % 1009;
        let address = format!("user{}@example.com", dice % USERS);
        for kind in MailKind::ALL {
            let mail = build::mail_at(kind, &build::email(&address), now);
            store.add(mail).await.unwrap();
        }
        self.deliver().await;
        let Some((user, hash)) = self.hash(&address).await else {
            return self.register(&address).await;
        };
        match dice / USERS % 8 {
            0 => store.end_all(user.id, now).await.unwrap(),
            1 => {
                let change = PasswordChange {
                    user: user.id,
                    old: hash,
                    new: build::password_hash("changed"),
                    kept: build::id(),
                };
                store.change_password(change, now).await.unwrap();
            }
            2 => {
                store.delete(user.id, hash, now).await.unwrap();
            }
            3 => {
                for what in Leftover::ALL {
                    store.remove(what, now, 10).await.unwrap();
                }
            }
            4 => {
                for session in store.list(user.id, now).await.unwrap() {
                    store.end(session.id, now).await.unwrap();
                }
            }
            _ => self.log_in_and_stay(&user, hash).await,
        }
        self.deliver().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_in_a_circle_for_accounts_sessions_and_mails() {
    let test = impatient().await;
    let start = Arc::new(Barrier::new(usize::try_from(ACTORS).unwrap()));
    let actors = (0..ACTORS).map(|number| {
        let (store, start) = (test.store.clone(), Arc::clone(&start));
        tokio::spawn(async move {
            start.wait().await;
            for round in 0..ROUNDS {
                let now = noon().plus(Duration::from_mins(round));
                let actor = Actor {
                    store: store.clone(),
                    number,
                    now,
                };
                actor.act(round).await;
            }
        })
    });
    for actor in join_all(actors).await {
        actor.unwrap();
    }
    assert_no_circle(test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_in_a_circle_for_tasks_and_categories() {
    let test = impatient().await;
    for round in 0..10 {
        let ada = user(&test.store).await;
        let password = test.store.find_credentials(&ada.email).await.unwrap();
        let password = password.unwrap().password_hash;
        let categories = [(); 4].map(|()| build::category(&ada).build());
        for category in &categories {
            test.categories().create(category).await.unwrap();
        }
        let tasks = [(); 20].map(|()| build::task(&ada).build());
        for (number, task) in tasks.iter().enumerate() {
            test.tasks().create(task).await.unwrap();
            for category in &categories {
                let assigned = test.tasks().assign(task.id, category.id).await.unwrap();
                assert!(matches!(assigned, Assignment::Assigned(_)));
            }
            if number % 2 == 0 {
                assert!(test.tasks().delete(task.id, noon()).await.unwrap());
            }
        }
        let mut actors = Vec::new();
        for category in &categories {
            let (store, id) = (test.categories(), category.id);
            actors.push(tokio::spawn(async move {
                store.delete(id).await.unwrap();
            }));
        }
        for (number, task) in tasks.iter().enumerate() {
            let (store, id) = (test.tasks(), task.id);
            let category = categories[number % categories.len()].id;
            actors.push(tokio::spawn(async move {
                store.unassign(id, category).await.unwrap();
                store.assign(id, category).await.unwrap();
            }));
        }
        for _ in 0..4 {
            let (tasks, categories) = (test.tasks(), test.categories());
            let (task, category) = (build::task(&ada).build(), build::category(&ada).build());
            actors.push(tokio::spawn(async move {
                tasks.create(&task).await.unwrap();
                categories.create(&category).await.unwrap();
                tasks.assign(task.id, category.id).await.unwrap();
            }));
        }
        let store = test.store.clone();
        actors.push(tokio::spawn(async move {
            store
                .remove(Leftover::DeletedTasks, noon(), 100)
                .await
                .unwrap();
        }));
        if round % 2 == 0 {
            let store = test.store.clone();
            actors.push(tokio::spawn(async move {
                store.delete(ada.id, password, noon()).await.unwrap();
            }));
        }
        for actor in join_all(actors).await {
            actor.unwrap();
        }
    }
    assert_no_circle(test).await;
}

/// Each moves tasks between the same two counters, half of them the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_in_a_circle_for_counters() {
    let test = impatient().await;
    let ada = user(&test.store).await;
    let start = Arc::new(Barrier::new(usize::try_from(ACTORS).unwrap()));
    let mut actors = Vec::new();
    for number in 0..ACTORS {
        let mut task = build::task(&ada).build();
        test.tasks().create(&task).await.unwrap();
        let (tasks, start, ada) = (test.tasks(), Arc::clone(&start), ada.clone());
        actors.push(tokio::spawn(async move {
            start.wait().await;
            for round in 0..ROUNDS {
                let content = TaskContent {
                    status: TaskStatus::ALL[usize::from((number + round) % 2 == 0)],
                    ..task.content
                };
                let updated = tasks.update(task.id, task.version, &content, noon()).await;
                let TaskUpdate::Updated(updated) = updated.unwrap() else {
                    panic!("changed by somebody else");
                };
                task = updated;
                let short = build::task(&ada).build();
                tasks.create(&short).await.unwrap();
                assert!(tasks.delete(short.id, noon()).await.unwrap());
            }
        }));
    }
    for number in 0..10 {
        let other = test.client().await;
        actors.push(tokio::spawn(async move {
            let (from, to) = if number % 2 == 0 {
                ("low", "high")
            } else {
                ("high", "low")
            };
            let sql = format!(
                "UPDATE tasks SET priority = '{to}' WHERE id IN \
                 (SELECT id FROM tasks WHERE priority = '{from}' AND deleted_at IS NULL \
                  FOR UPDATE SKIP LOCKED)"
            );
            for _ in 0..ROUNDS {
                other.batch_execute(&sql).await.unwrap();
            }
        }));
    }
    for actor in join_all(actors).await {
        actor.unwrap();
    }
    assert_no_circle(test).await;
}

/// Of several sessions each of two would lock its own first.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_ends_all_sessions_waits_for_the_account_and_has_none_yet() {
    let test = TestStore::migrated().await;
    let ada = user(&test.store).await;
    let mut other = test.client().await;
    let changing = other.transaction().await.unwrap();
    changing
        .batch_execute("SELECT id FROM users FOR NO KEY UPDATE")
        .await
        .unwrap();
    let store = test.store.clone();
    let ending = tokio::spawn(async move { store.end_all(ada.id, noon()).await });
    test.waits(&ending, 1).await;
    changing
        .batch_execute("SELECT id FROM sessions FOR UPDATE NOWAIT")
        .await
        .unwrap();
    changing.commit().await.unwrap();
    ending.await.unwrap().unwrap();
    assert_eq!(test.store.list(ada.id, noon()).await.unwrap(), []);
}

/// Whoever refreshes has the session first, and then wants its token.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_waits_for_a_session_and_has_no_token_yet() {
    let test = TestStore::migrated().await;
    let ada = user(&test.store).await;
    let password = test.store.find_credentials(&ada.email).await.unwrap();
    let password = password.unwrap().password_hash;
    let mut other = test.client().await;
    let refreshing = other.transaction().await.unwrap();
    refreshing
        .batch_execute("SELECT id FROM sessions FOR NO KEY UPDATE")
        .await
        .unwrap();
    let store = test.store.clone();
    let leaving = tokio::spawn(async move { store.delete(ada.id, password, noon()).await });
    test.waits(&leaving, 1).await;
    refreshing
        .batch_execute("SELECT id FROM refresh_tokens FOR UPDATE NOWAIT")
        .await
        .unwrap();
    refreshing.commit().await.unwrap();
    assert_eq!(leaving.await.unwrap().unwrap(), Admission::Granted);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_keeps_house_at_a_time() {
    let test = TestStore::migrated().await;
    let mut other = test.client().await;
    let cleaning = other.transaction().await.unwrap();
    cleaning
        .execute(
            "SELECT pg_advisory_xact_lock($1)",
            &[&i64::from_be_bytes(*b"\0\0\0clean")],
        )
        .await
        .unwrap();
    for what in Leftover::ALL {
        let removal = test.store.remove(what, noon(), 10).await.unwrap();
        assert_eq!(removal, Removal::Busy);
    }
    cleaning.commit().await.unwrap();
    for what in Leftover::ALL {
        let removal = test.store.remove(what, noon(), 10).await.unwrap();
        assert_eq!(removal, Removal::Removed(0));
    }
}

/// What somebody is at is left for another time, not waited for.
#[tokio::test(flavor = "multi_thread")]
async fn housekeeping_leaves_what_others_have() {
    let test = TestStore::migrated().await;
    for _ in 0..2 {
        user(&test.store).await;
    }
    let over = noon().plus(2 * build::REFRESH_TOKEN_TTL);
    let tokens = test.store.remove(Leftover::RefreshTokens, over, 10).await;
    assert_eq!(tokens.unwrap(), Removal::Removed(2));
    let mut other = test.client().await;
    let using = other.transaction().await.unwrap();
    using
        .batch_execute("SELECT id FROM sessions LIMIT 1 FOR NO KEY UPDATE")
        .await
        .unwrap();
    let remove = || test.store.remove(Leftover::Sessions, over, 10);
    assert_eq!(remove().await.unwrap(), Removal::Removed(1));
    using.commit().await.unwrap();
    assert_eq!(remove().await.unwrap(), Removal::Removed(1));
}

/// Both have seen that the token is good before either exchanges it.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_wait_with_one_token_one_exchanges_it() {
    let test = TestStore::migrated().await;
    let ada = user(&test.store).await;
    let found = test.store.find_credentials(&ada.email).await.unwrap();
    let session = build::session(noon());
    let digest = session.refresh_token.digest.clone();
    let opened = test
        .store
        .open(ada.id, found.unwrap().password_hash, session, noon());
    opened.await.unwrap();

    let holder = test.client().await;
    holder
        .batch_execute("BEGIN; SELECT FROM sessions FOR UPDATE")
        .await
        .unwrap();
    let waiting = [(); 2].map(|()| {
        let (store, digest) = (test.store.clone(), digest.clone());
        let successor = build::refresh_token(noon());
        tokio::spawn(async move { store.rotate(&digest, successor, build::client()).await })
    });
    let blocked = "SELECT pid::text FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while test.query(blocked).await.len() < 2 {
        tokio::task::yield_now().await;
    }
    holder.batch_execute("COMMIT").await.unwrap();

    let rotations = join_all(waiting).await;
    let mut rotations: Vec<_> = rotations
        .into_iter()
        .map(|rotation| {
            let rotation = rotation.unwrap().unwrap();
            match &rotation {
                Rotation::Rotated { .. } => "rotated",
                Rotation::Retried(_) => "retried",
                Rotation::Refused | Rotation::Ended(_) | Rotation::Reused(_) => {
                    panic!("{rotation:?}")
                }
            }
        })
        .collect();
    rotations.sort_unstable();
    assert_eq!(rotations, ["retried", "rotated"]);
    let good = "SELECT count(*)::text FROM refresh_tokens WHERE revoked_at IS NULL AND session_id = \
                (SELECT session_id FROM refresh_tokens WHERE revoked_at IS NOT NULL)";
    assert_eq!(test.query(good).await, ["1"]);
}

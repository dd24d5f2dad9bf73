//! What the cases have in common: getting to where a case begins.

use std::sync::Arc;
use std::time::Duration;

use tasks_domain::account::{
    Admission, FailedLogin, LoginAttempts, NewAccount, NewRefreshToken, NewSession, PasswordHash,
    Registration, Rotation, SessionRef, TokenDigest, User,
};
use tasks_domain::category::{Category, CategoryCreation};
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;
use tasks_domain::mail::{Claim, ClaimedMail, MailKind, NewMail, Settlement};
use tasks_domain::task::{Assignment, Task, TaskCreation, TaskQuery, TaskTitle};

use super::Stores;
use crate::build;
use crate::clock::noon;
use crate::tokio::sync::Barrier;

/// Stores an account.
pub(super) async fn register(stores: &impl Stores, account: &NewAccount) {
    let outcome = stores.users().register(account.clone()).await;
    assert_eq!(outcome.unwrap(), Registration::Registered);
}

/// A stored user.
pub(super) async fn user(stores: &impl Stores) -> User {
    let user = build::user().build();
    register(stores, &build::account(&user)).await;
    user
}

/// Who is signed in with a session.
pub(super) async fn signed_in(stores: &impl Stores, session: SessionRef) -> Option<User> {
    stores.sessions().find_signed_in(session).await.unwrap()
}

/// The hash of a user's password as it is stored; of any password if there is no such user.
pub(super) async fn password_hash(stores: &impl Stores, user: &User) -> PasswordHash {
    let found = stores.users().find_credentials(&user.email).await.unwrap();
    found.map_or_else(
        || build::password_hash("none"),
        |credentials| credentials.password_hash,
    )
}

/// A failed login.
pub(super) async fn fail(stores: &impl Stores, user: &User, at: Timestamp) -> FailedLogin {
    let users = stores.users();
    users.record_failed_login(&user.email, at).await.unwrap()
}

/// So many failed logins in a row.
pub(super) async fn fail_times(stores: &impl Stores, user: &User, at: Timestamp, times: usize) {
    for _ in 0..times {
        fail(stores, user, at).await;
    }
}

/// The failed logins that are stored.
pub(super) async fn attempts(stores: &impl Stores, user: &User) -> LoginAttempts {
    let found = stores.users().find_credentials(&user.email).await;
    found.unwrap().unwrap().attempts
}

/// A session that was just opened.
pub(super) struct Opened {
    /// Which one.
    pub(super) session: SessionRef,
    /// Its refresh token.
    pub(super) token: TokenDigest,
}

/// Opens a session with the password that is stored, if there is one.
pub(super) async fn try_open(
    stores: &impl Stores,
    user: &User,
    session: &NewSession,
    now: Timestamp,
) -> Admission {
    let (sessions, hash) = (stores.sessions(), password_hash(stores, user).await);
    let opening = sessions.open(user.id, hash, session.clone(), now).await;
    opening.unwrap()
}

/// Opens a session at noon.
pub(super) async fn open(stores: &impl Stores, user: &User) -> Opened {
    open_with(stores, user, build::session(noon())).await
}

/// Opens a session when it was made.
pub(super) async fn open_with(stores: &impl Stores, user: &User, session: NewSession) -> Opened {
    let at = session.refresh_token.created_at;
    let opening = try_open(stores, user, &session, at).await;
    assert_eq!(opening, Admission::Granted);
    Opened {
        session: build::session_ref(user, &session),
        token: session.refresh_token.digest,
    }
}

/// Presents a refresh token at an instant, with a successor that nobody gets to know.
pub(super) async fn present(stores: &impl Stores, token: &TokenDigest, at: Timestamp) -> Rotation {
    rotate(stores, token, build::refresh_token(at)).await
}

/// Ends the session of a refresh token.
pub(super) async fn end(
    stores: &impl Stores,
    token: &TokenDigest,
    at: Timestamp,
) -> Option<SessionRef> {
    stores.sessions().end_by_token(token, at).await.unwrap()
}

/// How long the claims of the cases hold.
pub(super) const CLAIM: Duration = Duration::from_mins(1);

/// Looks for a mail to deliver.
pub(super) async fn claim(stores: &impl Stores, now: Timestamp) -> Claim {
    let claim = stores.outbox().claim(now, now.plus(CLAIM)).await;
    claim.unwrap()
}

/// Claims a mail that is to be sent.
pub(super) async fn claimed(stores: &impl Stores, now: Timestamp) -> ClaimedMail {
    match claim(stores, now).await {
        Claim::Claimed(mail) => mail,
        Claim::Idle => panic!("no mail is due"),
        Claim::Moot => panic!("the mail is moot"),
    }
}

/// Says what became of a mail.
pub(super) async fn settle(stores: &impl Stores, mail: &ClaimedMail, settlement: Settlement) {
    stores.outbox().settle(mail, settlement).await.unwrap();
}

/// Adds a mail.
pub(super) async fn add(stores: &impl Stores, mail: &NewMail) {
    stores.outbox().add(mail.clone()).await.unwrap();
}

/// Sends every mail that is due, and answers which.
pub(super) async fn send_all(stores: &impl Stores, now: Timestamp) -> Vec<ClaimedMail> {
    let mut sent = Vec::new();
    loop {
        match claim(stores, now).await {
            Claim::Idle => return sent,
            Claim::Moot => {}
            Claim::Claimed(mail) => {
                settle(stores, &mail, Settlement::Sent).await;
                sent.push(mail);
            }
        }
    }
}

/// The token of a mail to a user that is asked for and sent at an instant, with whatever else is due.
pub(super) async fn mailed(
    stores: &impl Stores,
    kind: MailKind,
    user: &User,
    at: Timestamp,
) -> TokenDigest {
    let mail = build::mail_at(kind, &user.email, at);
    add(stores, &mail).await;
    let sent = send_all(stores, at).await;
    assert!(sent.iter().any(|sent| sent.id == mail.id), "not sent");
    mail.token
}

/// Whose reset token it is, if it works.
pub(super) async fn find_by_reset_token(
    stores: &impl Stores,
    token: &TokenDigest,
    at: Timestamp,
) -> Option<Id<User>> {
    let users = stores.users();
    users.find_by_reset_token(token, at).await.unwrap()
}

/// Whether a reset token works.
pub(super) async fn has_reset_token(
    stores: &impl Stores,
    token: &TokenDigest,
    at: Timestamp,
) -> bool {
    find_by_reset_token(stores, token, at).await.is_some()
}

/// Presents a refresh token.
pub(super) async fn rotate(
    stores: &impl Stores,
    presented: &TokenDigest,
    successor: NewRefreshToken,
) -> Rotation {
    let sessions = stores.sessions();
    let outcome = sessions.rotate(presented, successor, build::client()).await;
    outcome.unwrap()
}

/// A stored task.
pub(super) async fn task(stores: &impl Stores, task: build::TaskBuilder) -> Task {
    let task = task.build();
    let outcome = stores.tasks().create(&task).await;
    assert_eq!(outcome.unwrap(), TaskCreation::Created);
    task
}

/// What is stored of a task.
pub(super) async fn find_task(stores: &impl Stores, task: &Task) -> Option<Task> {
    stores.tasks().find(task.id).await.unwrap()
}

/// A stored category.
pub(super) async fn category(stores: &impl Stores, category: build::CategoryBuilder) -> Category {
    let category = category.build();
    let outcome = stores.categories().create(&category).await;
    assert_eq!(outcome.unwrap(), CategoryCreation::Created);
    category
}

/// What is stored of a category.
pub(super) async fn find_category(stores: &impl Stores, category: &Category) -> Option<Category> {
    stores.categories().find(category.id).await.unwrap()
}

/// Files a task under a category; the task then.
pub(super) async fn assign(stores: &impl Stores, task: &Task, category: &Category) -> Task {
    let outcome = stores.tasks().assign(task.id, category.id).await.unwrap();
    let Assignment::Assigned(task) = outcome else {
        panic!("not assigned: {outcome:?}");
    };
    task
}

/// The titles and the total of a page of an owner's tasks.
pub(super) async fn titles(
    stores: &impl Stores,
    owner: &User,
    query: &TaskQuery,
) -> (Vec<String>, u64) {
    let page = stores.tasks().list(owner.id, query).await.unwrap();
    assert_eq!(page.request, query.page);
    let titles = page.items.into_iter().map(|task| task.content.title);
    (titles.map(TaskTitle::into_string).collect(), page.total)
}

/// The results of so many calls that begin together, in the order of their numbers.
pub(super) async fn at_once<T, F>(count: usize, call: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let gate = Arc::new(Barrier::new(count));
    let spawn = |number| {
        let (gate, call) = (gate.clone(), call(number));
        crate::tokio::spawn(async move {
            gate.wait().await;
            call.await
        })
    };
    let calls: Vec<_> = (0..count).map(spawn).collect();
    let mut results = Vec::with_capacity(count);
    for call in calls {
        results.push(call.await.unwrap());
    }
    results
}

/// Erases a user with everything that is theirs.
pub(super) async fn erase(stores: &impl Stores, user: &User) {
    let (users, hash) = (stores.users(), password_hash(stores, user).await);
    let outcome = users.delete(user.id, hash, noon()).await;
    assert_eq!(outcome.unwrap(), Admission::Granted);
}

/// The results of twenty calls that begin together with the end of a user's account, which comes to
/// pass.
pub(super) async fn while_erasing<T, F>(
    stores: &impl Stores,
    user: &User,
    call: impl Fn() -> F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    const ERASING: usize = 10;
    let hash = password_hash(stores, user).await;
    let results = at_once(21, |number| {
        let (users, user, hash, call) = (stores.users(), user.id, hash.clone(), call());
        async move {
            if number == ERASING {
                let outcome = users.delete(user, hash, noon()).await;
                assert_eq!(outcome.unwrap(), Admission::Granted);
                None
            } else {
                Some(call.await)
            }
        }
    });
    results.await.into_iter().flatten().collect()
}

/// How many of some results are so.
pub(super) fn count<T>(results: &[T], is_so: impl Fn(&T) -> bool) -> usize {
    results.iter().filter(|result| is_so(result)).count()
}

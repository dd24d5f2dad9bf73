//! What the cases have in common: getting to where a case begins.

use std::sync::Arc;

use tasks_domain::account::{
    NewAccount, NewRefreshToken, Registration, Rotation, SessionRef, TokenDigest, User,
};
use tasks_domain::category::{Category, CategoryCreation};
use tasks_domain::task::{Assignment, Task, TaskQuery, TaskTitle};

use super::Stores;
use crate::build;
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
    stores.tasks().create(&task).await.unwrap();
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

/// How many of some results are so.
pub(super) fn count<T>(results: &[T], is_so: impl Fn(&T) -> bool) -> usize {
    results.iter().filter(|result| is_so(result)).count()
}

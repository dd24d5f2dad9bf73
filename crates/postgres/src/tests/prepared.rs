//! That statements stay prepared.

use diesel::dsl::sql;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use tasks_domain::account::{SessionRef, SessionRepository, UserRepository};
use tasks_domain::category::CategoryRepository;
use tasks_domain::task::{TaskQuery, TaskRepository};
use tasks_testkit::build;
use tasks_testkit::clock::noon;
use tracing::Instrument;

use super::spans::collector::{UseCase, outcomes};
use super::spans::migrated;
use crate::PgStore;

/// How often statements were done that the only connection keeps prepared.
async fn done_prepared(store: &PgStore) -> i64 {
    let done = store.read((), |session, ()| {
        Box::pin(async move {
            let sum = "coalesce(sum(generic_plans + custom_plans), 0)::bigint \
                       FROM pg_prepared_statements";
            let sum = diesel::select(sql::<BigInt>(sum));
            Ok(sum.get_result(session).await?)
        })
    });
    done.await.unwrap()
}

/// To prepare one anew each time takes a round trip, and the database the time to parse and plan it.
#[tokio::test(flavor = "multi_thread")]
async fn what_requests_ask_is_prepared_once() {
    let (opened, ada) = migrated().await;
    let store = &opened.store;
    let (tasks, sessions): (&dyn TaskRepository, &dyn SessionRepository) = (store, store);
    let credentials = store.find_credentials(&ada.email).await.unwrap().unwrap();
    let category = build::category(&ada).build();
    CategoryRepository::create(store, &category).await.unwrap();
    for round in 0..2 {
        let before = done_prepared(store).await;
        let use_case = UseCase::begin();
        let requests = async {
            let task = build::task(&ada).build();
            tasks.create(&task).await.unwrap();
            tasks.find(task.id).await.unwrap();
            tasks.list(ada.id, &TaskQuery::default()).await.unwrap();
            for version in [task.version, task.version.next().next()] {
                let update = tasks.update(task.id, version, &task.content, noon());
                update.await.unwrap();
            }
            tasks.assign(task.id, category.id).await.unwrap();
            tasks.unassign(task.id, category.id).await.unwrap();
            tasks.delete(task.id, noon()).await.unwrap();

            store.record_failed_login(&ada.email, noon()).await.unwrap();
            store.find_credentials(&ada.email).await.unwrap();
            let session = build::session(noon());
            let digest = session.refresh_token.digest.clone();
            let reference = SessionRef {
                user: ada.id,
                session: session.id,
            };
            let hash = credentials.password_hash.clone();
            sessions.open(ada.id, hash, session, noon()).await.unwrap();
            sessions.find_signed_in(reference).await.unwrap();
            for expected in ["Rotated", "Retried"] {
                let successor = build::refresh_token(noon());
                let rotation = sessions.rotate(&digest, successor, build::client()).await;
                assert!(format!("{rotation:?}").contains(expected), "{rotation:?}");
            }
            sessions.end(reference.session, noon()).await.unwrap();
            let name = ada.full_name.clone();
            store.rename(ada.id, name, noon()).await.unwrap();
        };
        requests.instrument(use_case.span.clone()).await;
        let statements = use_case.statements();
        let asked = outcomes(&statements);
        let asked = asked
            .iter()
            .filter(|(name, _)| !["BEGIN", "COMMIT"].contains(name));
        let done = done_prepared(store).await - before;
        if round == 1 {
            assert_eq!(usize::try_from(done), Ok(asked.count()), "{statements:?}");
        }
    }
    assert_eq!(store.places.status().size, 1);
}

//! Connecting: what a session is set to, and what is said where there is none.

use secrecy::SecretString;
use tasks_domain::health::HealthProbe;
use tasks_domain::store::StoreError;
use tasks_postgres::{PgOptions, PgStore};
use tasks_testkit::servers::PostgresServer;

use crate::{TestStore, chain, connect};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_opened_before_it_is_needed() {
    // Nobody listens there.
    let store = connect("postgres://ada:swordfish@127.0.0.1:1/tasks", 1);
    let error = store.check().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(chain(&error).contains("Connection refused"), "{error:?}");
}

/// Nor the user's name: what is before the `@` is nobody's business.
#[tokio::test(flavor = "multi_thread")]
async fn no_error_tells_the_credentials() {
    let server = PostgresServer::shared().await;
    let url = server.url("postgres");
    let (_, address) = url.split_once('@').unwrap();
    let host = address.split('/').next().unwrap();
    for (url, words) in [
        (
            format!("postgres://adalovelace:marzipan@{host}/postgres"),
            "refuses the credentials",
        ),
        (server.url("adalovelace"), "no database of that name"),
        (
            "postgres://adalovelace:marzipan@nowhere.invalid/tasks".to_owned(),
            "",
        ),
        (
            format!("postgres://adalovelace:marzipan@{host}/postgres?sslmode=require"),
            "does not support TLS",
        ),
    ] {
        let error = connect(&url, 1).check().await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        let text = chain(&error);
        assert!(text.contains(words), "{text}");
        for secret in ["adalovelace", "marzipan"] {
            assert!(!text.contains(secret), "{text}");
        }
        let error = connect(&url, 1).migrate_up().await.unwrap_err();
        let text = chain(&error);
        for secret in ["adalovelace", "marzipan"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    let refused = PgStore::connect_lazy(
        &SecretString::from("postgres://adalovelace:marzipan@host:x/"),
        PgOptions::default(),
    );
    let error = refused.map(|_| ()).unwrap_err();
    assert!(!chain(&error).contains("marzipan"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_refuses() {
    let test = TestStore::migrated().await;
    let other = test.store.clone();
    other.check().await.unwrap();
    test.store.close().await;
    let error = other.check().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

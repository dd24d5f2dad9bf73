//! The servers start, obey and leave nothing behind.

#![expect(clippy::unwrap_used, reason = "test code fails by panicking")]

use std::path::Path;
use std::time::Duration;

use tasks_testkit::servers::{PostgresServer, Proxy, RedisServer};
use tokio_postgres::{Client, NoTls};

/// Long enough for any answer; a frozen server uses it up.
const PATIENCE: Duration = Duration::from_millis(300);

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn numbers(url: &str) -> Vec<i32> {
    let client = connect(url).await.unwrap();
    let rows = client.query("SELECT n FROM numbers", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// The processes that run in a folder: the server's and the shell that watches over it.
fn processes_in(folder: &Path) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok())
        .filter(|cwd| cwd.starts_with(folder))
        .count()
}

#[tokio::test]
async fn databases_are_copied_from_a_template_side_by_side() {
    let server = PostgresServer::shared().await;
    let template = server.database(None).await;
    let client = connect(&template.url).await.unwrap();
    client
        .batch_execute("CREATE TABLE numbers AS SELECT 7 AS n")
        .await
        .unwrap();
    drop(client);

    let copy = || server.database(Some(&template.name));
    let (one, two, three) = tokio::join!(copy(), copy(), copy());

    assert_ne!(one.url, two.url);
    let client = connect(&one.url).await.unwrap();
    client
        .batch_execute("INSERT INTO numbers VALUES (8)")
        .await
        .unwrap();
    assert_eq!(numbers(&one.url).await, [7, 8]);
    assert_eq!(numbers(&two.url).await, [7]);
    assert_eq!(numbers(&three.url).await, [7]);
}

#[tokio::test]
async fn a_dropped_database_is_gone_in_spite_of_connections() {
    let server = PostgresServer::shared().await;
    let database = server.database(None).await;
    let url = database.url.clone();
    let client = connect(&url).await.unwrap();

    drop(database);

    assert!(client.simple_query("SELECT 1").await.is_err());
    assert!(connect(&url).await.is_err());
}

#[tokio::test]
async fn a_frozen_postgres_answers_nobody_until_it_is_thawed() {
    let server = PostgresServer::start().await;
    let url = server.url("postgres");
    let client = connect(&url).await.unwrap();

    server.freeze();
    let query = client.simple_query("SELECT 1");
    tokio::pin!(query);
    assert!(tokio::time::timeout(PATIENCE, &mut query).await.is_err());
    assert!(tokio::time::timeout(PATIENCE, connect(&url)).await.is_err());

    server.thaw();
    query.await.unwrap();
    connect(&url).await.unwrap();
}

#[tokio::test]
async fn postgres_keeps_its_data_when_stopped_killed_or_restarted() {
    let server = PostgresServer::start().await;
    let url = server.url("postgres");
    let client = connect(&url).await.unwrap();
    client
        .batch_execute("CREATE TABLE numbers AS SELECT 7 AS n")
        .await
        .unwrap();

    server.restart();
    assert_eq!(numbers(&url).await, [7]);

    server.stop();
    assert!(connect(&url).await.is_err());
    server.restart();
    assert_eq!(numbers(&url).await, [7]);

    let client = connect(&url).await.unwrap();
    server.kill();
    assert!(client.simple_query("SELECT 1").await.is_err());
    assert!(connect(&url).await.is_err());
    server.restart();
    assert_eq!(numbers(&url).await, [7]);
}

#[tokio::test]
async fn a_dropped_postgres_leaves_nothing_behind_even_if_frozen() {
    for freeze in [false, true] {
        let server = PostgresServer::start().await;
        let folder = server.folder().to_owned();
        let _client = connect(&server.url("postgres")).await.unwrap();
        assert!(folder.exists());
        assert!(processes_in(&folder) > 1);

        if freeze {
            server.freeze();
        }
        drop(server);

        assert!(!folder.exists());
        assert_eq!(processes_in(&folder), 0);
    }
}

#[tokio::test]
async fn redis_freezes_restarts_and_takes_arguments() {
    let server = RedisServer::start().await;
    assert_eq!(server.command("SET key value"), "+OK");

    server.restart();
    assert_eq!(server.command("GET key"), "value");

    server.config(&["--requirepass", "secret"]);
    assert!(server.command("GET key").starts_with("-NOAUTH"));

    server.restart();
    assert_eq!(server.command("GET key"), "value");

    server.freeze();
    let address = server.url().replace("redis://", "");
    assert!(
        tokio::time::timeout(PATIENCE, ping(&address))
            .await
            .is_err()
    );
    server.thaw();
    assert_eq!(server.command("GET key"), "value");

    server.kill();
    assert!(ping(&address).await.is_err());
    server.restart();
    assert_eq!(server.command("PING"), "+PONG");
}

#[tokio::test]
async fn a_dropped_redis_leaves_nothing_behind() {
    let server = RedisServer::start().await;
    let folder = server.folder().to_owned();
    assert!(processes_in(&folder) > 1);

    drop(server);

    assert!(!folder.exists());
    assert_eq!(processes_in(&folder), 0);
}

async fn ping(address: &str) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn a_proxy_forwards_stalls_and_cuts() {
    let server = RedisServer::shared().await;
    let proxy = Proxy::to(&server.url().replace("redis://", ""));
    let address = proxy.address();
    assert_eq!(ping(&address).await.unwrap(), "+PONG\r\n");

    proxy.stall();
    let stalled = ping(&address);
    tokio::pin!(stalled);
    assert!(tokio::time::timeout(PATIENCE, &mut stalled).await.is_err());
    proxy.resume();
    assert_eq!(stalled.await.unwrap(), "+PONG\r\n");

    let mut open = tokio::net::TcpStream::connect(&address).await.unwrap();
    proxy.cut();
    let mut rest = Vec::new();
    let closed = tokio::io::AsyncReadExt::read_to_end(&mut open, &mut rest).await;
    assert!(closed.is_err() || rest.is_empty());
    assert_eq!(
        ping(&address).await.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    proxy.resume();
    assert_eq!(ping(&address).await.unwrap(), "+PONG\r\n");
}

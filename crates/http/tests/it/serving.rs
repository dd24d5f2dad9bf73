//! The server itself, over a socket.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tasks_http::{Bounds, Listeners, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::support::{Fakes, Fault, Setup};

/// A server, what stops it, and what it comes to.
struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// A connection on which this was sent.
    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap().unwrap();
    }
}

fn start(fakes: &Fakes) -> Server {
    start_with(fakes, Setup::default(), None)
}

/// With these bounds.
fn bounded(bounds: Bounds) -> Server {
    let mut setup = Setup::default();
    setup.settings.bounds = bounds;
    start_with(&Fakes::default(), setup, None)
}

fn free_port() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn start_with(fakes: &Fakes, setup: Setup, metrics: Option<TcpListener>) -> Server {
    let (api, address) = free_port();
    let (services, settings) = fakes.services(setup);
    let (stop, stopped) = oneshot::channel();
    let shutdown = async { stopped.await.unwrap_or_default() };
    let listeners = Listeners { api, metrics };
    let ended = actix_web::rt::spawn(serve(listeners, services, settings, shutdown));
    Server {
        address,
        stop,
        ended,
    }
}

/// The whole answer to a request after which the connection is closed.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{request}\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[actix_web::test]
async fn it_serves_until_it_is_told_to_stop() {
    let Server {
        address,
        stop,
        ended,
    } = start(&Fakes::default());
    let answer = exchange(address, "GET /health/live HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.ends_with("\r\n\r\n{\"status\":\"alive\"}"),
        "{answer}"
    );
    stop.send(()).unwrap();
    ended.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[actix_web::test]
async fn an_answer_to_head_has_the_length_of_the_body_and_no_body() {
    let Server {
        address,
        stop,
        ended,
    } = start(&Fakes::default());
    let answer = exchange(address, "HEAD /health/live HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.to_lowercase().contains("content-length: 18\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    stop.send(()).unwrap();
    ended.await.unwrap().unwrap();
}

#[actix_web::test]
async fn a_request_that_panics_leaves_the_connection_usable() {
    let fakes = Fakes::default();
    fakes.store.fail(Fault::Panic);
    let Server {
        address,
        stop,
        ended,
    } = start(&fakes);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = r#"{"refresh_token":"x"}"#;
    let panics = format!(
        "POST /api/v1/auth/logout HTTP/1.1\r\nhost: localhost\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let goes_on = "GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream
        .write_all(format!("{panics}{goes_on}").as_bytes())
        .await
        .unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    assert!(answers.starts_with("HTTP/1.1 500 "), "{answers}");
    assert!(answers.contains("internal_error"), "{answers}");
    assert!(answers.contains("HTTP/1.1 200 OK"), "{answers}");
    stop.send(()).unwrap();
    ended.await.unwrap().unwrap();
}

const ALIVE: &str = "GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Reads an answer that ends with this, and leaves the connection open.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(end.as_bytes()) {
        answer.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(answer).unwrap()
}

/// Nothing has come on this connection, nor has it been closed.
fn is_silent(stream: &TcpStream) -> bool {
    let read = stream.try_read(&mut [0]);
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[actix_web::test]
async fn metrics_with_a_port_of_their_own_are_there_only() {
    let setup = Setup {
        metrics: Some(Arc::new(|| Ok("# HELP x\n".to_owned()))),
        ..Setup::default()
    };
    let (listener, metrics) = free_port();
    let server = start_with(&Fakes::default(), setup, Some(listener));
    let told = exchange(metrics, "GET /metrics HTTP/1.1").await;
    assert!(told.starts_with("HTTP/1.1 200 OK\r\n"), "{told}");
    assert!(told.ends_with("\r\n\r\n# HELP x\n"), "{told}");
    let elsewhere = exchange(server.address, "GET /metrics HTTP/1.1").await;
    assert!(elsewhere.starts_with("HTTP/1.1 404 "), "{elsewhere}");
    for path in ["/health", "/docs", "/api/v1/tasks"] {
        let other = exchange(metrics, &format!("GET {path} HTTP/1.1")).await;
        assert!(other.starts_with("HTTP/1.1 404 "), "{other}");
        assert!(other.contains("application/problem+json"), "{other}");
    }
    let post = exchange(metrics, "POST /metrics HTTP/1.1").await;
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    server.stop().await;
    assert!(TcpStream::connect(metrics).await.is_err());
}

#[actix_web::test]
async fn an_idle_connection_is_closed_in_time() {
    let keep_alive = |seconds| Bounds {
        keep_alive: Duration::from_secs(seconds),
        ..Bounds::default()
    };
    let (short, long) = (bounded(keep_alive(1)), bounded(keep_alive(3600)));
    let (mut closed, mut open) = (short.send(ALIVE).await, long.send(ALIVE).await);
    read_until(&mut open, "}").await;
    let mut answer = String::new();
    closed.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(is_silent(&open));
    short.stop().await;
    long.stop().await;
}

#[actix_web::test]
async fn a_head_that_does_not_come_is_not_awaited() {
    let head = |seconds| Bounds {
        header_timeout: Duration::from_secs(seconds),
        ..Bounds::default()
    };
    let (short, long) = (bounded(head(1)), bounded(head(60)));
    let half = "GET /health/live HTTP/1.1\r\nhost:";
    let (mut closed, open) = (short.send(half).await, long.send(half).await);
    let mut answer = String::new();
    closed.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(is_silent(&open));
    drop(open);
    short.stop().await;
    long.stop().await;
}

#[actix_web::test]
async fn beyond_the_limit_connections_wait() {
    let server = bounded(Bounds {
        max_connections: 1,
        ..Bounds::default()
    });
    let mut first = server.send(ALIVE).await;
    read_until(&mut first, "}").await;
    let mut second = server.send(ALIVE).await;
    for _ in 0..10 {
        first.write_all(ALIVE.as_bytes()).await.unwrap();
        read_until(&mut first, "}").await;
    }
    assert!(is_silent(&second));
    drop(first);
    let answer = read_until(&mut second, "}").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    drop(second);
    server.stop().await;
}

//! The server itself, over a socket.

use std::net::{SocketAddr, TcpListener};

use tasks_http::serve;
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

fn start(fakes: &Fakes) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (services, settings) = fakes.services(Setup::default());
    let (stop, stopped) = oneshot::channel();
    let shutdown = async { stopped.await.unwrap_or_default() };
    let ended = actix_web::rt::spawn(serve(listener, services, settings, shutdown));
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

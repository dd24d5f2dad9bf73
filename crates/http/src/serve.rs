//! Serving, and going away.

use std::any::Any;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use actix_web::{HttpServer, web};
use socket2::SockRef;

use crate::app::{Api, Services, Settings, app};

/// How long requests in flight have to finish once the service goes away.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may be idle: longer than most clients pool theirs between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a client may leave what it was sent unread: until then its answers take memory.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(20);
/// How many connections a worker holds at most. An idle one takes some KiB, one in the middle of a
/// request with the largest body some 100 KiB.
const MAX_CONNECTIONS_PER_WORKER: usize = 1_000;

/// Serves until `shutdown` is ready; then is no longer ready for new work, finishes the requests
/// in flight, 30 s at most, and returns.
pub async fn serve(
    listener: TcpListener,
    services: Services,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let api = web::Data::new(Api::new(services, settings));
    let workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let shared = api.clone();
    let server = HttpServer::new(move || app(shared.clone()))
        .workers(workers)
        .max_connections(MAX_CONNECTIONS_PER_WORKER)
        .client_request_timeout(HEAD_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(DRAIN_TIMEOUT.as_secs())
        .on_connect(|connection, _| set_up(connection))
        // Actix would take SIGINT for a command to drop requests.
        .disable_signals()
        .listen(listener)?
        .run();
    let handle = server.handle();
    let mut serving = tokio::spawn(server);
    tokio::select! {
        () = shutdown => {}
        // The server gave up by itself; there is nothing left to wait for.
        ended = &mut serving => return ended.map_err(io::Error::other)?,
    }
    api.drain();
    handle.stop(true).await;
    serving.await.map_err(io::Error::other)?
}

/// Sets what only the socket itself can be asked for.
fn set_up(connection: &dyn Any) {
    let Some(stream) = connection.downcast_ref::<TcpStream>() else {
        return;
    };
    let socket = SockRef::from(stream);
    // An answer is written whole; holding back its last packet could only delay it.
    let set = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let set = set.and_then(|()| socket.set_tcp_user_timeout(Some(UNREAD_TIMEOUT)));
    if let Err(error) = set {
        tracing::debug!(%error, "a connection could not be set up");
    }
}

//! Serving, and going away.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::time::Duration;

use actix_web::{HttpServer, web};

use crate::app::{Api, Services, Settings, app};

/// How long requests in flight have to finish once the service goes away.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may be idle: longer than most clients pool theirs between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How many connections a worker holds at most, each with buffers of up to some 100 KiB.
const MAX_CONNECTIONS_PER_WORKER: usize = 2_000;

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

//! Serving, and going away.

use std::any::Any;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::rt::net::TcpStream;
use actix_web::{HttpServer, web};
use socket2::SockRef;

use crate::app::{self, Api, Services, Settings};

/// How long requests in flight have to finish once the service goes away.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may leave what it was sent unread: until then its answers take memory.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(20);
/// How many connections ask for metrics at most: more than anybody has servers for that.
const MAX_SCRAPES: usize = 100;

/// Where the service listens.
#[derive(Debug)]
pub struct Listeners {
    /// For the API and its pages.
    pub api: TcpListener,
    /// For `/metrics` alone, which then is not beside the API.
    pub metrics: Option<TcpListener>,
}

/// Serves until `shutdown` is ready. From then on it is not ready for new work and tells every
/// connection to close; after [`shutdown_delay`](crate::Bounds::shutdown_delay) it accepts no more,
/// finishes the requests in flight, 30 s at most, and returns.
pub async fn serve(
    listeners: Listeners,
    services: Services,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let api = web::Data::new(Api::new(services, settings));
    let bounds = api.settings.bounds;
    let scrapes = listeners
        .metrics
        .map(|listener| serve_metrics(listener, api.clone()))
        .transpose()?;
    let has_metrics = api.metrics.is_some() && scrapes.is_none();
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    // Each holds its share of the connections, which is at least one.
    let workers = cores.min(bounds.max_connections).max(1);
    let shared = api.clone();
    let server = HttpServer::new(move || app::compose(shared.clone(), has_metrics))
        .workers(workers)
        .max_connections(bounds.max_connections / workers)
        .client_request_timeout(bounds.header_timeout)
        .keep_alive(bounds.keep_alive)
        .shutdown_timeout(DRAIN_TIMEOUT.as_secs())
        .on_connect(|connection, _| set_up(connection))
        // Actix would take SIGINT for a command to drop requests.
        .disable_signals()
        .listen(listeners.api)?
        .run();
    let handle = server.handle();
    let mut serving = tokio::spawn(server);
    tokio::select! {
        () = shutdown => {}
        // The server gave up by itself; there is nothing left to wait for.
        ended = &mut serving => return ended.map_err(io::Error::other)?,
    }
    api.drain();
    tokio::time::sleep(bounds.shutdown_delay).await;
    handle.stop(true).await;
    let outcome = serving.await.map_err(io::Error::other)?;
    // Last, so that it can be seen how the others end.
    if let Some(scrapes) = scrapes {
        scrapes.stop(false).await;
    }
    outcome
}

/// Serves `/metrics` alone, until it is stopped.
fn serve_metrics(listener: TcpListener, api: web::Data<Api>) -> io::Result<ServerHandle> {
    let bounds = api.settings.bounds;
    let server = HttpServer::new(move || app::metrics(api.clone()))
        .workers(1)
        .max_connections(MAX_SCRAPES)
        .client_request_timeout(bounds.header_timeout)
        .keep_alive(bounds.keep_alive)
        .on_connect(|connection, _| set_up(connection))
        .disable_signals()
        .listen(listener)?
        .run();
    let handle = server.handle();
    tokio::spawn(server);
    Ok(handle)
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

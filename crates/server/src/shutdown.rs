//! The signals that end the service.

use std::future::Future;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A shell gives a process that a signal ended this much more than the signal's number.
const SIGNAL_STATUS: i32 = 128;

/// Resolves at the first SIGTERM or SIGINT; from then on the next one ends the process at once.
///
/// Both are watched from the call on, so that none is missed while the service starts.
pub(crate) fn signalled() -> io::Result<impl Future<Output = ()>> {
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    Ok(async move {
        signals.next().await;
        tracing::info!("shutting down: requests in flight finish, another signal ends at once");
        tokio::spawn(async move {
            let kind = signals.next().await;
            tracing::warn!("ended at once by a second signal");
            std::process::exit(SIGNAL_STATUS + kind.as_raw_value());
        });
    })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        }
    }
}

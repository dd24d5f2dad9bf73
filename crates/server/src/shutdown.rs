//! The signals that end the service.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// A shell gives a process that a signal ended this much more than the signal's number.
const SIGNAL_STATUS: i32 = 128;

/// A signal that comes so soon after the first is the same wish: `timeout`, for one, sends its own to the
/// process and to the group that it is in. A person who has waited in vain takes longer.
const ECHO: Duration = Duration::from_millis(500);

/// Resolves at the first SIGTERM or SIGINT; from then on another one, unless it is an echo of the first,
/// ends the process at once.
///
/// Both are watched from the call on, so that none is missed while the service starts.
pub(crate) fn signalled() -> io::Result<impl Future<Output = ()>> {
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    Ok(async move {
        signals.next().await;
        let first = Instant::now();
        tracing::info!("shutting down: requests in flight finish, another signal ends at once");
        tokio::spawn(async move {
            let kind = loop {
                let kind = signals.next().await;
                if first.elapsed() >= ECHO {
                    break kind;
                }
            };
            tracing::warn!("ended at once by another signal");
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

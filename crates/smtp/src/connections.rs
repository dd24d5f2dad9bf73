//! Connections that wait for the next mail.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lettre::transport::smtp::client::AsyncSmtpConnection;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// As many mails may be under way at once without opening connections anew.
const MOST: usize = 4;

/// A connection that nobody needs for so long is closed: sooner than mail servers do, which wait some
/// minutes, and than networks that forget quiet connections.
const IDLE: Duration = Duration::from_secs(30);

/// How long a server may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// Open connections between mails.
///
/// Not lettre's own pool: that takes back a connection whose mail was given up in the middle, reads
/// the answers to that mail as those to the next, and so takes a mail for sent that is not.
#[derive(Clone, Default)]
pub(crate) struct Connections(Arc<Mutex<Vec<Idle>>>);

struct Idle {
    connection: AsyncSmtpConnection,
    /// Of the task that will close it.
    closing: AbortHandle,
}

impl Connections {
    /// Takes the connection that was kept last. Its server may have closed it.
    pub(crate) fn take(&self) -> Option<AsyncSmtpConnection> {
        let idle = self.lock().pop()?;
        idle.closing.abort();
        Some(idle.connection)
    }

    /// Keeps a connection on which nothing is under way.
    pub(crate) fn keep(&self, connection: AsyncSmtpConnection) {
        let mut kept = self.lock();
        if kept.len() < MOST {
            let closing = tokio::spawn(self.clone().close_idle()).abort_handle();
            kept.push(Idle {
                connection,
                closing,
            });
        }
    }

    /// Closes the connection that this task is for, when nobody takes it.
    async fn close_idle(self) {
        sleep(IDLE).await;
        let this = tokio::task::id();
        let expired = {
            let mut kept = self.lock();
            let at = kept.iter().position(|idle| idle.closing.id() == this);
            at.map(|at| kept.remove(at).connection)
        };
        if let Some(mut connection) = expired {
            // A server that does not answer is left without a word.
            let _ = timeout(GOODBYE, connection.quit()).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

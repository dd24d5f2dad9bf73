//! What happens to accounts, in the log.

use tasks_domain::account::{SecurityEvent, SecurityEventKind, SecurityLog};
use tracing::{info, warn};

/// Writes each event as one line: `event`, `user_id` and `session_id` where they are known, and
/// `client_address`.
#[derive(Debug)]
pub(crate) struct LoggedSecurity;

impl SecurityLog for LoggedSecurity {
    fn record(&self, event: SecurityEvent) {
        let SecurityEvent {
            kind,
            user,
            session,
            address,
        } = event;
        let name = kind.as_str();
        let user_id = user.map(tracing::field::display);
        let session_id = session.map(tracing::field::display);
        let client_address = tracing::field::display(address);
        match kind {
            // Somebody may be at work who should not be.
            SecurityEventKind::LoginFailed
            | SecurityEventKind::ReauthenticationFailed
            | SecurityEventKind::AccountLocked
            | SecurityEventKind::RefreshReuseDetected => {
                warn!(
                    event = name,
                    user_id, session_id, client_address, "security event"
                );
            }
            SecurityEventKind::AccountRegistered
            | SecurityEventKind::SessionEnded
            | SecurityEventKind::AllSessionsEnded
            | SecurityEventKind::EmailVerified
            | SecurityEventKind::PasswordChanged
            | SecurityEventKind::PasswordReset
            | SecurityEventKind::AccountDeleted => {
                info!(
                    event = name,
                    user_id, session_id, client_address, "security event"
                );
            }
        }
    }
}

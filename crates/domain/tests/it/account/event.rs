//! What is noted of accounts.

use tasks_domain::account::SecurityEventKind;

/// Whoever watches searches for these names.
#[test]
fn events_keep_their_names() {
    let names = [
        (SecurityEventKind::AccountRegistered, "account_registered"),
        (SecurityEventKind::LoginFailed, "login_failed"),
        (
            SecurityEventKind::ReauthenticationFailed,
            "reauthentication_failed",
        ),
        (SecurityEventKind::AccountLocked, "account_locked"),
        (
            SecurityEventKind::RefreshReuseDetected,
            "refresh_reuse_detected",
        ),
        (SecurityEventKind::SessionEnded, "session_ended"),
        (SecurityEventKind::AllSessionsEnded, "all_sessions_ended"),
        (SecurityEventKind::EmailVerified, "email_verified"),
        (SecurityEventKind::PasswordChanged, "password_changed"),
        (SecurityEventKind::PasswordReset, "password_reset"),
        (SecurityEventKind::AccountDeleted, "account_deleted"),
    ];
    for (kind, name) in names {
        assert_eq!(kind.as_str(), name);
    }
}

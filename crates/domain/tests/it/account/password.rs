//! Asking for a password, by whatever call: what is refused, counted and noted.

use mockall::Sequence;
use mockall::predicate::eq;
use tasks_domain::account::{
    Admission, FailedLogin, HashError, Locked, LogInError, LoginAttempts, PasswordError,
    SecurityEventKind, Session, SessionRef, User,
};
use tasks_domain::id::Id;
use tasks_domain::store::StoreError;
use tasks_testkit::clock::noon;

use super::{Ports, ada, change_password, delete, log_in, session_of};
use crate::unavailable;

/// A call that asks for a password.
#[derive(Clone, Copy, Debug)]
enum Call {
    LogIn,
    ChangePassword(SessionRef),
    DeleteAccount(SessionRef),
}

impl Call {
    /// Every call of a user's.
    fn all(user: &User) -> [Self; 3] {
        [
            Self::LogIn,
            Self::ChangePassword(session_of(user)),
            Self::DeleteAccount(session_of(user)),
        ]
    }

    fn session_ref(self) -> Option<SessionRef> {
        match self {
            Self::LogIn => None,
            Self::ChangePassword(session) | Self::DeleteAccount(session) => Some(session),
        }
    }

    fn session(self) -> Option<Id<Session>> {
        Some(self.session_ref()?.session)
    }

    /// Who is known without an account: whoever is signed in.
    fn signed_in(self) -> Option<Id<User>> {
        Some(self.session_ref()?.user)
    }

    /// How its failure is noted.
    fn failure(self) -> SecurityEventKind {
        match self {
            Self::LogIn => SecurityEventKind::LoginFailed,
            Self::ChangePassword(_) | Self::DeleteAccount(_) => {
                SecurityEventKind::ReauthenticationFailed
            }
        }
    }

    /// What the store makes of the right password.
    fn admitting(self, ports: Ports, user: &User, admission: Admission) -> Ports {
        let mut ports = ports.comparing(user, true);
        match self {
            Self::LogIn => {
                ports
                    .sessions
                    .expect_open()
                    .once()
                    .returning(move |_, _, _, _| Ok(admission));
                ports.forgetting(user.id)
            }
            Self::ChangePassword(_) => {
                let mut ports = ports.hashing("Another-2!");
                ports
                    .users
                    .expect_change_password()
                    .once()
                    .returning(move |_, _| Ok(admission));
                ports.forgetting(user.id)
            }
            Self::DeleteAccount(_) => {
                ports
                    .users
                    .expect_delete()
                    .once()
                    .returning(move |_, _, _| Ok(admission));
                ports.forgetting(user.id)
            }
        }
    }

    /// The refusal.
    async fn refused(self, ports: Ports, user: &User) -> PasswordError {
        let service = ports.service();
        let done = match self {
            Self::LogIn => match service.log_in(log_in::command()).await {
                Err(LogInError::Password(error)) => Err(error),
                Err(LogInError::Token(error)) => panic!("{error}"),
                Ok(_) => Ok(()),
            },
            Self::ChangePassword(session) => {
                let command = change_password::command(session);
                service.change_password(user, command).await
            }
            Self::DeleteAccount(session) => {
                let command = delete::command(session);
                service.delete_account(user, command).await
            }
        };
        done.unwrap_err()
    }
}

fn locked() -> Locked {
    Locked {
        until: noon().plus(LoginAttempts::LOCK),
    }
}

/// A failure is counted.
fn counting(mut ports: Ports, user: &User, counted: Result<FailedLogin, StoreError>) -> Ports {
    ports
        .users
        .expect_record_failed_login()
        .once()
        .with(eq(user.email.clone()), eq(noon()))
        .return_once(|_, _| counted);
    ports
}

#[tokio::test]
async fn a_wrong_password_is_counted_noted_and_refused() {
    let user = ada();
    for call in Call::all(&user) {
        let ports = Ports::new().comparing(&user, false);
        let ports = counting(ports, &user, Ok(FailedLogin::Counted));
        let ports = ports.noting(call.failure(), user.id, call.session());
        let refused = call.refused(ports, &user).await;
        assert!(matches!(refused, PasswordError::Wrong), "{call:?}");
    }
}

#[tokio::test]
async fn the_failure_that_locks_says_until_when_and_the_lock_is_noted() {
    let user = ada();
    for call in Call::all(&user) {
        let ports = Ports::new().comparing(&user, false);
        let ports = counting(ports, &user, Ok(FailedLogin::LockedNow(locked())))
            .noting(call.failure(), user.id, call.session())
            .noting(SecurityEventKind::AccountLocked, user.id, call.session());
        let refused = call.refused(ports, &user).await;
        assert!(
            matches!(refused, PasswordError::Locked(lock) if lock == locked()),
            "{call:?}"
        );
    }
}

#[tokio::test]
async fn a_failure_under_a_lock_says_until_when_and_only_the_failure_is_noted() {
    let user = ada();
    for call in Call::all(&user) {
        let ports = Ports::new().comparing(&user, false);
        let ports = counting(ports, &user, Ok(FailedLogin::StillLocked(locked())));
        let ports = ports.noting(call.failure(), user.id, call.session());
        let refused = call.refused(ports, &user).await;
        assert!(
            matches!(refused, PasswordError::Locked(lock) if lock == locked()),
            "{call:?}"
        );
    }
}

/// What it takes for the times of all refusals to be equal.
#[tokio::test]
async fn an_unknown_address_is_compared_with_nobodys_password_and_counted_as_well() {
    let user = ada();
    for call in Call::all(&user) {
        let mut ports = Ports::new();
        let mut in_order = Sequence::new();
        ports
            .users
            .expect_find_credentials()
            .once()
            .in_sequence(&mut in_order)
            .returning(|_| Ok(None));
        ports
            .hasher
            .expect_verify()
            .once()
            .in_sequence(&mut in_order)
            .withf(|_, hash| hash.is_none())
            .returning(|_, _| Ok(false));
        ports
            .users
            .expect_record_failed_login()
            .once()
            .in_sequence(&mut in_order)
            .with(eq(user.email.clone()), eq(noon()))
            .returning(|_, _| Ok(FailedLogin::NoAccount));
        let ports = ports.noting(call.failure(), call.signed_in(), call.session());
        let refused = call.refused(ports, &user).await;
        assert!(matches!(refused, PasswordError::Wrong), "{call:?}");
    }
}

/// A hasher that took a missing hash for a match would let anybody in otherwise.
#[tokio::test]
async fn nobody_gets_in_without_an_account_whatever_the_hasher_says() {
    let user = ada();
    for call in Call::all(&user) {
        let mut ports = Ports::new();
        ports
            .users
            .expect_find_credentials()
            .returning(|_| Ok(None));
        ports.hasher.expect_verify().returning(|_, _| Ok(true));
        let ports = counting(ports, &user, Ok(FailedLogin::NoAccount));
        let ports = ports.noting(call.failure(), call.signed_in(), call.session());
        let refused = call.refused(ports, &user).await;
        assert!(matches!(refused, PasswordError::Wrong), "{call:?}");
    }
}

#[tokio::test]
async fn the_right_password_does_nothing_under_a_lock_and_is_noted_as_a_failure() {
    let user = ada();
    for call in Call::all(&user) {
        let ports = call.admitting(Ports::new(), &user, Admission::Locked(locked()));
        let ports = ports.noting(call.failure(), user.id, call.session());
        let refused = call.refused(ports, &user).await;
        assert!(
            matches!(refused, PasswordError::Locked(lock) if lock == locked()),
            "{call:?}"
        );
    }
}

#[tokio::test]
async fn a_password_that_was_replaced_while_it_was_compared_is_wrong() {
    let user = ada();
    for call in Call::all(&user) {
        let ports = call.admitting(Ports::new(), &user, Admission::Outdated);
        let ports = ports.noting(call.failure(), user.id, call.session());
        let refused = call.refused(ports, &user).await;
        assert!(matches!(refused, PasswordError::Wrong), "{call:?}");
    }
}

#[tokio::test]
async fn what_could_not_be_compared_is_neither_counted_nor_noted() {
    let user = ada();
    for call in Call::all(&user) {
        let mut ports = Ports::new();
        ports
            .users
            .expect_find_credentials()
            .returning(|_| Ok(None));
        ports
            .hasher
            .expect_verify()
            .once()
            .returning(|_, _| Err(HashError::Overloaded));
        let failed = call.refused(ports, &user).await;
        assert!(
            matches!(failed, PasswordError::Hash(HashError::Overloaded)),
            "{call:?}"
        );
    }
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_at_each_step_and_nothing_is_noted() {
    let user = ada();
    for call in Call::all(&user) {
        let mut at_lookup = Ports::new();
        at_lookup
            .users
            .expect_find_credentials()
            .once()
            .returning(|_| Err(unavailable()));
        let at_counting = Ports::new().comparing(&user, false);
        let at_counting = counting(at_counting, &user, Err(unavailable()));
        for ports in [at_lookup, at_counting] {
            let failed = call.refused(ports, &user).await;
            assert!(matches!(failed, PasswordError::Store(_)), "{call:?}");
        }
    }
}

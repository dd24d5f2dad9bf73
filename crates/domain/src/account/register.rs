//! Registering: an account, its first session, and a mail that asks to prove the address.

use tracing::instrument;

use crate::BoxError;
use crate::mail::MailKind;
use crate::store::StoreError;

use super::AccountService;
use super::event::SecurityEventKind;
use super::repository::{NewAccount, Registration};
use super::security::HashError;
use super::session::{ClientInfo, NewSession, TokenGrant};
use super::user::{Email, FullName, Password, User};

/// Who wants an account.
#[derive(Clone, Debug)]
pub struct Register {
    /// Their address.
    pub email: Email,
    /// Their password.
    pub password: Password,
    /// Their name.
    pub full_name: FullName,
    /// Where they call from.
    pub client: ClientInfo,
}

/// Why there is no account.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Another account has the address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// The password could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The access token could not be signed.
    #[error("the access token could not be signed")]
    Token(#[source] BoxError),
}

impl AccountService {
    /// Makes an account and signs its user in. The user is not active until the address is proven.
    #[instrument(level = "debug", name = "register", skip_all, fields(otel.status_code))]
    pub async fn register(&self, command: Register) -> Result<TokenGrant, RegisterError> {
        let Register {
            email,
            password,
            full_name,
            client,
        } = command;
        let password_hash = self.ports.hasher.hash(password).await?;
        let now = self.ports.clock.now();
        let user = User {
            id: self.ports.ids.next(),
            email,
            full_name,
            is_active: false,
            created_at: now,
            updated_at: now,
        };
        let address = client.address;
        let (refresh_token, stored_token) = self.new_refresh_token(now);
        let session = self.ports.ids.next();
        let account = NewAccount {
            user: user.clone(),
            password_hash,
            mail: self.new_mail(MailKind::VerifyEmail, user.email.clone(), now),
            session: NewSession {
                id: session,
                client,
                refresh_token: stored_token,
            },
        };
        match self.ports.users.register(account).await? {
            Registration::EmailTaken => return Err(RegisterError::EmailTaken),
            Registration::Registered => {}
        }
        self.ports.outbox_signal.added();
        self.record(
            SecurityEventKind::AccountRegistered,
            Some(user.id),
            Some(session),
            address,
        );
        self.grant(user, session, refresh_token, now)
            .map_err(RegisterError::Token)
    }
}

//! Changing one's own profile.

use tracing::instrument;

use crate::store::StoreError;

use super::AccountService;
use super::user::{FullName, User};

/// Why a profile is not changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateProfileError {
    /// The account is gone.
    #[error("the account is gone")]
    NoAccount,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AccountService {
    /// Gives the caller another name, or leaves it as it is.
    #[instrument(level = "debug", name = "update profile", skip_all, fields(otel.status_code))]
    pub async fn update_profile(
        &self,
        caller: &User,
        full_name: Option<FullName>,
    ) -> Result<User, UpdateProfileError> {
        let Some(full_name) = full_name.filter(|name| *name != caller.full_name) else {
            return Ok(caller.clone());
        };
        let now = self.ports.clock.now();
        let renamed = self.ports.users.rename(caller.id, full_name, now).await;
        // Also after a failure, which does not tell whether the name was stored.
        self.ports.cache.invalidate(caller.id).await;
        renamed?.ok_or(UpdateProfileError::NoAccount)
    }
}

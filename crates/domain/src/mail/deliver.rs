//! Delivering what waits in the outbox.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::BoxError;
use crate::clock::{Clock, Timestamp};
use crate::store::StoreError;

use super::outbox::{Claim, ClaimedMail, Outbox, Settlement};
use super::{Mail, MailError, MailKind, MailTokens, Mailer};

/// What delivering comes to.
#[derive(Debug)]
pub enum Delivery {
    /// Nothing is due.
    Idle,
    /// What was due had no purpose any more. There may be more.
    Moot,
    /// A mail was sent.
    Sent(MailKind),
    /// A mail was not sent, and waits to be tried again.
    Retried(MailKind, MailError),
    /// A mail was not sent, and is given up.
    Dead(MailKind, MailError),
}

/// Delivers mails, one at a time. Any number of these, in any number of processes, share the work.
pub struct DeliveryService {
    outbox: Arc<dyn Outbox>,
    mailer: Arc<dyn Mailer>,
    tokens: Arc<dyn MailTokens>,
    clock: Arc<dyn Clock>,
    /// Mails that were sent, which the store could not be told yet.
    unsettled: Mutex<Vec<ClaimedMail>>,
}

impl DeliveryService {
    /// An attempt takes no longer: a mail server that needs more is tried again.
    pub const ATTEMPT: Duration = Duration::from_secs(30);
    /// So long a claim holds: longer than an attempt, or two deliverers would send one mail. A mail
    /// whose deliverer died in the middle waits as long.
    pub const CLAIM: Duration = Duration::from_mins(1);
    /// A mail that could not be sent is tried again after this, and then after twice as long each time.
    pub const FIRST_RETRY: Duration = Duration::from_secs(1);
    /// But at least so often, so that mails arrive soon after a long outage.
    pub const LAST_RETRY: Duration = Duration::from_mins(5);
    /// A mail that could not be sent for so long is given up: whoever asked for it has asked again.
    pub const GIVE_UP_AFTER: Duration = Duration::from_hours(24);

    /// Delivers from an outbox through a mailer.
    pub fn new(
        outbox: Arc<dyn Outbox>,
        mailer: Arc<dyn Mailer>,
        tokens: Arc<dyn MailTokens>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            outbox,
            mailer,
            tokens,
            clock,
            unsettled: Mutex::default(),
        }
    }

    /// Tries to send the mail that has been due for longest.
    ///
    /// Where the store fails between the sending of a mail and the noting of it, the next call notes it
    /// before anything else: within [`DeliveryService::CLAIM`] that keeps the mail from being sent twice.
    pub async fn deliver_next(&self) -> Result<Delivery, StoreError> {
        let unsettled = self.unsettled().pop();
        if let Some(sent) = unsettled {
            return self.settle_sent(sent).await;
        }
        let now = self.clock.now();
        let claimed = match self.outbox.claim(now, now.plus(Self::CLAIM)).await? {
            Claim::Idle => return Ok(Delivery::Idle),
            Claim::Moot => return Ok(Delivery::Moot),
            Claim::Claimed(claimed) => claimed,
        };
        let kind = claimed.kind;
        let Err(error) = self.send(&claimed).await else {
            return self.settle_sent(claimed).await;
        };
        let now = self.clock.now();
        let give_up = match &error {
            MailError::Refused(_) => true,
            MailError::Unavailable(_) => now.since(claimed.created_at) >= Self::GIVE_UP_AFTER,
        };
        if give_up {
            self.outbox.settle(&claimed, Settlement::Dead(now)).await?;
            return Ok(Delivery::Dead(kind, error));
        }
        let again = retry_at(&claimed, now);
        self.outbox
            .settle(&claimed, Settlement::Retry(again))
            .await?;
        Ok(Delivery::Retried(kind, error))
    }

    async fn settle_sent(&self, sent: ClaimedMail) -> Result<Delivery, StoreError> {
        let kind = sent.kind;
        let settled = self.outbox.settle(&sent, Settlement::Sent).await;
        if settled.is_err() {
            self.unsettled().push(sent);
        }
        settled.map(|()| Delivery::Sent(kind))
    }

    fn unsettled(&self) -> MutexGuard<'_, Vec<ClaimedMail>> {
        self.unsettled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, claimed: &ClaimedMail) -> Result<(), MailError> {
        let token = self.tokens.token_again(claimed.id, &claimed.token);
        // Among instances whose secret is being changed, another may know it.
        let token = token.ok_or_else(|| {
            let reason: BoxError =
                "the secret that its link was made with is not known here".into();
            MailError::Unavailable(reason)
        })?;
        let mail = Mail {
            id: claimed.id,
            kind: claimed.kind,
            to: claimed.to.clone(),
            name: claimed.name.clone(),
            token,
            cause: claimed.cause.clone(),
        };
        self.mailer.send(&mail).await
    }
}

/// Exponential back-off with jitter: between half of the interval and all of it, so that mails that
/// failed together are not all tried again together. The id's random end is as good as new chance.
fn retry_at(mail: &ClaimedMail, now: Timestamp) -> Timestamp {
    let doublings = mail.attempt.saturating_sub(1).min(u32::BITS - 1);
    let interval = DeliveryService::FIRST_RETRY
        .saturating_mul(1 << doublings)
        .min(DeliveryService::LAST_RETRY);
    // The lower 62 bits of an id are random: 16 of them, others at each attempt.
    let random = mail.id.uuid().as_u128().rotate_right(mail.attempt % 47);
    let share = u16::try_from(random & 0xffff).unwrap_or_default();
    let jitter = (interval / 2).mul_f64(f64::from(share) / f64::from(u16::MAX));
    now.plus(interval / 2 + jitter)
}

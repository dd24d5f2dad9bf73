//! Mails that go nowhere, and their tokens.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use secrecy::SecretString;
use tasks_domain::account::TokenDigest;
use tasks_domain::id::Id;
use tasks_domain::mail::{Mail, MailError, MailTokens, Mailer, OutboxSignal};

use super::Switch;
use crate::build;

/// Keeps every mail that it sends. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct RecordingMailer(Arc<Mutex<Mails>>);

#[derive(Debug, Default)]
struct Mails {
    sent: Vec<Mail>,
    failures: VecDeque<MailError>,
}

impl RecordingMailer {
    /// All mails that were sent so far, the oldest first.
    pub fn sent(&self) -> Vec<Mail> {
        self.0.lock().unwrap().sent.clone()
    }

    /// Makes the next call fail, after those that were made to fail already.
    pub fn fail_next(&self, error: MailError) {
        self.0.lock().unwrap().failures.push_back(error);
    }
}

#[async_trait]
impl Mailer for RecordingMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let mut mails = self.0.lock().unwrap();
        if let Some(error) = mails.failures.pop_front() {
            return Err(error);
        }
        mails.sent.push(mail.clone());
        Ok(())
    }
}

/// Tokens that name their mail, with digests as [`FakeTokens`](super::FakeTokens) makes them.
#[derive(Clone, Debug, Default)]
pub struct FakeMailTokens(Switch);

impl FakeMailTokens {
    /// Makes no token again, as with another secret, or does so once more.
    pub fn forget(&self, forgets: bool) {
        self.0.turn(forgets);
    }
}

impl MailTokens for FakeMailTokens {
    fn token(&self, mail: Id<Mail>) -> SecretString {
        token(mail).into()
    }

    fn token_again(&self, mail: Id<Mail>, digest: &TokenDigest) -> Option<SecretString> {
        let token = token(mail);
        let is_known = !self.0.is_on() && build::digest(&token) == *digest;
        is_known.then(|| token.into())
    }
}

/// 43 characters, like any.
fn token(mail: Id<Mail>) -> String {
    format!("mail-token-{}", mail.uuid().simple())
}

/// Counts how often it was told that a mail was added. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct RecordingSignal(Arc<AtomicUsize>);

impl RecordingSignal {
    /// How often so far.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl OutboxSignal for RecordingSignal {
    fn added(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

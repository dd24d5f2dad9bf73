//! Mails that go nowhere.

use std::sync::{Arc, Mutex};

use tasks_domain::mail::{Mail, Mailer};

/// Keeps every mail. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct RecordingMailer(Arc<Mutex<Vec<Mail>>>);

impl RecordingMailer {
    /// All mails so far, the oldest first.
    pub fn sent(&self) -> Vec<Mail> {
        self.0.lock().unwrap().clone()
    }
}

impl Mailer for RecordingMailer {
    fn send(&self, mail: Mail) {
        self.0.lock().unwrap().push(mail);
    }
}

//! The threads that read, each with its own connection.

use crossbeam_channel::Receiver;

use crate::connection::Slot;
use crate::job::{Busy, Message};

/// So many reads may wait: far more than the threads answer in the time that a request has, so
/// that only an overload is refused.
pub(crate) const QUEUE: usize = 1024;

/// Does one read after the other, until the queue ends.
pub(crate) fn run(mut slot: Slot, jobs: &Receiver<Message>, busy: &Busy) {
    while let Ok(Message::Job(mut job)) = jobs.recv() {
        if !job.is_wanted() {
            continue;
        }
        let _at_work = busy.work();
        let done = slot.get().and_then(|connection| job.run(connection));
        if done.is_err() {
            // An open transaction would show its old snapshot for ever.
            slot.discard();
        }
        job.answer(done);
    }
}

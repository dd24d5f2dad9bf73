//! When a mail that could not be sent is tried again.

use std::sync::mpsc;
use std::time::Duration;

use proptest::prelude::*;
use tasks_domain::id::Id;
use tasks_domain::mail::{ClaimedMail, Settlement};
use tasks_testkit::clock::noon;
use uuid::{Builder, Uuid};

use super::{Ports, mail, out_of_reach};

/// How long a mail waits after an attempt.
fn wait(id: Uuid, attempt: u32) -> Duration {
    let failed = ClaimedMail {
        id: Id::new(id),
        attempt,
        ..mail()
    };
    let mut ports = Ports::new().due(&failed).sending(Err(out_of_reach()));
    let (sender, settled) = mpsc::channel();
    ports
        .outbox
        .expect_settle()
        .once()
        .returning(move |_, settlement| {
            sender.send(settlement).unwrap();
            Ok(())
        });
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(ports.deliver_next()).unwrap();
    let Settlement::Retry(at) = settled.recv().unwrap() else {
        panic!("it is not tried again");
    };
    at.since(noon())
}

/// The longest wait after an attempt: 1 s, 2 s, 4 s and so on, up to 5 min.
fn interval(attempt: u32) -> Duration {
    let seconds = 2_u64.saturating_pow(attempt - 1);
    Duration::from_secs(seconds.min(300))
}

/// An id as the service makes it: version 7, with a random end.
fn id_of_noon(random: u64) -> Uuid {
    let millis = noon().unix_micros().unsigned_abs() / 1000;
    let mut end = [0; 10];
    end[2..].copy_from_slice(&random.to_be_bytes());
    Builder::from_unix_timestamp_millis(millis, &end).into_uuid()
}

proptest! {
    #[test]
    fn the_wait_doubles_up_to_a_limit_and_lies_between_half_of_it_and_all(
        id: u128,
        attempt in prop_oneof![1..=12_u32, 1..=400_u32, 1..=u32::MAX],
    ) {
        let (wait, interval) = (wait(Uuid::from_u128(id), attempt), interval(attempt));
        prop_assert!(interval / 2 <= wait && wait <= interval, "{wait:?} of {interval:?}");
    }

    #[test]
    fn a_mail_waits_longer_after_each_attempt_until_the_limit(random: u64, attempt in 1..=8_u32) {
        let id = id_of_noon(random);
        prop_assert!(wait(id, attempt) <= wait(id, attempt + 1));
    }
}

/// Else a mail server that comes back would be asked for all of them in the same moment.
#[test]
fn mails_that_failed_together_are_tried_again_at_different_times() {
    const MAILS: u64 = 64;
    for attempt in 1..=100 {
        let random = (0..MAILS).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut waits: Vec<_> = random.map(|n| wait(id_of_noon(n), attempt)).collect();
        waits.sort();
        waits.dedup();
        let spread = waits.last().unwrap().abs_diff(*waits.first().unwrap());
        assert!(spread > interval(attempt) / 5, "{attempt}: {spread:?}");
        assert!(waits.len() > 50, "{attempt}: {waits:?}");
    }
}

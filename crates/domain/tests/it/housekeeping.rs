//! Removing leftovers, over a mocked store.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use mockall::Sequence;
use mockall::predicate::eq;
use tasks_domain::clock::Timestamp;
use tasks_domain::housekeeping::{
    HousekeepingService, Leftover, MockHousekeeping, Removal, Retention,
};
use tasks_testkit::clock::{FrozenClock, noon};

use crate::unavailable;

const A_DAY: Duration = Duration::from_hours(24);
const BATCH: u32 = HousekeepingService::BATCH;

fn keeping_deleted_tasks(
    store: MockHousekeeping,
    clock: FrozenClock,
    kept_for: Option<Duration>,
) -> HousekeepingService {
    let retention = Retention {
        deleted_tasks: kept_for,
    };
    HousekeepingService::new(Arc::new(store), Arc::new(clock), retention)
}

/// A store that answers so, one removal after the other, and refuses any further.
fn answering<const N: usize>(removals: [Removal; N]) -> MockHousekeeping {
    let mut store = MockHousekeeping::new();
    let mut in_order = Sequence::new();
    for removal in removals {
        store
            .expect_remove()
            .once()
            .in_sequence(&mut in_order)
            .returning(move |_, _, _| Ok(removal));
    }
    store
}

/// How many sessions are removed.
async fn sessions<const N: usize>(removals: [Removal; N]) -> u64 {
    let service = keeping_deleted_tasks(answering(removals), FrozenClock::at_noon(), None);
    service.clean_up(Leftover::Sessions).await.unwrap()
}

#[tokio::test]
async fn each_kind_is_removed_in_batches_once_it_was_kept_for_its_time() {
    let before = |what| match what {
        Leftover::Sessions | Leftover::RefreshTokens | Leftover::MailTokens => noon(),
        Leftover::DeadMails => noon().minus(7 * A_DAY),
        Leftover::DeletedTasks => noon().minus(30 * A_DAY),
    };
    for what in Leftover::ALL {
        let mut store = MockHousekeeping::new();
        store
            .expect_remove()
            .once()
            .with(eq(what), eq(before(what)), eq(BATCH))
            .returning(|_, _, _| Ok(Removal::Removed(1)));
        let clock = FrozenClock::at_noon();
        let service = keeping_deleted_tasks(store, clock, Some(30 * A_DAY));
        assert_eq!(service.clean_up(what).await.unwrap(), 1, "{what:?}");
    }
}

#[tokio::test]
async fn batches_follow_one_another_until_one_is_short() {
    let (full, short) = (Removal::Removed(BATCH), Removal::Removed(BATCH - 1));
    let batch = u64::from(BATCH);
    assert_eq!(sessions([Removal::Removed(0)]).await, 0);
    assert_eq!(sessions([short]).await, batch - 1);
    assert_eq!(sessions([full, Removal::Removed(0)]).await, batch);
    assert_eq!(sessions([full, full, short]).await, 3 * batch - 1);
}

#[tokio::test]
async fn removing_stops_where_another_instance_is_at_it_too() {
    assert_eq!(sessions([Removal::Busy]).await, 0);
    let full = Removal::Removed(BATCH);
    assert_eq!(sessions([full, Removal::Busy]).await, u64::from(BATCH));
}

/// Else a store that is written to all the time would never be clean.
#[tokio::test]
async fn what_becomes_a_leftover_meanwhile_waits_for_the_next_time() {
    let mut store = MockHousekeeping::new();
    let clock = FrozenClock::at_noon();
    let (moving, mut batches) = (clock.clone(), 3);
    store
        .expect_remove()
        .times(3)
        .with(eq(Leftover::Sessions), eq(noon()), eq(BATCH))
        .returning(move |_, _, _| {
            moving.advance(A_DAY);
            batches -= 1;
            Ok(Removal::Removed(if batches > 0 { BATCH } else { 0 }))
        });
    let service = keeping_deleted_tasks(store, clock, None);
    let removed = service.clean_up(Leftover::Sessions).await.unwrap();
    assert_eq!(removed, 2 * u64::from(BATCH));
}

/// The mock refuses to be asked.
#[tokio::test]
async fn deleted_tasks_are_kept_for_ever_where_the_operator_says_so() {
    let service = keeping_deleted_tasks(MockHousekeeping::new(), FrozenClock::at_noon(), None);
    let removed = service.clean_up(Leftover::DeletedTasks).await.unwrap();
    assert_eq!(removed, 0);
}

#[tokio::test]
async fn what_is_kept_for_longer_than_there_was_time_stays() {
    let mut store = MockHousekeeping::new();
    store
        .expect_remove()
        .once()
        .with(eq(Leftover::DeletedTasks), eq(Timestamp::MIN), eq(BATCH))
        .returning(|_, _, _| Ok(Removal::Removed(0)));
    let clock = FrozenClock::at_noon();
    let service = keeping_deleted_tasks(store, clock, Some(Duration::MAX));
    assert!(service.clean_up(Leftover::DeletedTasks).await.is_ok());
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_and_not_asked_again() {
    let mut store = answering([Removal::Removed(BATCH)]);
    store
        .expect_remove()
        .once()
        .returning(|_, _, _| Err(unavailable()));
    let service = keeping_deleted_tasks(store, FrozenClock::at_noon(), None);
    assert!(service.clean_up(Leftover::Sessions).await.is_err());
}

#[test]
fn every_kind_has_a_name_of_its_own() {
    let names = Leftover::ALL.map(Leftover::as_str);
    assert_eq!(HashSet::from(names).len(), Leftover::ALL.len());
}

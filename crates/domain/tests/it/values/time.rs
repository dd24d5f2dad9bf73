//! Instants.

use std::time::Duration;

use proptest::prelude::*;
use tasks_domain::clock::Timestamp;
use tasks_testkit::clock::noon;
use time::macros::datetime;
use time::{OffsetDateTime, UtcOffset};

fn micros() -> impl Strategy<Value = i64> {
    Timestamp::MIN.unix_micros()..=Timestamp::MAX.unix_micros()
}

#[test]
fn instants_lie_within_the_years_1_to_9999_of_utc() {
    let first = datetime!(0001-01-01 00:00 UTC);
    let last = datetime!(9999-12-31 23:59:59.999_999 UTC);
    assert_eq!(Timestamp::new(first), Some(Timestamp::MIN));
    assert_eq!(Timestamp::new(last), Some(Timestamp::MAX));
    assert_eq!(
        (Timestamp::MIN.to_utc(), Timestamp::MAX.to_utc()),
        (first, last)
    );
    // In their own time zones these are within, in UTC they are not.
    assert_eq!(Timestamp::new(datetime!(0001-01-01 00:00 +01:00)), None);
    assert_eq!(Timestamp::new(datetime!(9999-12-31 23:30 -01:00)), None);
    let (min, max) = (Timestamp::MIN.unix_micros(), Timestamp::MAX.unix_micros());
    for outside in [min - 1, max + 1, i64::MIN, i64::MAX] {
        assert_eq!(Timestamp::from_unix_micros(outside), None);
    }
}

#[test]
fn the_last_moment_of_9999_is_within() {
    let last = datetime!(9999-12-31 23:59:59.999_999_999 UTC);
    assert_eq!(Timestamp::new(last), Some(Timestamp::MAX));
}

#[test]
fn adding_stops_at_the_end_of_time_and_an_age_is_never_negative() {
    assert_eq!(
        Timestamp::MAX.plus(Duration::from_micros(1)),
        Timestamp::MAX
    );
    assert_eq!(noon().plus(Duration::MAX), Timestamp::MAX);
    assert_eq!(Timestamp::MIN.plus(Duration::ZERO), Timestamp::MIN);
    let later = noon().plus(Duration::from_secs(90));
    assert_eq!(later.since(noon()), Duration::from_secs(90));
    assert_eq!(noon().since(later), Duration::ZERO);
    assert!(Timestamp::MAX.since(Timestamp::MIN) > Duration::from_hours(24 * 365 * 9998));
}

#[test]
fn subtracting_stops_at_the_beginning_of_time() {
    let before = noon().minus(Duration::from_secs(90));
    assert_eq!(noon().since(before), Duration::from_secs(90));
    let microsecond = Duration::from_micros(1);
    assert_eq!(Timestamp::MIN.minus(microsecond), Timestamp::MIN);
    assert_eq!(noon().minus(Duration::MAX), Timestamp::MIN);
    assert_eq!(Timestamp::MAX.minus(Duration::ZERO), Timestamp::MAX);
}

#[test]
fn an_instant_shows_itself_in_utc() {
    assert!(format!("{:?}", noon()).starts_with("2030-06-15 12:00:00"));
}

proptest! {
    #[test]
    fn an_instant_reads_back(micros in micros()) {
        let at = Timestamp::from_unix_micros(micros).unwrap();
        prop_assert_eq!(at.unix_micros(), micros);
        prop_assert_eq!(at.to_utc().offset(), UtcOffset::UTC);
        prop_assert_eq!(Timestamp::new(at.to_utc()), Some(at));
        prop_assert_eq!(i128::from(at.unix_seconds()), i128::from(at.to_utc().unix_timestamp()));
    }

    #[test]
    fn an_instant_is_cut_to_the_microsecond_before_or_after_1970(
        micros in -1_000_000_000_i64..1_000_000_000,
        nanos in 0..1000_i128,
    ) {
        let exact = i128::from(micros) * 1000 + nanos;
        let at = OffsetDateTime::from_unix_timestamp_nanos(exact).unwrap();
        prop_assert_eq!(Timestamp::new(at).unwrap().unix_micros(), micros);
    }

    #[test]
    fn an_instant_is_the_same_in_every_time_zone(micros in 0..1_000_000_000_000_i64, hours in -23..=23_i8) {
        let at = Timestamp::from_unix_micros(micros).unwrap();
        let offset = UtcOffset::from_hms(hours, 0, 0).unwrap();
        prop_assert_eq!(Timestamp::new(at.to_utc().to_offset(offset)), Some(at));
    }

    #[test]
    fn instants_compare_and_differ_as_their_numbers(first in micros(), second in micros()) {
        let [a, b] = [first, second].map(|micros| Timestamp::from_unix_micros(micros).unwrap());
        prop_assert_eq!(a.cmp(&b), first.cmp(&second));
        let age = u128::try_from(i128::from(second) - i128::from(first)).unwrap_or(0);
        prop_assert_eq!(b.since(a).as_micros(), age);
    }

    #[test]
    fn adding_and_subtracting_are_inverse_within_time(micros in micros(), other in micros()) {
        let at = Timestamp::from_unix_micros(micros).unwrap();
        let other = Timestamp::from_unix_micros(other).unwrap();
        let (first, last) = (at.min(other), at.max(other));
        prop_assert_eq!(last.minus(last.since(first)), first);
        prop_assert_eq!(first.plus(last.since(first)), last);
    }
}

#[test]
fn every_time_is_written_with_all_its_digits() {
    let text = |micros| Timestamp::from_unix_micros(micros).map(Timestamp::to_rfc3339);
    assert_eq!(text(0).unwrap(), "1970-01-01T00:00:00.000000Z");
    assert_eq!(text(-1).unwrap(), "1969-12-31T23:59:59.999999Z");
    assert_eq!(text(1_500_000).unwrap(), "1970-01-01T00:00:01.500000Z");
    assert_eq!(Timestamp::MIN.to_rfc3339(), "0001-01-01T00:00:00.000000Z");
    assert_eq!(Timestamp::MAX.to_rfc3339(), "9999-12-31T23:59:59.999999Z");
}

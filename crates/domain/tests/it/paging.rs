//! Pages.

use proptest::prelude::*;
use tasks_domain::page::{InvalidPage, Page, PageRequest};

fn page(total: u64, limit: u64) -> Page<()> {
    Page {
        items: Vec::new(),
        total,
        request: PageRequest::new(1, limit).unwrap(),
    }
}

/// Which of the two numbers are refused, page first.
fn refused(number: u64, limit: u64) -> (bool, bool) {
    let InvalidPage { page, limit } = PageRequest::new(number, limit).unwrap_err();
    assert!(
        [&page, &limit]
            .into_iter()
            .flatten()
            .all(|invalid| invalid.code == "range")
    );
    (page.is_some(), limit.is_some())
}

#[test]
fn a_page_is_the_first_of_twenty_unless_told_otherwise() {
    assert_eq!(PageRequest::default(), PageRequest::new(1, 20).unwrap());
}

#[test]
fn each_number_is_refused_for_itself() {
    assert_eq!(refused(0, 20), (true, false));
    assert_eq!(refused(1, 0), (false, true));
    assert_eq!(refused(1, 101), (false, true));
    assert_eq!(refused(0, 0), (true, true));
    assert_eq!(refused(u64::MAX, u64::MAX), (true, true));
    assert!(PageRequest::new(1, 1).is_ok() && PageRequest::new(1, 100).is_ok());
}

#[test]
fn a_page_is_refused_exactly_when_its_offset_does_not_fit_into_63_bits() {
    let most = u64::try_from(i64::MAX).unwrap();
    for limit in [1, 2, 3, 20, 99, 100] {
        let last = most / limit + 1;
        let request = PageRequest::new(last, limit).unwrap();
        assert_eq!(request.offset(), i64::try_from((last - 1) * limit).unwrap());
        assert_eq!(refused(last + 1, limit), (true, false));
        assert_eq!(refused(u64::MAX, limit), (true, false));
    }
}

#[test]
fn the_refusals_of_a_page_say_what_is_allowed() {
    let message = |number| {
        PageRequest::new(number, 1)
            .unwrap_err()
            .page
            .unwrap()
            .message
    };
    assert_eq!(message(0), "must be at least 1");
    assert_eq!(message(u64::MAX), "is too large");
    let invalid = PageRequest::new(1, 0).unwrap_err().limit.unwrap();
    assert_eq!(invalid.to_string(), "must be 1 to 100");
}

#[test]
fn pages_are_counted_by_ceiling_division() {
    let counted = [(0, 20), (1, 20), (20, 20), (21, 20), (5, 1), (u64::MAX, 1)];
    let pages = counted.map(|(total, limit)| page(total, limit).pages());
    assert_eq!(pages, [0, 1, 1, 2, 5, u64::MAX]);
}

proptest! {
    #[test]
    fn any_two_numbers_are_taken_or_refused(number: u64, limit: u64) {
        let in_range = (1..=100).contains(&limit);
        let offset = u128::from(number).wrapping_sub(1).wrapping_mul(u128::from(limit));
        let fits = number > 0 && i64::try_from(offset).is_ok();
        match PageRequest::new(number, limit) {
            Ok(request) => {
                prop_assert!(in_range && fits);
                prop_assert_eq!((request.number(), request.limit()), (number, limit));
            }
            Err(invalid) => {
                prop_assert!(!in_range || !fits);
                prop_assert_eq!(invalid.limit.is_none(), in_range);
            }
        }
    }

    #[test]
    fn the_offset_counts_the_items_before_the_page(number in 1..1_000_000_u64, limit in 1..=100_u64) {
        let request = PageRequest::new(number, limit).unwrap();
        prop_assert_eq!(u64::try_from(request.offset()).unwrap(), (number - 1) * limit);
    }

    #[test]
    fn the_last_page_has_at_least_one_item(total in 1..=u64::MAX, limit in 1..=100_u64) {
        let pages = page(total, limit).pages();
        prop_assert!((pages - 1) * limit < total);
        prop_assert!(u128::from(pages) * u128::from(limit) >= u128::from(total));
    }
}

//! The rules of the values.

mod account;
mod text;
mod time;

use tasks_domain::category::Color;
use tasks_domain::id::Id;
use tasks_domain::patch::Patch;
use tasks_domain::task::{Priority, SortBy, SortOrder, Task, TaskStatus, Version, due_in_future};
use tasks_testkit::build;
use tasks_testkit::clock::{just_after, just_before, noon};

use proptest::prelude::*;

#[test]
fn a_colour_is_a_hash_and_six_hex_digits() {
    for good in ["#000000", "#ffffff", "#ABCDEF", "#a1B2c3"] {
        assert_eq!(Color::parse(good).unwrap().as_str(), good);
        assert_eq!(
            Color::parse(&format!(" \t{good}\n")).unwrap().as_str(),
            good
        );
    }
    let bad = [
        "",
        "#",
        "000000",
        "#00000",
        "#0000000",
        "#00000g",
        "##00000",
        "#12 456",
        "#１２３４５６",
        "#ééé",
        "#+12345",
        "#00000\0",
        "red",
    ];
    for bad in bad {
        assert_eq!(Color::parse(bad).unwrap_err().code, "format", "{bad}");
    }
    assert_eq!(Color::default().as_str(), "#6366F1");
}

proptest! {
    #[test]
    fn a_colour_is_kept_as_it_was_given(color in "#[0-9A-Fa-f]{6}") {
        let parsed = Color::parse(&color).unwrap();
        prop_assert_eq!(parsed.as_str(), color);
    }

    #[test]
    fn any_other_text_is_no_colour(text in "\\PC{0,8}") {
        let digits = text.trim().strip_prefix('#').unwrap_or_default();
        let is_color = digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        prop_assert_eq!(Color::parse(&text).is_ok(), is_color);
    }
}

#[test]
fn a_due_date_has_to_be_later_than_now() {
    assert_eq!(due_in_future(just_after(noon()), noon()), Ok(()));
    for due in [noon(), just_before(noon())] {
        assert_eq!(due_in_future(due, noon()).unwrap_err().code, "past");
    }
}

#[test]
fn a_version_begins_at_one_and_counts_up() {
    assert_eq!(Version::parse(1), Ok(Version::FIRST));
    assert_eq!(Version::FIRST.next().get(), 2);
    for wrong in [0, -1, i64::MIN] {
        assert_eq!(Version::parse(wrong).unwrap_err().code, "range");
    }
    let last = Version::parse(i64::MAX).unwrap();
    assert_eq!(last.next(), last);
}

#[test]
fn every_name_names_its_value_and_no_other_text_does() {
    for value in TaskStatus::ALL {
        assert_eq!(TaskStatus::parse(value.as_str()), Ok(value));
    }
    for value in Priority::ALL {
        assert_eq!(Priority::parse(value.as_str()), Ok(value));
    }
    for value in SortBy::ALL {
        assert_eq!(SortBy::parse(value.as_str()), Ok(value));
    }
    for value in SortOrder::ALL {
        assert_eq!(SortOrder::parse(value.as_str()), Ok(value));
    }
    for wrong in ["", "Pending", " pending", "low ", "none", "id"] {
        assert!(TaskStatus::parse(wrong).is_err());
        assert!(Priority::parse(wrong).is_err());
        assert!(SortBy::parse(wrong).is_err());
        assert!(SortOrder::parse(wrong).is_err());
    }
    let refused = Priority::parse("urgent").unwrap_err();
    assert_eq!(refused.code, "one_of");
    assert_eq!(refused.to_string(), "must be one of low, medium, high");
    assert_eq!(
        TaskStatus::ALL.map(TaskStatus::as_str),
        ["pending", "in_progress", "completed"]
    );
}

#[test]
fn priorities_sort_by_rank() {
    assert!(Priority::Low < Priority::Medium && Priority::Medium < Priority::High);
    assert!(Priority::ALL.is_sorted());
}

#[test]
fn a_patch_keeps_clears_or_sets() {
    for current in [None, Some(1)] {
        assert_eq!(Patch::Keep.apply(current), current);
        assert_eq!(Patch::Clear.apply(current), None);
        assert_eq!(Patch::Set(2).apply(current), Some(2));
    }
    assert_eq!(Patch::<()>::default(), Patch::Keep);
}

#[test]
fn ids_compare_and_read_as_their_uuids() {
    let (first, second): (Id<Task>, Id<Task>) = (build::id(), build::id());
    assert!(first < second && first != second);
    assert_eq!(first, Id::new(first.uuid()));
    assert_eq!(first.to_string(), first.uuid().to_string());
    assert_eq!(format!("{first:?}"), first.uuid().to_string());
}

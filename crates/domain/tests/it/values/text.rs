//! Text of a bounded length.

use std::ops::RangeInclusive;

use proptest::prelude::*;
use tasks_domain::account::FullName;
use tasks_domain::category::CategoryName;
use tasks_domain::task::{TaskDescription, TaskTitle};
use tasks_domain::text::Invalid;

/// A type of text: how it parses, and its length.
type Kind = (fn(&str) -> Result<String, Invalid>, RangeInclusive<usize>);

const KINDS: [Kind; 4] = [
    (
        |raw| TaskTitle::parse(raw).map(TaskTitle::into_string),
        3..=200,
    ),
    (
        |raw| TaskDescription::parse(raw).map(TaskDescription::into_string),
        0..=2000,
    ),
    (
        |raw| CategoryName::parse(raw).map(CategoryName::into_string),
        3..=50,
    ),
    (
        |raw| FullName::parse(raw).map(FullName::into_string),
        1..=200,
    ),
];

#[test]
fn lengths_are_those_of_the_contract_in_characters_of_any_number_of_bytes() {
    for (parse, length) in KINDS {
        let (min, max) = (*length.start(), *length.end());
        for character in ["a", "é", "題", "🦀"] {
            for good in [min, max] {
                let text = character.repeat(good);
                assert_eq!(parse(&text), Ok(text));
            }
            assert_eq!(
                parse(&character.repeat(max + 1)).unwrap_err().code,
                "length"
            );
            if let Some(too_few) = min.checked_sub(1) {
                assert_eq!(
                    parse(&character.repeat(too_few)).unwrap_err().code,
                    "length"
                );
            }
        }
    }
}

#[test]
fn only_white_space_is_nothing() {
    for (parse, length) in KINDS {
        assert_eq!(parse(" \t\r\n\u{3000}\u{a0}").is_ok(), length.contains(&0));
    }
}

#[test]
fn the_refusal_says_what_is_allowed() {
    let message = |invalid: Invalid| invalid.message.into_owned();
    assert_eq!(
        message(TaskTitle::parse("ab").unwrap_err()),
        "must be 3 to 200 characters"
    );
    let long = "a".repeat(2001);
    let refused = TaskDescription::parse(&long).unwrap_err();
    assert_eq!(message(refused), "must be at most 2000 characters");
    let refused = TaskTitle::parse("nul\0").unwrap_err();
    assert_eq!(message(refused), "must not contain the character U+0000");
}

#[test]
fn text_reads_back_and_sorts_by_code_point() {
    let title = |raw| TaskTitle::parse(raw).unwrap();
    assert_eq!(title(" Water ").as_str(), "Water");
    let sorted = ["Zebra", "apple", "Ärger", "～～～", "😀😀😀"].map(title);
    assert!(sorted.is_sorted());
}

proptest! {
    #[test]
    fn text_is_trimmed_and_then_counted(
        before in "[ \t\r\n\u{3000}]{0,3}",
        text in "[^\0]{0,60}",
        after in "[ \t\r\n\u{3000}]{0,3}",
    ) {
        let raw = format!("{before}{text}{after}");
        for (parse, length) in KINDS {
            let trimmed = text.trim();
            let parsed = parse(&raw);
            prop_assert_eq!(parsed.is_ok(), length.contains(&trimmed.chars().count()));
            if let Ok(parsed) = parsed {
                prop_assert_eq!(&parsed, trimmed);
                prop_assert_eq!(parse(&parsed), Ok(parsed));
            }
        }
    }

    #[test]
    fn a_nul_is_refused_wherever_it_stands(before in "[^\0]{0,30}", after in "[^\0]{0,30}") {
        let raw = format!("{before}\0{after}");
        for (parse, _) in KINDS {
            prop_assert_eq!(parse(&raw).unwrap_err().code, "nul");
        }
    }
}

//! Pages of a list.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;

use crate::text::Invalid;

/// Which page of a list is wanted: its number, from 1, and how many items a page has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    number: u64,
    limit: u64,
    offset: i64,
}

/// The refusals of a [`PageRequest`], each for its own parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvalidPage {
    /// What is wrong with the page's number.
    pub page: Option<Invalid>,
    /// What is wrong with the page's size.
    pub limit: Option<Invalid>,
}

impl PageRequest {
    /// How many items a page may have.
    pub const LIMIT: RangeInclusive<u64> = 1..=100;
    /// How many items a page has if the caller does not say.
    pub const DEFAULT_LIMIT: u64 = 20;

    /// Checks both numbers; the offset of the page must fit into 63 bits.
    pub fn new(number: u64, limit: u64) -> Result<Self, InvalidPage> {
        let mut invalid = InvalidPage::default();
        if !Self::LIMIT.contains(&limit) {
            invalid.limit = Some(Invalid::new(
                "range",
                format!("must be {} to {}", Self::LIMIT.start(), Self::LIMIT.end()),
            ));
        }
        let limit_for_offset = limit.clamp(*Self::LIMIT.start(), *Self::LIMIT.end());
        let offset = number
            .checked_sub(1)
            .and_then(|before| before.checked_mul(limit_for_offset))
            .and_then(|offset| i64::try_from(offset).ok());
        match offset {
            Some(offset) if invalid.limit.is_none() => Ok(Self {
                number,
                limit,
                offset,
            }),
            Some(_) => Err(invalid),
            None => {
                invalid.page = Some(if number == 0 {
                    Invalid::new("range", "must be at least 1")
                } else {
                    Invalid::new("range", "is too large")
                });
                Err(invalid)
            }
        }
    }

    /// The page's number, from 1.
    pub const fn number(self) -> u64 {
        self.number
    }

    /// How many items a page has.
    pub const fn limit(self) -> u64 {
        self.limit
    }

    /// How many items come before the page.
    pub const fn offset(self) -> i64 {
        self.offset
    }
}

impl Default for PageRequest {
    fn default() -> Self {
        Self {
            number: 1,
            limit: Self::DEFAULT_LIMIT,
            offset: 0,
        }
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The page's items; fewer than the limit only on the last page.
    pub items: Vec<T>,
    /// How many items the whole list has.
    pub total: u64,
    /// What was asked for.
    pub request: PageRequest,
}

impl<T> Page<T> {
    /// How many pages the list has: the total divided by the limit, rounded up.
    pub fn pages(&self) -> u64 {
        NonZeroU64::new(self.request.limit).map_or(0, |limit| self.total.div_ceil(limit.get()))
    }
}

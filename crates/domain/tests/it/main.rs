//! Tests of the domain: the use cases over mocked ports, and the rules of its values.

#![expect(
    clippy::unwrap_used,
    reason = "functions beside a test fail by panicking too"
)]

mod access;
mod account;
mod category;
mod housekeeping;
mod mail;
mod paging;
mod task;
mod values;

use tasks_domain::store::StoreError;

/// A store's failure.
fn unavailable() -> StoreError {
    StoreError::Unavailable("switched off by a test".into())
}

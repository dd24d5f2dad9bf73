//! For tests only: contract cases of every port, in-memory fakes, builders, a clock that stands still.
//!
//! * [`contract`]: what every adapter of a port must do, as named cases, and a macro per port that
//!   runs them on an adapter;
//! * [`fakes`]: every port in memory, which pass the same cases;
//! * [`build`]: valid values with sensible defaults;
//! * [`clock`] and [`ids`]: time and ids without luck;
//! * [`spans`]: what is traced and logged meanwhile;
//! * [`strategy`]: random tasks and queries for property tests.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "test code fails by panicking"
)]

pub mod build;
pub mod clock;
pub mod contract;
pub mod fakes;
pub mod ids;
#[cfg(feature = "servers")]
pub mod servers;
pub mod spans;
pub mod strategy;

/// The runtime that the macros of [`contract`] run their cases on.
pub use tokio;

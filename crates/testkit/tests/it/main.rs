//! The testkit's own tests: the fakes pass the contracts.

mod contracts;
mod fakes;

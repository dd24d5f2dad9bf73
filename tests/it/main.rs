//! The system tests: they start the real binary and speak HTTP to it.
//!
//! Each test has a service, a port and a folder of its own, so all of them run at once.
#![cfg(test)]

mod arrows;
mod bad_days;
mod configuration;
mod faults;
mod journey;
mod lifecycle;
mod readme;
mod stores;
mod support;
mod two_instances;

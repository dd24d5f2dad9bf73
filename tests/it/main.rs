//! The system tests: they start the real binary and speak HTTP to it.
//!
//! Each test has a service, a port and a folder of its own, so all of them run at once.
#![cfg(test)]

mod accounts;
mod arrows;
mod backup;
mod bad_days;
mod browser;
mod configuration;
mod faults;
mod journey;
mod lifecycle;
mod limits;
mod mails;
mod metrics;
mod readme;
mod secrets;
mod sessions;
mod stores;
mod support;
mod traces;
mod two_instances;

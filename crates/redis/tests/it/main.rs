//! The contract suites on a real server.
#![cfg(test)]

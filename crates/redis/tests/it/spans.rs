//! What a test's code traces.

pub(crate) use tasks_testkit::spans::{Fields, Seen, Spans};

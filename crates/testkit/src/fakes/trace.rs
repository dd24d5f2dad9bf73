//! A trace that is what a test says.

use tasks_domain::trace::{CurrentTrace, TraceParent};

/// Always at this place, or in no trace.
#[derive(Clone, Debug, Default)]
pub struct FakeTrace(pub Option<TraceParent>);

impl CurrentTrace for FakeTrace {
    fn parent(&self) -> Option<TraceParent> {
        self.0.clone()
    }
}

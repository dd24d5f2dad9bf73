//! Why a run ends before its time.

use std::error::Error;

/// Whatever went wrong, for a person to read.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

//! What can be wrong with any member or parameter, whatever it holds.

use tasks_domain::text::Invalid;

/// A member that has to be there is not.
pub(crate) fn missing() -> Invalid {
    Invalid::new("required", "must be given")
}

/// A member that must not be `null` is.
pub(crate) fn null() -> Invalid {
    Invalid::new("null", "must not be null")
}

/// A parameter is there twice.
pub(crate) fn repeated() -> Invalid {
    Invalid::new("repeated", "must be given once")
}

/// An id is none.
pub(crate) fn not_a_uuid() -> Invalid {
    Invalid::new("format", "must be a UUID")
}

//! The rules of the task service: entities, value types that parse, use cases, and the ports
//! (traits) through which use cases reach everything that is not a rule.
//!
//! Nothing here knows HTTP, SQL, a runtime or a wire format. Time, ids and randomness are ports
//! too, so that every rule can be tested without waiting and without luck.
//!
//! * [`account`]: who may come in, and how long they stay;
//! * [`task`] and [`category`]: what they work with;
//! * [`mail`]: what the service sends, by way of an outbox;
//! * [`housekeeping`]: what is removed when nobody needs it any more;
//! * [`store`], [`rate_limit`], [`health`], [`trace`]: the ports that are not an aggregate's own.

pub mod access;
pub mod account;
pub mod category;
pub mod clock;
pub mod health;
pub mod housekeeping;
pub mod id;
pub mod mail;
pub mod page;
pub mod patch;
pub mod rate_limit;
pub mod store;
pub mod task;
pub mod text;
pub mod trace;

/// An error of any origin, carried for the log, never shown to a caller.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

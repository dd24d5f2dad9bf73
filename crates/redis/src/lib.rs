//! Rate limits and signed-in users that several instances share, in Redis.

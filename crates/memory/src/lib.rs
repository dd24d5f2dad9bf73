//! Rate limiter and signed-in cache inside the process, for runs without Redis.

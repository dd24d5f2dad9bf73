//! The testkit's own tests: the fakes pass the contracts, the servers obey.

#[cfg(feature = "servers")]
mod collector;
mod contracts;
mod fakes;
#[cfg(feature = "servers")]
mod servers;

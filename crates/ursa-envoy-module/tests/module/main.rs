//! The built library: what it is made of, what it does to a plain list of headers, and what Envoy does with it.

#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![expect(unsafe_code, reason = "the tests stand in for Envoy, which speaks C")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod baggage;
mod cases;
mod envoy;
mod file;
mod hooks;
mod hostile;
mod loaded;
mod replay;
mod stand_in;
mod ways;

//! The formats by the texts that define them, what a request becomes, and what holds for all.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod baggage;
mod baggage_rules;
mod conformance;
mod limits;
mod properties;
mod request;
mod table;
mod under_rules;
mod vectors;

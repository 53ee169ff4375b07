//! What is generated, as people review it and as real Envoys take it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod agent;
mod cases;
mod live;
mod members;
mod peers;
mod proxies;

//! What is generated, as people review it and as real Envoys take it.

mod agent;
mod cases;
mod live;
mod peers;
mod proxies;

//! A whole control plane in this process, an ADS client of our own over TLS, and its REST API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod agent;
mod changes;
mod credentials;
#[path = "../../../ursa-metrics/tests/exposition/mod.rs"]
mod exposition;
mod identities;
mod metrics;
mod monitoring;
mod own_traces;
mod propagation;
mod questions;
mod requests;
mod rest;
mod restart;
mod routes;
mod secrecy;
mod shadows;
mod shop;
mod streams;

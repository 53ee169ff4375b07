//! One proxy as a small typed picture, and its translation to Envoy configuration.
//!
//! - [`abilities`]: what a proxy's Envoy can do.
//! - [`proxy`]: the picture that policies change.
//! - [`mod@resources`]: the picture as Envoy resources (xDS), each with a version made of its content.
//! - [`mod@bootstrap`]: what Envoy is started with.
//! - [`module`]: the hooks around Envoy's tracer.
//! - [`mod@offline`]: both in one, for Envoy's own `--mode validate`.
//! - [`json`]: any of these as JSON, for people and for Envoy's command line.
//! - [`cel`]: whether a text is an expression.
//! - [`mod@format`]: the texts of access logs, with Envoy's command operators.
//! - [`mod@baggage`]: members of W3C Baggage in those texts.
//! - [`mod@check`]: a second look at the result.
//! - [`request`]: what becomes of one request at a listener.
//! - [`questions`]: what the control plane asks an agent.
//! - [`identity`]: how an agent gets a certificate.
//!
//! Pure: nothing here opens a file, a socket or a clock, and the same input gives the same bytes.
//! What is *not* here: policies, stores, and how resources travel.

pub mod abilities;
pub mod baggage;
pub mod bootstrap;
pub mod cel;
pub mod check;
pub mod format;
pub mod identity;
pub mod json;
pub mod module;
pub mod offline;
pub mod proxy;
pub mod questions;
pub mod request;
pub mod resources;

mod access_log;
mod b3;
mod cluster;
mod credentials;
mod health;
mod listener;
mod parts;
mod permission;
mod retry;
mod route;
mod tags;
mod tls;

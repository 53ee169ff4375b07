//! OTLP on its wire form: checking, editing, and other formats into and out of it.
//!
//! Everything here takes bytes and gives bytes; a request that passed [`wire::check`] can be edited,
//! split and translated without being decoded.
//!
//! Not here: sockets, files, clocks; where telemetry comes from and where it goes.

pub mod access_log;
pub mod datadog;
mod form;
pub mod json;
pub mod process;
mod signal;
mod spans;
pub mod wire;
pub mod zipkin;

pub use form::Form;
pub use signal::Signal;

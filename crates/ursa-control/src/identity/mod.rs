//! Mutual TLS of a mesh: authorities, certificates for proxies, and who holds one.
//!
//! - [`keeper`] makes or reads the authorities that a Mesh names, and hands them to the planner.
//! - [`authority`] signs; [`trust`] says what each proxy is to hold.
//! - [`service`] is what agents call: for a certificate, and to say what they hold ([`holders`]).
//!
//! The private key of a proxy is made by its agent and stays there. Which names a certificate has is decided here, by
//! the proxy's Dataplane.

pub(crate) mod authority;
pub(crate) mod holders;
pub(crate) mod keeper;
mod limit;
pub(crate) mod missing;
pub(crate) mod service;
pub(crate) mod trust;

pub(crate) use holders::{Holders, Secured};
pub(crate) use keeper::Keeper;
pub(crate) use trust::Trust;

//! The proxy's identity: its key, its certificate, and whom it trusts.
//!
//! The control plane says what is to be held ([`ursa_model::identity::Identity`]). The key is made here, its certificate
//! is asked for on the connection to the control plane ([`calls`]), and both are given to Envoy through the relay, which
//! answers Envoy's SDS ([`secret`]). The key is never written anywhere. What is held serves until its successor is there.

mod calls;
mod key;
mod secret;
mod task;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use ursa_envoy::resources::IDENTITY;
use ursa_model::identity::Identity;

use crate::relay::{Own, Verdicts};
pub(crate) use calls::Caller;
pub(crate) use secret::Secrets;
pub(crate) use task::Task;

/// Messages to the relay that may wait for it.
const WAITING: usize = 4;

/// The relay's end.
#[derive(Debug)]
pub(crate) struct Port {
    told: watch::Sender<Option<Arc<Identity>>>,
    /// What Envoy is to be given.
    pub(crate) secrets: mpsc::Receiver<Secrets>,
    /// Whether Envoy has taken all of it, and listeners that use it.
    pub(crate) taken: watch::Sender<bool>,
}

/// The task's end.
#[derive(Debug)]
pub(crate) struct End {
    told: watch::Receiver<Option<Arc<Identity>>>,
    secrets: mpsc::Sender<Secrets>,
    taken: watch::Receiver<bool>,
}

/// What lies between the relay and the task.
pub(crate) fn port() -> (Port, End) {
    let (told, hears) = watch::channel(None);
    let (gives, secrets) = mpsc::channel(WAITING);
    let (taken, sees) = watch::channel(false);
    (Port { told, secrets, taken }, End { told: hears, secrets: gives, taken: sees })
}

impl Port {
    /// Does as the agent's own resources say, or says what it refuses.
    pub(crate) fn configure(&self, own: &Own, verdicts: &mut Verdicts) {
        let mut told = None;
        for (name, item) in own.of(IDENTITY) {
            match serde_json::from_slice::<Identity>(&item.body.value) {
                Ok(identity) => told = Some(Arc::new(identity)),
                Err(error) => {
                    verdicts.refuse(IDENTITY, name, &format!("it cannot be read: {error}"));
                    return;
                }
            }
        }
        self.told.send_if_modified(|before| {
            let differs = *before != told;
            *before = told;
            differs
        });
    }
}

/// How it stands, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IdentityStatus {
    /// The backend that is to sign; none: mTLS is off.
    pub(crate) backend: Option<String>,
    /// The certificate; none: it has none yet.
    pub(crate) certificate: Option<CertificateStatus>,
    /// Whether Envoy takes connections with it.
    pub(crate) serving: bool,
    /// Why the last attempt to get one failed.
    pub(crate) error: Option<String>,
}

/// A certificate, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CertificateStatus {
    /// The backend that signed.
    pub(crate) backend: String,
    /// Who that is.
    pub(crate) issuer: String,
    /// In hexadecimal.
    pub(crate) serial: String,
    /// URIs.
    pub(crate) names: Vec<String>,
    /// Seconds since 1970.
    pub(crate) not_before: i64,
    /// Seconds since 1970.
    pub(crate) not_after: i64,
}

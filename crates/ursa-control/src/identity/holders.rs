//! Which certificate each proxy holds, as its agent says, and who takes connections with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};
use ursa_envoy::identity::Issued;
use ursa_model::ProxyId;

use crate::snapshot::Snapshots;

/// What one proxy holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Holding {
    /// Without the chain; none: it holds none.
    pub(crate) certificate: Option<Issued>,
    /// Whether its Envoy takes connections with it.
    pub(crate) serving: bool,
    /// When its agent said so first.
    since: Timestamp,
    /// Certificates that it has held, as far as is known.
    certificates: u64,
}

/// What all proxies hold.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    held: Mutex<BTreeMap<ProxyId, Holding>>,
}

impl Holders {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ProxyId, Holding>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what an agent says.
    pub(crate) fn note(
        &self,
        id: &ProxyId,
        certificate: Option<Issued>,
        serving: bool,
        now: Timestamp,
    ) {
        let certificate = certificate.map(|it| Issued { chain: String::new(), ..it });
        let mut held = self.lock();
        let (mut since, mut certificates) = (now, u64::from(certificate.is_some()));
        if let Some(before) = held.get(id) {
            let same = before.certificate == certificate;
            since = if same { before.since } else { now };
            certificates = before.certificates + u64::from(!same && certificate.is_some());
        }
        held.insert(id.clone(), Holding { certificate, serving, since, certificates });
    }

    /// Forgets proxies without a Dataplane.
    pub(crate) fn retain(&self, snapshots: &Snapshots) {
        self.lock().retain(|id, _| snapshots.mesh(&id.mesh).proxy(&id.name).is_some());
    }

    /// Who of a mesh takes connections with its certificate.
    pub(crate) fn of_mesh(&self, mesh: &str) -> (BTreeSet<String>, BTreeSet<String>) {
        let held = self.lock();
        let of_mesh = held.iter().filter(|(id, _)| id.mesh == mesh);
        let (mut serving, mut known) = (BTreeSet::new(), BTreeSet::new());
        for (id, holding) in of_mesh {
            known.insert(id.name.clone());
            if holding.serving {
                serving.insert(id.name.clone());
            }
        }
        (serving, known)
    }

    /// The soonest end of a certificate, by mesh.
    pub(crate) fn soonest(&self) -> BTreeMap<String, i64> {
        let mut soonest = BTreeMap::new();
        for (id, holding) in self.lock().iter() {
            if let Some(certificate) = &holding.certificate {
                let end = soonest.entry(id.mesh.clone()).or_insert(i64::MAX);
                *end = certificate.not_after.min(*end);
            }
        }
        soonest
    }

    /// Whether a proxy holds a certificate that is valid at that time.
    pub(crate) fn holds_valid(&self, id: &ProxyId, now: Timestamp) -> bool {
        let held = self.lock();
        held.get(id).and_then(|it| it.certificate.as_ref()).is_some_and(|certificate| {
            (certificate.not_before..certificate.not_after).contains(&now.as_second())
        })
    }

    /// For people: what a proxy holds. Kuma's names where it has one.
    pub(crate) fn show(&self, id: &ProxyId) -> Value {
        let held = self.lock();
        let Some(Holding { certificate: Some(certificate), serving, since, certificates }) =
            held.get(id)
        else {
            return Value::Null;
        };
        let at = |seconds| Timestamp::from_second(seconds).ok().map(|at| at.to_string());
        json!({
            "issuedBackend": certificate.backend,
            "issuer": certificate.issuer,
            "serial": certificate.serial,
            "names": certificate.names,
            "certificateStartTime": at(certificate.not_before),
            "certificateExpirationTime": at(certificate.not_after),
            "lastCertificateRegeneration": since.to_string(),
            "certificateRegenerations": certificates,
            "serving": serving,
        })
    }
}

/// Who of a mesh takes connections with a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Secured {
    /// Those whose agents say so.
    pub(crate) serving: BTreeSet<String>,
    /// Those whose agents have said anything since this control plane started.
    pub(crate) known: BTreeSet<String>,
    /// Whether the others are taken for secured: just after a start, when agents are still on their way back.
    pub(crate) assumed: bool,
}

impl Secured {
    /// Whether a proxy may be called with TLS where it need not be.
    pub(crate) fn holds(&self, proxy: &str) -> bool {
        self.serving.contains(proxy) || (self.assumed && !self.known.contains(proxy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_spoken_yet_is_taken_for_secured_only_at_first() {
        let holders = Holders::default();
        let certificate = Issued { not_after: 9, serial: "1".to_owned(), ..Issued::default() };
        let id = |name: &str| ProxyId::new("default", name);
        let now = Timestamp::UNIX_EPOCH;
        holders.note(&id("a"), Some(certificate.clone()), true, now);
        holders.note(&id("b"), None, false, now);
        let (serving, known) = holders.of_mesh("default");
        let mut secured = Secured { serving, known, assumed: true };
        assert_eq!(["a", "b", "c"].map(|name| secured.holds(name)), [true, false, true]);
        secured.assumed = false;
        assert_eq!(["a", "b", "c"].map(|name| secured.holds(name)), [true, false, false]);

        let renewed = Issued { not_after: 12, serial: "2".to_owned(), ..Issued::default() };
        holders.note(&id("a"), Some(renewed), true, now);
        assert_eq!(holders.show(&id("a"))["certificateRegenerations"], 2);
        assert_eq!(holders.show(&id("b")), Value::Null);
        assert_eq!(holders.soonest(), BTreeMap::from([("default".to_owned(), 12)]));
        holders.retain(&Snapshots::default());
        assert_eq!(holders.soonest(), BTreeMap::new());
    }
}

//! Whom the proxies of a mesh trust, and what one of them is to hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::google::protobuf::Any;
use ursa_envoy::resources::{IDENTITY, IDENTITY_NAME, Resource};
use ursa_model::dataplane::SERVICE_TAG;
use ursa_model::identity::Identity;
use ursa_model::mesh::AuthorityBackend;

use super::authority::MeshAuthority;
use crate::snapshot::Proxy;

/// Names in one certificate; those beyond are left out.
pub(crate) const MAX_NAMES: usize = 256;

/// The authorities of a mesh that can be used, and why others cannot.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    /// By the backend's name.
    pub(crate) authorities: BTreeMap<String, Arc<MeshAuthority>>,
    /// By the backend's name.
    pub(crate) problems: BTreeMap<String, String>,
}

impl Trust {
    /// What the agent of `proxy` is to hold while `backend` signs.
    pub(crate) fn identity(&self, backend: &AuthorityBackend, proxy: &Proxy) -> Identity {
        let authority = self.authorities.get(&backend.name);
        Identity {
            // Without the one that signs, nothing changes: what is held is better than what cannot be had.
            trust: authority.map_or_else(Vec::new, |_| self.certificates()),
            backend: backend.name.clone(),
            names: names(proxy),
            lifetime: backend.certificate_lifetime().get().as_secs(),
            authority: authority.map(|authority| authority.validity()),
        }
    }

    fn certificates(&self) -> Vec<String> {
        let all = self.authorities.values().map(|authority| authority.certificates().to_owned());
        let all: BTreeSet<_> = all.collect();
        all.into_iter().collect()
    }
}

/// An identity as it travels.
pub(crate) fn resource(identity: &Identity) -> BTreeMap<String, Resource> {
    let value = serde_json::to_vec(identity).unwrap_or_default();
    let body = Any { type_url: IDENTITY.to_owned(), value };
    BTreeMap::from([(IDENTITY_NAME.to_owned(), Resource::new(body))])
}

/// The names of a proxy, as Kuma 2.x writes them: one for each of its services, one for each of its tags' values.
pub(crate) fn names(proxy: &Proxy) -> Vec<String> {
    let mut services = BTreeSet::new();
    let mut tags = BTreeSet::new();
    for set in proxy.dataplane.tag_sets() {
        for (key, value) in set {
            if key == SERVICE_TAG {
                services.insert(value.as_str());
            }
            tags.insert((key.as_str(), value.as_str()));
        }
    }
    if services.is_empty() {
        services.insert(proxy.dataplane.service(&proxy.labels, &proxy.id.name));
    }
    let mesh = &proxy.id.mesh;
    let services = services.into_iter().map(|service| format!("spiffe://{mesh}/{service}"));
    let tags = tags.into_iter().map(|(key, value)| format!("kuma://{key}/{value}"));
    // A name of other characters could not stand in a certificate, and would keep all others out.
    services.chain(tags).filter(|name| name.is_ascii()).take(MAX_NAMES).collect()
}

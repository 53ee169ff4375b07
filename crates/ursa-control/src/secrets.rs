//! Secrets on their way to an agent: only those that its own pipeline names.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::google::protobuf::Any;
use ursa_envoy::resources::{Resource, SECRET};

use crate::snapshot::MeshSnapshot;

/// The resources of type [`SECRET`] for `names`, and the names that there is no Secret for.
///
/// A version is the store's, not made of the content: it is shown, and a hash of a short secret
/// would tell it.
pub(crate) fn resources(
    mesh: &MeshSnapshot,
    names: &BTreeSet<String>,
) -> (BTreeMap<String, Resource>, Vec<String>) {
    let mut found = BTreeMap::new();
    let mut missing = Vec::new();
    for name in names {
        let secret = mesh.secrets.get(name);
        let value = secret.and_then(|secret| Some((secret.version, secret.value.decode().ok()?)));
        let Some((version, value)) = value else {
            missing.push(name.clone());
            continue;
        };
        let body = Any { type_url: SECRET.to_owned(), value };
        found.insert(name.clone(), Resource { version: format!("v{version}"), body });
    }
    (found, missing)
}

//! The proxy that policies are selected for.

use std::collections::BTreeMap;

use ursa_model::dataplane::Dataplane;
use ursa_model::key::ProxyId;

/// What selection looks at of one proxy.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Mesh and name.
    pub id: &'a ProxyId,
    /// Its inbounds, their tags, its gateway.
    pub dataplane: &'a Dataplane,
    /// Labels of the Dataplane resource.
    pub labels: &'a BTreeMap<String, String>,
    /// The zone it is in, if zones have names here.
    pub zone: Option<&'a str>,
}

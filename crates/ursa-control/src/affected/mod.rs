//! Which proxies a change touches. The others are not looked at again.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use ursa_model::key::ResourceKey;
use ursa_policies::select::affects;

use crate::generate::Generated;
use crate::snapshot::MeshSnapshot;

/// What changed in a mesh between two of its snapshots.
#[derive(Debug)]
pub(crate) struct Difference<'a> {
    before: &'a MeshSnapshot,
    after: &'a MeshSnapshot,
    keys: &'a BTreeSet<ResourceKey>,
    services: BTreeSet<&'a str>,
}

impl<'a> Difference<'a> {
    /// Of two snapshots that differ in the resources `keys` at most.
    pub(crate) fn new(
        before: &'a MeshSnapshot,
        after: &'a MeshSnapshot,
        keys: &'a BTreeSet<ResourceKey>,
    ) -> Self {
        let mut services = BTreeSet::new();
        if keys.iter().any(|key| key.kind == "Dataplane") {
            let names = before.services.keys().chain(after.services.keys());
            services.extend(names.map(String::as_str).filter(|service| {
                let (old, new) = (before.services.get(*service), after.services.get(*service));
                // What did not change is shared, so most comparisons are of two pointers.
                !matches!((old, new), (Some(old), Some(new)) if std::sync::Arc::ptr_eq(old, new))
                    && old != new
            }));
        }
        Self { before, after, keys, services }
    }

    /// Whether it can change the configuration of the proxy `name`, which is `generated` now.
    pub(crate) fn touches(&self, zone: &str, name: &str, generated: Option<&Generated>) -> bool {
        let leads_to = |service: &&str| {
            generated.is_some_and(|generated| generated.destinations.contains(*service))
        };
        self.keys.iter().any(|key| self.touched_by(key, zone, name, generated))
            || self.services.iter().any(leads_to)
    }

    fn touched_by(
        &self,
        key: &ResourceKey,
        zone: &str,
        name: &str,
        generated: Option<&Generated>,
    ) -> bool {
        match key.kind.as_str() {
            "Mesh" => true,
            "Dataplane" => key.name == name && self.before.proxy(name) != self.after.proxy(name),
            "Secret" => generated.is_some_and(|generated| generated.secrets.contains(&key.name)),
            "MeshOpenTelemetryBackend" | "MeshTraceBackend" => {
                generated.is_some_and(|generated| generated.applied.depends_on(key))
            }
            _ => self.after.proxy(name).is_some_and(|proxy| {
                let (old, new) = (self.before.policy(key), self.after.policy(key));
                let routes = generated.map_or(&[][..], |generated| &generated.routes);
                affects(old.map(|it| &**it), new.map(|it| &**it), &proxy.subject(zone), routes)
            }),
        }
    }
}

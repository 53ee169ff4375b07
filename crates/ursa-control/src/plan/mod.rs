//! What a change of resources would do to proxies, before it is made.
//!
//! Everything is computed on snapshots with the documents laid over, and nothing is stored. Which proxies: those that the planner would look at
//! again. Of each: the values that differ and who sets them ([`values`]), the resources that differ ([`resources`]), and how much more or less
//! telemetry there would be at the rates of the moment ([`estimate`]).

mod estimate;
mod proposal;
mod resources;
#[cfg(test)]
mod tests;
mod values;

use serde::Serialize;
use ursa_envoy::abilities::Abilities;
use ursa_envoy::proxy::{Decider, LogSink, ProxyConfig};
use ursa_envoy::{bootstrap, json, offline};
use ursa_model::ProxyId;
use ursa_model::pipeline::Collection;
use ursa_policies::effective::Effective;

pub(crate) use self::estimate::{Estimate, Rates};
pub(crate) use self::proposal::Proposal;
pub(crate) use self::resources::ResourceChange;
use self::values::ValueChange;
use crate::affected::Difference;
use crate::generate::{self, Consider, Generated, Site};
use crate::snapshot::MeshSnapshot;

/// A proxy with the policies of one snapshot.
#[derive(Debug)]
struct Side {
    effective: Vec<Effective>,
    config: ProxyConfig,
    generated: Generated,
}

impl Side {
    fn of(mesh: &MeshSnapshot, name: &str, abilities: &Abilities, site: &Site) -> Option<Self> {
        let proxy = mesh.proxy(name)?;
        let effective = generate::policies(mesh, proxy, site, Consider::Applied);
        let (config, generated) = generate::compose(&effective, mesh, proxy, abilities, site);
        Some(Self { effective, config, generated })
    }

    /// Whether requests are told apart by more than their listener.
    fn has_rules(&self) -> bool {
        let mut routes = self.config.http_listeners().flat_map(|http| &http.routes.routes);
        routes.any(|route| {
            route.origin.is_some() || matches!(route.decided_by, Some(Decider::Rule(_)))
        })
    }
}

/// How trace context travels, in words; `None` where nothing is traced.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Travels {
    before: Option<String>,
    after: Option<String>,
}

impl Travels {
    fn of(before: Option<&Side>, after: Option<&Side>) -> Option<Self> {
        let words =
            |side: Option<&Side>| Some(side?.generated.applied.context.as_ref()?.to_string());
        let (before, after) = (words(before), words(after));
        (before != after).then_some(Self { before, after })
    }
}

/// What a change would do to one proxy.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProxyPlan {
    pub(crate) proxy: ProxyId,
    service: String,
    /// Values that policies set, which differ.
    values: Vec<ValueChange>,
    /// What it would be told otherwise.
    pub(crate) resources: Vec<ResourceChange>,
    /// Listeners whose connections would be asked to close.
    drains: Vec<String>,
    /// How trace context would travel, if otherwise than now.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_context: Option<Travels>,
    /// What would not work as written, and does not say so yet.
    warnings: Vec<String>,
    /// Whether routes or `sampling.rules` tell requests apart, now or then.
    #[serde(skip)]
    has_rules: bool,
    #[serde(skip)]
    before: Option<ProxyConfig>,
    #[serde(skip)]
    after: Option<Side>,
}

impl ProxyPlan {
    /// What telemetry there would be; of rates as they are now.
    pub(crate) fn estimate(&self, rates: &Rates) -> Estimate {
        let after = self.after.as_ref().map(|after| &after.config);
        Estimate::new(self.before.as_ref(), after, rates, self.has_rules)
    }

    /// What metrics its agent would gather, if others than now.
    pub(crate) fn collection(&self) -> Option<Collection> {
        let of =
            |config: Option<&ProxyConfig>| config.and_then(|it| it.pipeline.collection.clone());
        let after = of(self.after.as_ref().map(|after| &after.config));
        (of(self.before.as_ref()) != after).then(|| after.unwrap_or_default())
    }

    /// A bootstrap that holds all that Envoy would be told, for `envoy --mode validate`. Envoy opens the files of access logs even then: they
    /// lead nowhere. Nor is the module there, which lies beside the proxy: its hooks are left out. `None` of a proxy that would be gone.
    pub(crate) fn bootstrap(&self, site: &Site) -> Option<serde_json::Value> {
        let mut config = self.after.as_ref()?.config.clone();
        for log in config.listeners.iter_mut().flat_map(|listener| &mut listener.access_logs) {
            if let LogSink::File { path, .. } = &mut log.sink {
                "/dev/null".clone_into(path);
            }
        }
        config.http_listeners_mut().for_each(|http| http.propagation = None);
        let bootstrap = bootstrap::bootstrap(&bootstrap::BootstrapInputs {
            id: &self.proxy,
            cluster: &self.service,
            zone: Some(&site.zone),
            ads_socket: "ads.sock".as_ref(),
            otlp_socket: "otlp.sock".as_ref(),
            admin_socket: "admin.sock".as_ref(),
            memory: None,
            metadata: &serde_json::Map::new(),
        });
        let bootstrap =
            offline::offline(bootstrap, &ursa_envoy::resources::resources(&config)).ok()?;
        Some(json::message_to_json(&bootstrap))
    }
}

/// The names of all proxies of two snapshots of a mesh.
pub(crate) fn proxies(before: &MeshSnapshot, after: &MeshSnapshot) -> Vec<String> {
    let mut names: Vec<_> = before.proxies.keys().chain(after.proxies.keys()).cloned().collect();
    names.sort();
    names.dedup();
    names
}

/// What the step from one snapshot to the other does to a proxy; `None` if nothing.
pub(crate) fn of_proxy(
    id: ProxyId,
    before: &MeshSnapshot,
    after: &MeshSnapshot,
    difference: &Difference<'_>,
    abilities: &Abilities,
    site: &Site,
) -> Option<ProxyPlan> {
    let old = Side::of(before, &id.name, abilities, site);
    let generated = old.as_ref().map(|old| &old.generated);
    if old.is_some() && !difference.touches(&site.zone, &id.name, generated) {
        return None;
    }
    let new = Side::of(after, &id.name, abilities, site);
    let values = values::changes(
        old.as_ref().map_or(&[], |old| &old.effective),
        new.as_ref().map_or(&[], |new| &new.effective),
    );
    let nothing = ursa_envoy::resources::Resources::new();
    let told =
        |side: Option<&Side>| side.map(|side| std::sync::Arc::clone(&side.generated.resources));
    let (told_old, told_new) = (told(old.as_ref()), told(new.as_ref()));
    let resources = resources::changes(
        told_old.as_deref().unwrap_or(&nothing),
        told_new.as_deref().unwrap_or(&nothing),
    );
    let drains = resources.iter().filter_map(ResourceChange::drained).map(str::to_owned).collect();
    let known = old.as_ref().map_or(&[][..], |old| &old.generated.warnings);
    let warnings = new.iter().flat_map(|new| &new.generated.warnings);
    let warnings: Vec<_> = warnings.filter(|warning| !known.contains(warning)).cloned().collect();
    if values.is_empty() && resources.is_empty() && warnings.is_empty() {
        return None;
    }
    let service = new.as_ref().or(old.as_ref())?.config.service.clone();
    let has_rules = old.iter().chain(&new).any(Side::has_rules);
    let trace_context = Travels::of(old.as_ref(), new.as_ref());
    let (before, after) = (old.map(|old| old.config), new);
    Some(ProxyPlan {
        proxy: id,
        service,
        values,
        resources,
        drains,
        trace_context,
        warnings,
        has_rules,
        before,
        after,
    })
}

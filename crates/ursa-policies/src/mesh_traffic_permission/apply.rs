//! What MeshTrafficPermissions do to a proxy: who may connect to its inbounds.

use std::collections::BTreeMap;

use ursa_envoy::proxy::{
    Client, Direction, Inbound, Listener, Permission, Permissions, ProxyConfig, TextMatch, Verdict,
};
use ursa_model::dataplane::SERVICE_TAG;

use super::MeshTrafficPermission;
use super::schema::Conf;
use crate::backends::Applied;
use crate::effective::Effective;
use crate::kind::{Match, Merged, Policy as _, TextMatchType};
use crate::merge::Origin;
use crate::part::{Scope, Section};
use crate::policy::PolicyResource;
use crate::source::Source;

/// A rule, and where it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The rule.
    pub permission: Permission,
    /// Who wrote it. Its place is that of the line with the action or the list; its path leads to the client.
    pub origin: Origin,
}

pub(super) fn conf(merged: &Merged<'_, Conf>, proxy: &mut ProxyConfig, applied: &mut Applied) {
    let Some(tls) = proxy.mesh_tls.clone() else {
        if merged.is_said() {
            applied.warn(
                "MeshTrafficPermission has no effect: the mesh has no mTLS, so nobody knows who calls"
                    .to_owned(),
            );
        }
        return;
    };
    for listener in &mut proxy.listeners {
        if listener.direction != Direction::Inbound {
            continue;
        }
        let inbound = listener.inbound.clone().unwrap_or_default();
        let said = merged.said_of(listener.port, &inbound);
        let decisions = decisions(said, &tls.trust_domain);
        if !decisions.iter().any(|decision| decision.permission.verdict != Verdict::Deny) {
            applied.warn(format!(
                "nobody may connect to port {} ({}): no MeshTrafficPermission allows anyone",
                listener.port, listener.destination
            ));
        }
        let rules = decisions.into_iter().map(|decision| decision.permission).collect();
        listener.permissions = Some(Permissions { rules });
    }
}

/// The rules of a listener as [`Listener::permissions`] has them, with who wrote each. Empty where nobody is asked.
pub fn permissions(effective: &[Effective], listener: &Listener, mesh: &str) -> Vec<Decision> {
    if listener.permissions.is_none() {
        return Vec::new();
    }
    let name = MeshTrafficPermission::NAMES.name;
    let Some(own) = effective.iter().find(|effective| effective.kind() == name) else {
        return Vec::new();
    };
    let nobodys = Inbound::default();
    let inbound = listener.inbound.as_ref().unwrap_or(&nobodys);
    decisions(own.said_of(listener.port, inbound), mesh)
}

/// Strongest first. `said` comes weakest first.
fn decisions<'p>(
    said: impl Iterator<Item = (&'p PolicyResource, &'p Section)>,
    mesh: &str,
) -> Vec<Decision> {
    let (mut by_list, mut by_item) = (Vec::new(), Vec::new());
    for (policy, Section { scope, settings }) in said {
        // What does not decode was refused.
        let Ok(conf) = serde_json::from_value::<Conf>(settings.to_json()) else { continue };
        let name = counted_as(policy);
        let decide = |field: &str, index: Option<usize>, client, verdict| {
            let origin = settings.origin(&[field])?.clone();
            let path = match index {
                Some(index) => origin.path.index(index),
                None => origin.path.clone(),
            };
            let permission = Permission { name: name.clone(), clients: vec![client], verdict };
            Some(Decision { permission, origin: Origin { path, ..origin } })
        };
        match scope {
            Scope::Clients(source) => {
                let Some(action) = conf.action else { continue };
                by_item.extend(decide("action", None, of_source(source, mesh), action.verdict()));
            }
            Scope::Rule(_) => {
                for (field, verdict, list) in conf.lists() {
                    let of_list = list.iter().enumerate();
                    by_list.extend(of_list.rev().filter_map(|(index, client)| {
                        decide(field, Some(index), of_match(client), verdict)
                    }));
                }
            }
            _ => {}
        }
    }
    by_list.reverse();
    by_list.sort_by_key(|decision: &Decision| std::cmp::Reverse(decision.permission.verdict));
    by_item.reverse();
    by_list.extend(by_item);
    by_list
}

/// The policy's KRI: kind, mesh, zone, namespace, name, and no section.
fn counted_as(policy: &PolicyResource) -> String {
    let mesh = policy.key.mesh.as_deref().unwrap_or_default();
    let label = |key: &str| policy.label(key).unwrap_or_default();
    let (zone, namespace) = (label("kuma.io/zone"), label("k8s.kuma.io/namespace"));
    format!("kri_mtp_{mesh}_{zone}_{namespace}_{}_", policy.display_name())
}

/// A service is known by its SPIFFE id, other tags by names of their own.
fn of_source(source: &Source, mesh: &str) -> Client {
    let mut tags: BTreeMap<_, _> = source.tags();
    let service = tags.remove(SERVICE_TAG).map(|service| {
        Client::Spiffe(match service.as_str() {
            "*" => TextMatch::Prefix(format!("spiffe://{mesh}/")),
            service => TextMatch::Exact(format!("spiffe://{mesh}/{service}")),
        })
    });
    let tags = (!tags.is_empty()).then_some(Client::Tags(tags));
    one(service.into_iter().chain(tags).collect())
}

fn of_match(client: &Match) -> Client {
    let spiffe = client.spiffe_id.as_ref().map(|id| {
        Client::Spiffe(match id.kind {
            TextMatchType::Exact => TextMatch::Exact(id.value.clone()),
            TextMatchType::Prefix => TextMatch::Prefix(id.value.clone()),
        })
    });
    let server = client.sni.as_ref().map(|sni| Client::ServerName(sni.value.clone()));
    one(spiffe.into_iter().chain(server).collect())
}

/// Of whom all of these hold.
fn one(mut all: Vec<Client>) -> Client {
    match all.len() {
        0 => Client::Any,
        1 => all.remove(0),
        _ => Client::All(all),
    }
}

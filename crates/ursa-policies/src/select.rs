//! Which proxies a policy selects.
//!
//! A policy that targets a MeshHTTPRoute holds where that one does. Nothing is selected yet by gateways' names; validation says so when such a policy
//! is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use ursa_envoy::proxy::Inbound;
use ursa_model::target_ref::{ProxyType, TargetKind, TargetRef};

use crate::kind::Policy as _;
use crate::mesh_http_route::MeshHttpRoute;
use crate::order;
use crate::policy::PolicyResource;
use crate::subject::Subject;

/// The policies among `policies` that hold for `subject`, weakest first; the order of `policies` does not matter.
pub fn select<'p>(
    policies: &'p [Arc<PolicyResource>],
    subject: &Subject<'_>,
) -> Vec<&'p Arc<PolicyResource>> {
    select_of(policies.iter().filter(|policy| !policy.is_shadow()), subject)
}

/// The same, as if shadows held too.
pub fn select_with_shadows<'p>(
    policies: &'p [Arc<PolicyResource>],
    subject: &Subject<'_>,
) -> Vec<&'p Arc<PolicyResource>> {
    select_of(policies.iter(), subject)
}

fn select_of<'p>(
    policies: impl Iterator<Item = &'p Arc<PolicyResource>>,
    subject: &Subject<'_>,
) -> Vec<&'p Arc<PolicyResource>> {
    let (of_routes, of_proxies): (Vec<_>, Vec<_>) =
        policies.partition(|policy| policy.target.is_route());
    let mut selected: Vec<_> =
        of_proxies.into_iter().filter(|policy| selects_policy(policy, subject)).collect();
    let is_meant = |policy: &&Arc<PolicyResource>| {
        is_for(policy, subject) && selected.iter().any(|route| targets_route(policy, route))
    };
    let of_routes: Vec<_> = of_routes.into_iter().filter(is_meant).collect();
    selected.extend(of_routes);
    selected.sort_by(|a, b| order::by_strength(a, b));
    selected
}

/// Whether `policy` targets `route`, which is a MeshHTTPRoute: by its name, or by labels. In Kubernetes the name that people know is a label.
pub fn targets_route(policy: &PolicyResource, route: &PolicyResource) -> bool {
    let TargetRef { name, namespace, labels, .. } = &policy.target;
    let named = |name: &String| *name == route.key.name || name == route.display_name();
    policy.target.is_route()
        && route.key.kind == MeshHttpRoute::NAMES.name
        && policy.key.mesh == route.key.mesh
        && name.as_ref().is_none_or(named)
        && namespace.as_deref().is_none_or(|it| route.label("k8s.kuma.io/namespace") == Some(it))
        && labels.iter().all(|(key, value)| route.label(key) == Some(value))
}

/// Whether `policy` means `subject`, be it a shadow or not: same mesh, same zone if the policy is a zone's, and its target.
pub fn selects_policy(policy: &PolicyResource, subject: &Subject<'_>) -> bool {
    is_for(policy, subject) && selects(&policy.target, subject)
}

/// Whether `policy` means `subject`, of a mesh with these `policies`: one that targets a route does where a MeshHTTPRoute does that it targets.
pub fn selects_among(
    policy: &PolicyResource,
    subject: &Subject<'_>,
    policies: &[Arc<PolicyResource>],
) -> bool {
    let mut routes = policies.iter().filter(|route| {
        targets_route(policy, route) && !route.is_shadow() && selects_policy(route, subject)
    });
    selects_policy(policy, subject) || is_for(policy, subject) && routes.next().is_some()
}

/// Same mesh, same zone if the policy is a zone's.
fn is_for(policy: &PolicyResource, subject: &Subject<'_>) -> bool {
    policy.key.mesh.as_deref() == Some(&subject.id.mesh) && of_zone(policy, subject)
}

/// Whether going from `old` to `new` can change what holds for `subject`, which has these MeshHTTPRoutes. A change of words alone (comments, order of keys) cannot.
pub fn affects(
    old: Option<&PolicyResource>,
    new: Option<&PolicyResource>,
    subject: &Subject<'_>,
    routes: &[Arc<PolicyResource>],
) -> bool {
    let selects = |policy: &PolicyResource| {
        selects_policy(policy, subject)
            || is_for(policy, subject) && routes.iter().any(|route| targets_route(policy, route))
    };
    let holds = |policy: Option<&PolicyResource>| {
        policy.is_some_and(|policy| !policy.is_shadow() && selects(policy))
    };
    match (holds(old), holds(new)) {
        (false, false) => false,
        (true, true) => !old.zip(new).is_some_and(|(old, new)| old.says_the_same(new)),
        _ => true,
    }
}

/// Whether `target` means `subject`, in whatever mesh it was written.
pub fn selects(target: &TargetRef, subject: &Subject<'_>) -> bool {
    match target.kind {
        TargetKind::Mesh => of_type(target, subject),
        TargetKind::MeshSubset => {
            of_type(target, subject) && has_tags(subject, |tags| matches(&target.tags, tags))
        }
        TargetKind::MeshService => has_tags(subject, |tags| is_service(target, tags)),
        TargetKind::MeshServiceSubset => {
            has_tags(subject, |tags| is_service(target, tags) && matches(&target.tags, tags))
        }
        TargetKind::Dataplane => is_dataplane(target, subject),
        TargetKind::MeshGateway | TargetKind::MeshHttpRoute => false,
    }
}

/// Whether `target`, which selects a proxy, means this one of its inbounds.
pub(crate) fn selects_inbound(target: &TargetRef, port: u16, inbound: &Inbound) -> bool {
    let section = target.section_name.as_ref();
    match target.kind {
        TargetKind::Mesh => true,
        TargetKind::MeshSubset => matches(&target.tags, &inbound.tags),
        TargetKind::MeshService => is_service(target, &inbound.tags),
        TargetKind::MeshServiceSubset => {
            is_service(target, &inbound.tags) && matches(&target.tags, &inbound.tags)
        }
        TargetKind::Dataplane => section.is_none_or(|section| {
            *section == port.to_string() || inbound.name.as_ref() == Some(section)
        }),
        TargetKind::MeshGateway | TargetKind::MeshHttpRoute => false,
    }
}

/// A policy from one zone is for that zone's proxies.
fn of_zone(policy: &PolicyResource, subject: &Subject<'_>) -> bool {
    let zone =
        policy.label("kuma.io/zone").filter(|_| policy.label("kuma.io/origin") == Some("zone"));
    !matches!((zone, subject.zone), (Some(policys), Some(subjects)) if policys != subjects)
}

/// `proxyTypes`: none means all. A proxy with a `gateway`, delegated ones too, is a gateway.
fn of_type(target: &TargetRef, subject: &Subject<'_>) -> bool {
    let own = if subject.dataplane.networking.gateway.is_some() {
        ProxyType::Gateway
    } else {
        ProxyType::Sidecar
    };
    target.proxy_types.as_ref().is_none_or(|types| types.contains(&own))
}

/// Whether the tags of one inbound, or of the gateway, are as wanted. Tags of two inbounds never add up. Inbounds in any state count.
fn has_tags(subject: &Subject<'_>, wanted: impl Fn(&BTreeMap<String, String>) -> bool) -> bool {
    let networking = &subject.dataplane.networking;
    networking.inbound.iter().any(|inbound| wanted(&inbound.tags))
        || networking.gateway.as_ref().is_some_and(|gateway| wanted(&gateway.tags))
}

/// Whether all of `wanted` are in `tags`; the value `*` is any value.
fn matches(wanted: &BTreeMap<String, String>, tags: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| tags.get(key).is_some_and(|own| value == "*" || value == own))
}

fn is_service(target: &TargetRef, tags: &BTreeMap<String, String>) -> bool {
    target.name.is_some() && target.name.as_ref() == tags.get("kuma.io/service")
}

/// By labels, or by name and namespace; by nothing means every proxy. In Kubernetes the name that people know is a label.
fn is_dataplane(target: &TargetRef, subject: &Subject<'_>) -> bool {
    let label = |key: &str| subject.labels.get(key);
    let named =
        |name: &String| *name == subject.id.name || label("kuma.io/display-name") == Some(name);
    target.name.as_ref().is_none_or(named)
        && target
            .namespace
            .as_ref()
            .is_none_or(|namespace| label("k8s.kuma.io/namespace") == Some(namespace))
        && target.labels.iter().all(|(key, value)| label(key) == Some(value))
}

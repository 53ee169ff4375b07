//! Who may call a listener, and which policy's line says so.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use ursa_envoy::proxy::{Listener, ListenerTls, Permissions, Verdict};
use ursa_envoy::request::{Caller, decisive};
use ursa_model::dataplane::SERVICE_TAG;
use ursa_policies::effective::Effective;
use ursa_policies::mesh_traffic_permission::{Decision, permissions};

use crate::snapshot::{MeshSnapshot, Proxy};

/// Those of a service that may call.
pub(super) struct Callers(Vec<(String, Caller)>);

impl Callers {
    /// The proxies of a service. Empty: there are none.
    pub(super) fn of_service(mesh: &MeshSnapshot, service: &str) -> Self {
        let is_meant = |proxy: &&std::sync::Arc<Proxy>| {
            proxy.dataplane.service(&proxy.labels, &proxy.id.name) == service
                || proxy
                    .dataplane
                    .tag_sets()
                    .any(|tags| tags.get(SERVICE_TAG).is_some_and(|it| it == service))
        };
        let callers = mesh.proxies.values().filter(is_meant).map(|proxy| {
            let caller = Caller { names: names(proxy), server_name: None };
            (proxy.id.name.clone(), caller)
        });
        Self(callers.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The names in a proxy's certificate.
fn names(proxy: &Proxy) -> Vec<String> {
    let mesh = &proxy.id.mesh;
    let tags: BTreeSet<_> = proxy.dataplane.tag_sets().flatten().collect();
    let services = tags.iter().filter(|(key, _)| *key == SERVICE_TAG);
    let services: Vec<_> =
        services.map(|(_, service)| format!("spiffe://{mesh}/{service}")).collect();
    let tags = tags.iter().map(|(key, value)| format!("kuma://{key}/{value}"));
    services.into_iter().chain(tags).collect()
}

/// Who may call `listener`: its rules, strongest first, and what they say of `callers`. Null where nobody is asked.
pub(super) fn of_listener(
    effective: &[Effective],
    listener: &Listener,
    mesh: &str,
    callers: Option<&Callers>,
) -> Value {
    let Some(rules) = &listener.permissions else { return Value::Null };
    let decisions = permissions(effective, listener, mesh);
    let callers = callers.map(|callers| {
        let decided =
            callers.0.iter().map(|(name, caller)| said_of(name, caller, rules, &decisions));
        decided.collect::<Vec<_>>()
    });
    json!({
        "withoutCertificate": listener.tls == ListenerTls::Permissive,
        "rules": decisions.iter().map(rule).collect::<Vec<_>>(),
        "callers": callers,
    })
}

fn rule(decision: &Decision) -> Value {
    let clients: Vec<_> = decision.permission.clients.iter().map(ToString::to_string).collect();
    json!({
        "verdict": word(decision.permission.verdict),
        "clients": clients.join(" or "),
        "countedAs": decision.permission.name,
        "origin": decision.origin,
    })
}

fn said_of(name: &str, caller: &Caller, rules: &Permissions, decisions: &[Decision]) -> Value {
    let decision = decisive(rules, caller).and_then(|(index, _)| decisions.get(index));
    json!({
        "caller": name,
        "names": caller.names,
        "verdict": word(decision.map_or(Verdict::Deny, |decision| decision.permission.verdict)),
        "rule": decision.map(rule),
    })
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::AllowWithShadowDeny => "allowWithShadowDeny",
        Verdict::Deny => "deny",
    }
}

//! Who may connect to a listener, by Envoy's RBAC filters.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::listener::v3::{Filter, filter};
use envoy_types::pb::envoy::config::rbac::v3::{
    Permission as Requests, Policy, Principal, Rbac,
    permission::Rule,
    principal::{Authenticated, Identifier, Set},
    rbac::Action,
};
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac as HttpRbac;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter, http_filter,
};
use envoy_types::pb::envoy::extensions::filters::network::rbac::v3::Rbac as NetworkRbac;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;

use crate::parts;
use crate::proxy::{Client, Permission, Permissions, TextMatch, Verdict, stat_name};

/// Before requests are routed: whoever may not is answered with 403.
pub(crate) fn http_filter(permissions: &Permissions) -> HttpFilter {
    let mut pieces = vec![HttpRbac { track_per_rule_stats: true, ..HttpRbac::default() }];
    pieces.extend(
        allowed(permissions).map(|rules| HttpRbac { rules: Some(rules), ..HttpRbac::default() }),
    );
    pieces.extend(
        shadow_denied(permissions)
            .map(|rules| HttpRbac { shadow_rules: Some(rules), ..HttpRbac::default() }),
    );
    HttpFilter {
        name: "envoy.filters.http.rbac".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(parts::any_of(&pieces))),
        ..HttpFilter::default()
    }
}

/// Before bytes are passed on: connections of whoever may not are closed.
pub(crate) fn network_filter(permissions: &Permissions, stat_prefix: &str) -> Filter {
    let stat_prefix = format!("{stat_prefix}.");
    let mut pieces = vec![NetworkRbac { stat_prefix, ..NetworkRbac::default() }];
    pieces.extend(
        allowed(permissions)
            .map(|rules| NetworkRbac { rules: Some(rules), ..NetworkRbac::default() }),
    );
    pieces.extend(
        shadow_denied(permissions)
            .map(|rules| NetworkRbac { shadow_rules: Some(rules), ..NetworkRbac::default() }),
    );
    Filter {
        name: "envoy.filters.network.rbac".to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(parts::any_of(&pieces))),
    }
}

/// Who may, one policy a piece. None: nobody.
fn allowed(permissions: &Permissions) -> impl Iterator<Item = Rbac> {
    let policies = policies(permissions, |verdict| verdict != Verdict::Deny);
    let nobody = Rbac { action: Action::Allow as i32, ..Rbac::default() };
    [nobody].into_iter().chain(pieces(Action::Allow, policies))
}

/// Who may, and is counted as if not.
fn shadow_denied(permissions: &Permissions) -> impl Iterator<Item = Rbac> {
    let policies = policies(permissions, |verdict| verdict == Verdict::AllowWithShadowDeny);
    pieces(Action::Deny, policies)
}

fn pieces(action: Action, policies: BTreeMap<String, Policy>) -> impl Iterator<Item = Rbac> {
    policies.into_iter().map(move |policy| Rbac {
        action: action as i32,
        policies: [policy].into(),
        ..Rbac::default()
    })
}

/// Those whose verdict is meant, without the clients of stronger ones whose verdict is not: Envoy looks at policies in no order of ours.
fn policies(
    permissions: &Permissions,
    is_meant: impl Fn(Verdict) -> bool,
) -> BTreeMap<String, Policy> {
    let mut policies = BTreeMap::new();
    let mut others: Vec<Principal> = Vec::new();
    for Permission { name, clients, verdict } in &permissions.rules {
        let clients = any(clients.iter().map(principal).collect());
        if !is_meant(*verdict) {
            others.push(clients);
            continue;
        }
        let principal = match others.as_slice() {
            [] => clients,
            others => id(Identifier::AndIds(Set { ids: vec![clients, not(any(others.to_vec()))] })),
        };
        let policy = Policy {
            permissions: vec![Requests { rule: Some(Rule::Any(true)) }],
            principals: vec![principal],
            ..Policy::default()
        };
        policies.insert(stat_name(name), policy);
    }
    policies
}

fn principal(client: &Client) -> Principal {
    match client {
        Client::Any => id(Identifier::Any(true)),
        Client::Spiffe(text) => authenticated(text),
        Client::All(all) => {
            id(Identifier::AndIds(Set { ids: all.iter().map(principal).collect() }))
        }
        Client::Not(client) => not(principal(client)),
        Client::Tags(tags) if tags.is_empty() => id(Identifier::Any(true)),
        Client::Tags(tags) => {
            let tag = |(key, value): (&String, &String)| {
                authenticated(&TextMatch::Exact(format!("kuma://{key}/{value}")))
            };
            id(Identifier::AndIds(Set { ids: tags.iter().map(tag).collect() }))
        }
    }
}

fn authenticated(text: &TextMatch) -> Principal {
    let pattern = match text {
        TextMatch::Exact(text) => MatchPattern::Exact(text.clone()),
        TextMatch::Prefix(text) => MatchPattern::Prefix(text.clone()),
    };
    id(Identifier::Authenticated(Authenticated { principal_name: Some(parts::text(pattern)) }))
}

/// Any of these; of none nobody.
fn any(mut principals: Vec<Principal>) -> Principal {
    match principals.len() {
        0 => not(id(Identifier::Any(true))),
        1 => principals.remove(0),
        _ => id(Identifier::OrIds(Set { ids: principals })),
    }
}

fn not(principal: Principal) -> Principal {
    id(Identifier::NotId(Box::new(principal)))
}

fn id(identifier: Identifier) -> Principal {
    Principal { identifier: Some(identifier) }
}

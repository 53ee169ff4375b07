//! Who may connect to a listener, by Envoy's RBAC filters.
//!
//! Rules are a list of matchers, of which the first that matches decides: Envoy's `rules` are a map without an order, and name only those who allow.
//! Of connections that speak HTTP the rules are in the routes (RDS), so that a change of them drains nothing, and holds at once for connections that
//! are there already; without routes the filter denies.

use envoy_types::pb::envoy::config::listener::v3::{Filter, filter};
use envoy_types::pb::envoy::config::rbac::v3::{Action as RbacAction, rbac::Action};
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::{Rbac as HttpRbac, RbacPerRoute};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter, http_filter,
};
use envoy_types::pb::envoy::extensions::filters::network::rbac::v3::Rbac as NetworkRbac;
use envoy_types::pb::envoy::extensions::matching::common_inputs::network::v3::ServerNameInput;
use envoy_types::pb::envoy::extensions::matching::common_inputs::ssl::v3::UriSanInput;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::{
    Matcher, RegexMatcher, StringMatcher,
    matcher::{
        MatcherList, MatcherType, OnMatch,
        matcher_list::{
            FieldMatcher, Predicate,
            predicate::{MatchType, PredicateList, SinglePredicate, single_predicate},
        },
        on_match,
    },
    regex_matcher, string_matcher,
};

use crate::parts;
use crate::proxy::{Client, Permission, Permissions, TAG_NAMES, TextMatch, Verdict, stat_name};

/// The HTTP filter's name, under which routes have its rules.
pub(crate) const HTTP_FILTER: &str = "envoy.filters.http.rbac";
/// What shadow rules say of what no rule means. Envoy says the same of what it denies for that.
const NOBODY: &str = "none";

/// Before requests are routed: whoever may not is answered with 403.
pub(crate) fn http_filter() -> HttpFilter {
    let denied = HttpRbac { matcher: Some(Matcher::default()), ..HttpRbac::default() };
    HttpFilter {
        name: HTTP_FILTER.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(parts::any(&denied))),
        ..HttpFilter::default()
    }
}

/// The rules of [`http_filter()`], for routes.
pub(crate) fn of_routes(permissions: &Permissions) -> Any {
    let rbac = HttpRbac {
        matcher: Some(enforced(permissions)),
        shadow_matcher: shadow(permissions),
        track_per_rule_stats: true,
        ..HttpRbac::default()
    };
    parts::any(&RbacPerRoute { rbac: Some(rbac) })
}

/// Before bytes are passed on: connections of whoever may not are closed.
pub(crate) fn network_filter(permissions: &Permissions, stat_prefix: &str) -> Filter {
    let rbac = NetworkRbac {
        matcher: Some(enforced(permissions)),
        shadow_matcher: shadow(permissions),
        stat_prefix: format!("{stat_prefix}."),
        ..NetworkRbac::default()
    };
    Filter {
        name: "envoy.filters.network.rbac".to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(parts::any(&rbac))),
    }
}

/// What is done. What no rule means is denied.
fn enforced(permissions: &Permissions) -> Matcher {
    let action = |verdict| match verdict {
        Verdict::Allow | Verdict::AllowWithShadowDeny => Action::Allow,
        Verdict::Deny => Action::Deny,
    };
    matcher(permissions, action, None)
}

/// What is counted and logged beside: who may, and shall not any more. What is denied anyway is none of it.
fn shadow(permissions: &Permissions) -> Option<Matcher> {
    let is_shadow = |rule: &Permission| rule.verdict == Verdict::AllowWithShadowDeny;
    let action = |verdict| match verdict {
        Verdict::Allow | Verdict::Deny => Action::Allow,
        Verdict::AllowWithShadowDeny => Action::Deny,
    };
    let is_there = permissions.rules.iter().any(is_shadow);
    is_there.then(|| matcher(permissions, action, Some(on_match(NOBODY, Action::Allow))))
}

fn matcher(
    permissions: &Permissions,
    action: impl Fn(Verdict) -> Action,
    otherwise: Option<OnMatch>,
) -> Matcher {
    let mut matchers = Vec::new();
    let mut otherwise = otherwise;
    for Permission { name, clients, verdict } in &permissions.rules {
        let decision = on_match(&stat_name(name), action(*verdict));
        match any(clients.iter().map(client)) {
            Means::Nobody => {}
            Means::Everybody => {
                otherwise = Some(decision);
                break;
            }
            Means::Those(predicate) => {
                let (predicate, on_match) = (Some(predicate), Some(decision));
                matchers.push(FieldMatcher { predicate, on_match });
            }
        }
    }
    Matcher {
        matcher_type: (!matchers.is_empty())
            .then_some(MatcherType::MatcherList(MatcherList { matchers })),
        on_no_match: otherwise.map(Box::new),
    }
}

fn on_match(name: &str, action: Action) -> OnMatch {
    let action = RbacAction { name: name.to_owned(), action: action as i32 };
    OnMatch {
        on_match: Some(on_match::OnMatch::Action(extension("envoy.filters.rbac.action", &action))),
        ..OnMatch::default()
    }
}

/// Whom clients mean. Envoy has no predicate for the first two.
enum Means {
    Everybody,
    Nobody,
    Those(Predicate),
}

fn client(client: &Client) -> Means {
    match client {
        Client::Any => Means::Everybody,
        Client::Spiffe(text) => Means::Those(has_name(text)),
        Client::ServerName(name) => Means::Those(server_name(name)),
        Client::All(all) => self::all(all.iter().map(self::client)),
        Client::Not(client) => match self::client(client) {
            Means::Everybody => Means::Nobody,
            Means::Nobody => Means::Everybody,
            Means::Those(predicate) => {
                Means::Those(predicate_of(MatchType::NotMatcher(Box::new(predicate))))
            }
        },
        Client::Tags(tags) => all(tags.iter().map(|(key, value)| {
            let name = match value.as_str() {
                "*" => TextMatch::Prefix(format!("{TAG_NAMES}{key}/")),
                value => TextMatch::Exact(format!("{TAG_NAMES}{key}/{value}")),
            };
            Means::Those(has_name(&name))
        })),
    }
}

fn any(clients: impl Iterator<Item = Means>) -> Means {
    let mut predicates = Vec::new();
    for client in clients {
        match client {
            Means::Everybody => return Means::Everybody,
            Means::Nobody => {}
            Means::Those(predicate) => predicates.push(predicate),
        }
    }
    joined(predicates, MatchType::OrMatcher).map_or(Means::Nobody, Means::Those)
}

fn all(clients: impl Iterator<Item = Means>) -> Means {
    let mut predicates = Vec::new();
    for client in clients {
        match client {
            Means::Nobody => return Means::Nobody,
            Means::Everybody => {}
            Means::Those(predicate) => predicates.push(predicate),
        }
    }
    joined(predicates, MatchType::AndMatcher).map_or(Means::Everybody, Means::Those)
}

/// Envoy takes a list of two or more.
fn joined(
    mut predicates: Vec<Predicate>,
    join: fn(PredicateList) -> MatchType,
) -> Option<Predicate> {
    if predicates.len() < 2 {
        return predicates.pop();
    }
    Some(predicate_of(join(PredicateList { predicate: predicates })))
}

/// One of the names (URI SANs) in the client's certificate. Envoy gives them as one text, with commas between them.
fn has_name(name: &TextMatch) -> Predicate {
    let regex = match name {
        TextMatch::Exact(name) => format!("(.*,)?{}(,.*)?", quoted(name)),
        TextMatch::Prefix(name) => format!("(.*,)?{}.*", quoted(name)),
    };
    let regex = string_matcher::MatchPattern::SafeRegex(RegexMatcher {
        regex,
        engine_type: Some(regex_matcher::EngineType::GoogleRe2(regex_matcher::GoogleRe2 {})),
    });
    text_of(extension("envoy.matching.inputs.uri_san", &UriSanInput {}), regex)
}

/// A text as a regular expression that means it alone.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

fn server_name(name: &str) -> Predicate {
    let input = extension("envoy.matching.inputs.server_name", &ServerNameInput {});
    text_of(input, string_matcher::MatchPattern::Exact(name.to_owned()))
}

fn text_of(input: TypedExtensionConfig, pattern: string_matcher::MatchPattern) -> Predicate {
    let matcher = StringMatcher { match_pattern: Some(pattern), ..StringMatcher::default() };
    predicate_of(MatchType::SinglePredicate(SinglePredicate {
        input: Some(input),
        matcher: Some(single_predicate::Matcher::ValueMatch(matcher)),
    }))
}

fn predicate_of(of: MatchType) -> Predicate {
    Predicate { match_type: Some(of) }
}

fn extension<M: prost::Message + prost::Name>(name: &str, config: &M) -> TypedExtensionConfig {
    TypedExtensionConfig { name: name.to_owned(), typed_config: Some(parts::any(config)) }
}

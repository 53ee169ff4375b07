//! What a MeshHTTPRoute does to a proxy: routes of its outbounds, and clusters for services that it had none for.

use ursa_envoy::proxy;
use ursa_envoy::proxy::{
    Cluster, Direction, Forward, HeaderChanges, HostRewrite, ListenerKind, Mirror, PathRewrite,
    ProxyConfig, Redirect, RequestMatch, Route, RouteAction, WeightedCluster,
};
use ursa_model::percent::Percent;

use super::order;
use super::schema::{
    self, BackendKind, BackendRef, Conf, Filter, Match, MergedRule, PathMatchType, QueryMatchType,
    RequestRedirect, Routing, Scheme,
};
use crate::backends::{Applied, Backends, ServiceRef};
use crate::header::HeaderMatch;
use crate::kind::{Merged, Settings};
use crate::merge::Origin;

/// Rules of a proxy that are counted under names of their own. The others count as what they lead to.
const MAX_COUNTED: usize = 200;
/// The status of requests whose service cannot be reached whatever it does.
const UNRESOLVED: u16 = 500;
/// The status of a redirect that names none.
const FOUND: u16 = 302;

pub(super) fn conf(
    merged: &Merged<'_, Conf>,
    backends: &dyn Backends,
    proxy: &mut ProxyConfig,
    applied: &mut Applied,
) {
    let ProxyConfig { listeners, clusters, .. } = proxy;
    let mut counted = 0;
    for listener in listeners.iter_mut().filter(|it| it.direction == Direction::Outbound) {
        let settings = merged.outbound(&listener.destination, applied);
        if settings.conf.rules.is_empty() {
            continue;
        }
        let ListenerKind::Http(http) = &mut listener.kind else {
            let service = &listener.destination;
            applied.warn(format!("MeshHTTPRoute: `{service}` speaks TCP, so it has no routes"));
            continue;
        };
        let Some(rest) = http.routes.routes.pop() else { continue };
        let mut routing =
            Making { rest: &rest, backends, clusters, applied, counted: &mut counted };
        let mut routes = routing.routes(&settings, |origin| merged.strength(&origin.policy));
        // Nothing comes after a route that takes all.
        let all = routes.iter().position(|route| route.requests == RequestMatch::default());
        match all {
            Some(at) => routes.truncate(at + 1),
            None => routes.push(rest),
        }
        http.routes.routes = routes;
    }
}

/// Routes in the making.
struct Making<'a> {
    /// The route of all requests of the listener.
    rest: &'a Route,
    backends: &'a dyn Backends,
    clusters: &'a mut Vec<Cluster>,
    applied: &'a mut Applied,
    counted: &'a mut usize,
}

impl Making<'_> {
    /// The first that matches counts.
    fn routes(
        &mut self,
        settings: &Settings<Conf>,
        strength: impl Fn(&Origin) -> Option<usize>,
    ) -> Vec<Route> {
        let mut ranked = Vec::new();
        for (key, rule) in &settings.conf.rules {
            let origin = settings.tree.origin(&["rules", key, "matches"]);
            let made = self.of_rule(rule, origin);
            let strength = origin.and_then(&strength);
            for matched in &rule.matches {
                let route = Route { requests: requests(matched), ..made.clone() };
                ranked.push((order::rank(matched, origin, strength), route));
            }
        }
        ranked.sort_by(|(a, _), (b, _)| a.cmp(b));
        ranked.into_iter().map(|(_, route)| route).collect()
    }

    /// A route of all requests that does what the rule says.
    fn of_rule(&mut self, rule: &MergedRule, origin: Option<&Origin>) -> Route {
        let mut route = self.rest.clone();
        route.action = self.action(&rule.routing);
        route.origin = origin.map(|origin| origin.policy.name.clone());
        *self.counted += 1;
        if let (Some(origin), ..=MAX_COUNTED) = (origin, *self.counted) {
            route.counted_as = super::counted_as(origin);
        }
        route
    }

    fn action(&mut self, routing: &Routing) -> RouteAction {
        let filters = routing.filters.as_deref().unwrap_or_default();
        if let Some(redirect) = filters.iter().find_map(|filter| filter.request_redirect.as_ref()) {
            return RouteAction::Redirect(self::redirect(redirect));
        }
        let mut forward = Forward { clusters: Vec::new(), ..Forward::default() };
        match routing.backend_refs.as_deref() {
            None | Some([]) => {
                if let RouteAction::Forward(rest) = &self.rest.action {
                    forward.clusters.clone_from(&rest.clusters);
                }
            }
            Some(backends) => {
                for backend in backends {
                    let Some(name) = self.cluster(backend) else { continue };
                    let weight = backend.weight.unwrap_or(1);
                    match forward.clusters.iter_mut().find(|known| known.name == name) {
                        Some(known) => known.weight = known.weight.saturating_add(weight),
                        None => forward.clusters.push(WeightedCluster { name, weight }),
                    }
                }
            }
        }
        if forward.clusters.iter().all(|cluster| cluster.weight == 0) {
            return RouteAction::Respond { status: UNRESOLVED };
        }
        for filter in filters {
            self.change(filter, &mut forward);
        }
        RouteAction::Forward(Box::new(forward))
    }

    /// The name of the cluster of a service, which is there then. `None`: it means nothing yet.
    fn cluster(&mut self, backend: &BackendRef) -> Option<String> {
        let known =
            matches!(backend.kind, BackendKind::MeshService | BackendKind::MeshServiceSubset)
                && backend.namespace.is_none()
                && backend.section_name.is_none();
        let Some(name) = backend.name.clone().filter(|_| known) else {
            let kind = backend.kind.name();
            let name = backend.name.as_deref().unwrap_or("by labels");
            self.applied.warn(format!(
                "MeshHTTPRoute: {kind} `{name}` means nothing yet; nothing is sent there"
            ));
            return None;
        };
        self.applied.destinations.insert(name.clone());
        let service = ServiceRef { name, port: backend.port, tags: backend.tags.clone() };
        let cluster = self.backends.cluster(&service);
        let name = cluster.name.clone();
        if !self.clusters.iter().any(|known| known.name == name) {
            self.clusters.push(cluster);
        }
        Some(name)
    }

    fn change(&mut self, filter: &Filter, forward: &mut Forward) {
        if let Some(changes) = &filter.request_header_modifier {
            modify(&mut forward.request_headers, changes);
        }
        if let Some(changes) = &filter.response_header_modifier {
            modify(&mut forward.response_headers, changes);
        }
        if let Some(rewrite) = &filter.url_rewrite {
            if let Some(host) = &rewrite.hostname {
                forward.host = Some(HostRewrite::Literal(host.clone()));
            }
            if let Some(path) = rewrite.path.as_ref().and_then(path) {
                forward.path = Some(path);
            }
        }
        if let Some(mirror) = &filter.request_mirror
            && let Some(cluster) = self.cluster(&mirror.backend_ref)
        {
            let share = mirror.percentage.unwrap_or(Percent::HUNDRED);
            forward.mirrors.push(Mirror { cluster, share });
        }
    }
}

fn modify(changes: &mut HeaderChanges, modifier: &schema::HeaderModifier) {
    let pairs = |headers: &Option<Vec<schema::Header>>| {
        let pair =
            |header: &schema::Header| (header.name.to_ascii_lowercase(), header.value.clone());
        headers.iter().flatten().map(pair).collect::<Vec<_>>()
    };
    changes.set.extend(pairs(&modifier.set));
    changes.add.extend(pairs(&modifier.add));
    changes.remove.extend(modifier.remove.iter().flatten().map(|name| name.to_ascii_lowercase()));
}

fn redirect(redirect: &RequestRedirect) -> Redirect {
    let scheme = redirect.scheme.map(|scheme| match scheme {
        Scheme::Http => "http".to_owned(),
        Scheme::Https => "https".to_owned(),
    });
    Redirect {
        scheme,
        host: redirect.hostname.clone(),
        port: redirect.port,
        path: redirect.path.as_ref().and_then(path),
        status: redirect.status_code.unwrap_or(FOUND),
    }
}

/// A prefix that is replaced by nothing leaves `/`.
fn path(path: &schema::PathRewrite) -> Option<PathRewrite> {
    let full = path.replace_full_path.clone().map(PathRewrite::Full);
    full.or_else(|| {
        let prefix = path.replace_prefix_match.clone()?;
        Some(PathRewrite::Prefix(if prefix.is_empty() { "/".to_owned() } else { prefix }))
    })
}

fn requests(matched: &Match) -> RequestMatch {
    let path = matched.path.as_ref().map(|schema::PathMatch { kind, value }| {
        let value = value.clone();
        match kind {
            PathMatchType::Exact => proxy::PathMatch::Exact(value),
            PathMatchType::PathPrefix if value == "/" => proxy::PathMatch::default(),
            PathMatchType::PathPrefix => proxy::PathMatch::Segments(value),
            PathMatchType::RegularExpression => proxy::PathMatch::Regex(value),
        }
    });
    let parameter = |it: &schema::QueryMatch| proxy::QueryMatch {
        name: it.name.clone(),
        value: match it.kind {
            QueryMatchType::Exact => proxy::QueryValue::Exact(it.value.clone()),
            QueryMatchType::RegularExpression => proxy::QueryValue::Regex(it.value.clone()),
        },
    };
    RequestMatch {
        path: path.unwrap_or_default(),
        method: matched.method.map(|method| method.name().to_owned()),
        headers: matched.headers.iter().flatten().map(HeaderMatch::of_proxy).collect(),
        query: matched.query_params.iter().flatten().map(parameter).collect(),
    }
}

//! Settings for what routes take: policies that target a MeshHTTPRoute.
//!
//! They have sampling and tags of their own. The tracer is the listener's, and so where spans go is the proxy's business: what they say of it must be
//! the same. Where nothing is said for the proxy, what they say holds for it, and nothing is traced but what their routes take.

use std::collections::BTreeMap;

use ursa_envoy::proxy::{ProxyConfig, Route};

use super::schema::Conf;
use crate::backends::Applied;
use crate::kind::{Merged, Settings};
use crate::merge::Tree;

/// The settings of a proxy, and of its routes that have some of their own.
#[derive(Debug)]
pub(super) struct Traced<'m> {
    /// What holds where no policy targets a route.
    pub(super) conf: &'m Conf,
    /// The same, with who wrote what.
    pub(super) tree: &'m Tree,
    /// Whether nothing is traced where no policy targets a route.
    pub(super) of_routes_alone: bool,
    /// By the name of the MeshHTTPRoute.
    routes: &'m BTreeMap<String, Settings<Conf>>,
}

/// The settings of the routes of `proxy` that policies target, by the name of the MeshHTTPRoute.
pub(super) fn settings(
    merged: &Merged<'_, Conf>,
    proxy: &ProxyConfig,
    applied: &mut Applied,
) -> BTreeMap<String, Settings<Conf>> {
    let mut found = BTreeMap::new();
    for route in proxy.http_listeners().flat_map(|http| &http.routes.routes) {
        let Some(name) = route.origin.as_ref().filter(|name| !found.contains_key(*name)) else {
            continue;
        };
        if let Some(settings) = merged.of_route(name, applied) {
            found.insert(name.clone(), settings);
        }
    }
    found
}

impl<'m> Traced<'m> {
    pub(super) fn of(
        merged: &'m Merged<'_, Conf>,
        routes: &'m BTreeMap<String, Settings<Conf>>,
        applied: &mut Applied,
    ) -> Self {
        let written = |tree: &Tree| tree.at(&["backends"]).map(Tree::to_json);
        let strength = |settings: &&Settings<Conf>| {
            let origin = settings.tree.origin(&["backends"]);
            origin.and_then(|origin| merged.strength(&origin.policy))
        };
        let mut traced =
            Self { conf: &merged.conf, tree: merged.tree, of_routes_alone: false, routes };
        if written(merged.tree).is_none()
            && let Some(strongest) = routes.values().max_by_key(strength)
            && written(&strongest.tree).is_some()
        {
            (traced.conf, traced.tree) = (&strongest.conf, &strongest.tree);
            traced.of_routes_alone = true;
        }
        let of_proxy = written(traced.tree);
        for (name, settings) in routes {
            let own = written(&settings.tree);
            if let Some(origin) = settings.tree.origin(&["backends"])
                && own != of_proxy
            {
                applied.warn(format!(
                    "{}: `backends` for MeshHTTPRoute `{name}` are not those of the proxy, which has one tracer: they are not used",
                    origin.policy
                ));
            }
        }
        traced
    }

    /// What holds for what a route takes, and by which name of the MeshHTTPRoute if it is told apart. `None`: none of it is traced.
    pub(super) fn of_route(&self, route: &Route) -> Option<(&'m Conf, Option<&'m str>)> {
        let own = route.origin.as_ref().and_then(|name| self.routes.get_key_value(name));
        match own {
            Some((name, settings)) => Some((&settings.conf, Some(name))),
            None if self.of_routes_alone => None,
            None => Some((self.conf, None)),
        }
    }

    /// All settings that hold for some requests, the proxy's first.
    pub(super) fn confs(&self) -> impl Iterator<Item = (&'m Conf, Option<&'m str>)> {
        let of_proxy = (!self.of_routes_alone).then_some((self.conf, None));
        let of_routes = self.routes.iter();
        of_proxy
            .into_iter()
            .chain(of_routes.map(|(name, settings)| (&settings.conf, Some(name.as_str()))))
    }
}

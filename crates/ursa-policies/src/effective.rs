//! What all policies together say about one proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;
use ursa_envoy::proxy::{Inbound, ProxyConfig};
use ursa_model::key::ResourceKey;
use ursa_model::path::{Path, Segment};

use crate::KINDS;
use crate::backends::{Applied, Backends};
use crate::explain::{self, Explained};
use crate::kind::{Policy as _, PolicyKind};
use crate::merge::Tree;
use crate::mesh_http_route::MeshHttpRoute;
use crate::mesh_trace;
use crate::part::{self, Part, Scope, Section};
use crate::policy::PolicyResource;
use crate::select::{select, select_with_shadows, selects_inbound, targets_route};
use crate::source::Source;
use crate::subject::Subject;

/// Below which key explaining shows what holds for routes.
pub const ROUTES: &str = "routes";

/// What the policies of one kind say about one proxy, or about all that the same policies select.
#[derive(Clone, Debug)]
pub struct Effective {
    kind: &'static PolicyKind,
    policies: Vec<Arc<PolicyResource>>,
    /// The proxy's MeshHTTPRoutes that some of the policies target.
    routes: Vec<Arc<PolicyResource>>,
    merged: Tree,
}

impl Effective {
    /// Merges `policies`, which are of `kind` and come weakest first. `routes` are the proxy's MeshHTTPRoutes.
    pub fn of(
        kind: &'static PolicyKind,
        policies: Vec<Arc<PolicyResource>>,
        routes: &[Arc<PolicyResource>],
    ) -> Self {
        let is_targeted =
            |route: &&Arc<PolicyResource>| policies.iter().any(|it| targets_route(it, route));
        let routes = routes.iter().filter(is_targeted).cloned().collect();
        let merged = Tree::join(of_proxy(&policies));
        Self { kind, policies, routes, merged }
    }

    /// The kind's name.
    pub fn kind(&self) -> &'static str {
        self.kind.kind.name
    }

    /// The policies that select the proxy, weakest first. None: the defaults hold.
    pub fn policies(&self) -> &[Arc<PolicyResource>] {
        &self.policies
    }

    /// The merged settings, with who wrote what.
    pub fn merged(&self) -> &Tree {
        &self.merged
    }

    /// What holds for what comes in on that port: what `from` of all policies says, merged, and each of their `rules` beside it.
    pub(crate) fn inbound(&self, port: u16) -> Vec<Tree> {
        let port = port.to_string();
        self.inbound_parts(|section| section == port).iter().map(Holding::merged).collect()
    }

    /// What holds for what goes out to the service of that name.
    pub(crate) fn outbound(&self, service: &str) -> Tree {
        Tree::join(part::to_service(self.sections(), service))
    }

    /// What holds for requests to that service that the route of that name takes.
    pub(crate) fn to_route(&self, service: &str, route: &str) -> Tree {
        Tree::join(part::to_route(self.sections(), service, route))
    }

    /// What holds for what the MeshHTTPRoute of that name takes, where policies target it.
    pub(crate) fn of_route(&self, name: &str) -> Option<Tree> {
        let route = self.routes.iter().find(|route| route.key.name == name)?;
        Some(Tree::join(self.layers_of_route(route)))
    }

    /// Whether a policy targets routes alone.
    pub(crate) fn is_of_routes(&self, policy: &ResourceKey) -> bool {
        self.policies.iter().any(|it| it.target.is_route() && it.key == *policy)
    }

    fn layers_of_route<'t>(
        &'t self,
        route: &'t PolicyResource,
    ) -> impl Iterator<Item = &'t Tree> + 't {
        let own = self.policies.iter().filter(|policy| targets_route(policy, route));
        of_proxy(&self.policies).chain(own.filter_map(|policy| policy.settings()))
    }

    /// All that holds, by where it is found.
    pub(crate) fn parts(&self) -> Vec<Holding<'_>> {
        let mut parts = Vec::new();
        if self.kind.parts().contains(&Part::Default) {
            parts.push(Holding { at: Path::root(), layers: of_proxy(&self.policies).collect() });
        }
        parts.extend(self.routes.iter().map(|route| Holding {
            at: Path::root().key(ROUTES).key(&route.key.name),
            layers: self.layers_of_route(route).collect(),
        }));
        parts.extend(self.inbound_parts(|_| true));
        let destinations: BTreeSet<_> = self
            .sections()
            .filter_map(|section| match &section.scope {
                Scope::Outbound(destination) => Some(destination),
                _ => None,
            })
            .collect();
        parts.extend(destinations.into_iter().map(|destination| Holding {
            at: Path::root().key("to").key(destination.described()),
            layers: part::to_destination(self.sections(), destination),
        }));
        parts
    }

    /// `is_meant` says so of the inbound that a policy's target names (`sectionName`).
    fn inbound_parts(&self, is_meant: impl Fn(&str) -> bool + Copy) -> Vec<Holding<'_>> {
        let of = |wanted: fn(&Scope) -> bool| {
            let policies = self
                .policies
                .iter()
                .filter(move |policy| policy.target.section_name.as_deref().is_none_or(is_meant));
            let sections = policies.flat_map(|policy| policy.sections());
            sections.filter(move |section| wanted(&section.scope)).map(|part| &part.settings)
        };
        let mut parts = Vec::new();
        if self.kind.rules_merge() {
            let layers: Vec<_> = of(is_inbound).collect();
            let part = if of(|scope| matches!(scope, Scope::Rule(_))).next().is_some() {
                Part::Rules
            } else {
                Part::From
            };
            if !layers.is_empty() {
                parts.push(Holding { at: Path::root().key(part.field()), layers });
            }
            return parts;
        }
        let layers: Vec<_> = of(|scope| *scope == Scope::Inbound).collect();
        if !layers.is_empty() {
            parts.push(Holding { at: Path::root().key("from"), layers });
        }
        let rules = of(|scope| matches!(scope, Scope::Rule(_))).enumerate();
        parts.extend(rules.map(|(index, rule)| Holding {
            at: Path::root().key("rules").index(index),
            layers: vec![rule],
        }));
        parts.extend(self.client_parts());
        parts
    }

    /// What is said of the same clients.
    fn client_parts(&self) -> impl Iterator<Item = Holding<'_>> {
        let mut sources: BTreeMap<&Source, Vec<&Tree>> = BTreeMap::new();
        for Section { scope, settings } in self.sections() {
            if let Scope::Clients(source) = scope {
                sources.entry(source).or_default().push(settings);
            }
        }
        sources.into_iter().map(|(source, layers)| {
            let at = Path::root().key(Part::Clients.field()).key(source.described());
            Holding { at, layers }
        })
    }

    /// What policies say of an inbound, one by one, weakest first; `from` and `rules` alike.
    pub(crate) fn said_of(
        &self,
        port: u16,
        inbound: &Inbound,
    ) -> impl Iterator<Item = (&PolicyResource, &Section)> {
        let selecting = self
            .policies
            .iter()
            .filter(move |policy| selects_inbound(&policy.target, port, inbound));
        selecting.flat_map(|policy| policy.sections().iter().map(|section| (&**policy, section)))
    }

    fn sections(&self) -> impl Iterator<Item = &Section> + Clone {
        self.policies.iter().flat_map(|policy| policy.sections())
    }

    /// The merged settings alone: in the shape of `spec.default`, and by part where a kind has others.
    pub fn conf(&self) -> Json {
        let mut conf = self.merged.to_json();
        for holding in self.parts() {
            let tree = holding.merged();
            match holding.at.segments() {
                [Segment::Key(part), Segment::Key(destination)] => {
                    conf[part.as_str()][destination.as_str()] = tree.to_json();
                }
                [Segment::Key(part), Segment::Index(_)] => {
                    if let Some(list) = conf[part.as_str()].as_array_mut() {
                        list.push(tree.to_json());
                    } else {
                        conf[part.as_str()] = Json::Array(vec![tree.to_json()]);
                    }
                }
                [Segment::Key(part)] => conf[part.as_str()] = tree.to_json(),
                _ => {}
            }
        }
        conf
    }

    /// Every value that holds, and why.
    pub fn explain(&self) -> Explained {
        explain::explain(self, &self.kind.defaults())
    }
}

fn is_inbound(scope: &Scope) -> bool {
    matches!(scope, Scope::Inbound | Scope::Rule(_))
}

/// What the policies say that do not target routes.
fn of_proxy(policies: &[Arc<PolicyResource>]) -> impl Iterator<Item = &Tree> {
    let own = policies.iter().filter(|policy| !policy.target.is_route());
    own.filter_map(|policy| policy.settings())
}

/// Settings that hold for a part of a proxy's traffic, or for the proxy as a whole.
pub(crate) struct Holding<'t> {
    /// Where: the root for the proxy as a whole, below `from` or `rules` for what comes in, below `to` for what goes out, by destination, below
    /// `routes` for what a MeshHTTPRoute takes that policies target.
    pub(crate) at: Path,
    /// What policies say, weakest first.
    pub(crate) layers: Vec<&'t Tree>,
}

impl Holding<'_> {
    /// What holds.
    pub(crate) fn merged(&self) -> Tree {
        Tree::join(self.layers.iter().copied())
    }
}

/// What `policies` say about `subject`: one element for each kind of policy, in the order of [`KINDS`], also where no policy selects it.
pub fn effective(policies: &[Arc<PolicyResource>], subject: &Subject<'_>) -> Vec<Effective> {
    by_kind(&select(policies, subject))
}

/// The same, as if shadows held too.
pub fn effective_with_shadows(
    policies: &[Arc<PolicyResource>],
    subject: &Subject<'_>,
) -> Vec<Effective> {
    by_kind(&select_with_shadows(policies, subject))
}

fn by_kind(selected: &[&Arc<PolicyResource>]) -> Vec<Effective> {
    let own = |kind: &str| -> Vec<_> {
        let own = selected.iter().filter(|policy| policy.key.kind == kind);
        own.map(|policy| Arc::clone(policy)).collect()
    };
    let routes = own(MeshHttpRoute::NAMES.name);
    KINDS.iter().map(|kind| Effective::of(kind, own(kind.kind.name), &routes)).collect()
}

/// The MeshHTTPRoutes among what the policies say about a proxy.
pub fn routes(effective: &[Effective]) -> &[Arc<PolicyResource>] {
    let own = effective.iter().find(|effective| effective.kind() == MeshHttpRoute::NAMES.name);
    own.map_or(&[], Effective::policies)
}

/// Changes `proxy` as `effective` says. Its `pipeline.facts` must be filled in before.
pub fn apply(effective: &[Effective], backends: &dyn Backends, proxy: &mut ProxyConfig) -> Applied {
    let mut applied = Applied::default();
    for effective in effective {
        effective.kind.apply(effective, backends, proxy, &mut applied);
    }
    mesh_trace::warn_of_unexported_labels(&proxy.pipeline, &mut applied);
    applied
}

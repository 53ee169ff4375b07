//! What a policy asks for and connected proxies cannot do, for whoever writes the policy.
//!
//! Nothing is generated for that. Once a change is stored, each connected proxy has its new target, and the target says what
//! it lacks and who asked for it: so a change costs one look at each connection, and a policy of which something is lacking
//! another by which the proxies that it selects are counted. Of a change that is only tried, targets are made for those
//! proxies that it would touch.

use std::collections::BTreeMap;
use std::sync::Arc;

use ursa_model::path::Path;
use ursa_model::report::{Severity, Violation};
use ursa_model::tree::Place;
use ursa_model::{ProxyId, ResourceKey};
use ursa_policies::backends::Lack;
use ursa_policies::policy::PolicyResource;
use ursa_policies::select::selects_among;

use crate::affected::Difference;
use crate::generate::{Generated, generate};
use crate::planner::Planner;
use crate::proxies::Connection;
use crate::resources::Applied;
use crate::snapshot::{Change, MeshSnapshot, Snapshots};

/// Warnings of one policy; what is over is counted in one more.
const MAX_WARNINGS: usize = 3;
/// Proxies that a warning names.
const MAX_NAMED: usize = 3;

/// The connected proxies that cannot do all that is asked of them, at one moment.
#[derive(Debug)]
pub(crate) struct Lacks<'p> {
    planner: &'p Planner,
    snapshots: Arc<Snapshots>,
    lacking: Vec<(ProxyId, Arc<Generated>)>,
}

impl<'p> Lacks<'p> {
    /// Looks at all connections.
    pub(crate) fn of(planner: &'p Planner) -> Self {
        let connections = planner.proxies.all();
        let lacking = connections.iter().filter_map(|it| lacking(it, it.target())).collect();
        Self { planner, snapshots: planner.snapshots(), lacking }
    }

    /// Looks at all connections as they would be after `changes`, of which nothing is kept.
    pub(crate) async fn after(planner: &'p Planner, changes: &[Change]) -> Self {
        let before = planner.snapshots();
        let (after, touched) = before.next(changes, planner.kinds(), before.revision());
        let meshes =
            touched.iter().map(|(name, keys)| (name, (before.mesh(name), after.mesh(name), keys)));
        let meshes: BTreeMap<_, _> = meshes.collect();
        let differences: BTreeMap<_, _> = meshes
            .iter()
            .map(|(name, (before, after, keys))| {
                (*name, (after, Difference::new(before, after, keys)))
            })
            .collect();
        let mut found = Vec::new();
        for connection in planner.proxies.all() {
            let (id, current) = (&connection.id, connection.target());
            let site = planner.site();
            let touched = differences.get(&id.mesh).filter(|(_, difference)| {
                difference.touches(&site.zone, &id.name, current.as_deref())
            });
            let target = match touched {
                None => current,
                Some((after, _)) => after.proxy(&id.name).map(|proxy| {
                    Arc::new(generate(after, proxy, &connection.node.abilities, site))
                }),
            };
            found.extend(lacking(&connection, target));
            tokio::task::coop::consume_budget().await;
        }
        Self { planner, snapshots: Arc::new(after), lacking: found }
    }

    /// Adds to what was applied what of it is lacking; `of_source` says which of the texts each is from.
    pub(crate) fn tell(&self, applied: &mut [Applied], of_source: &[usize]) {
        for (applied, document) in applied.iter_mut().zip(of_source) {
            let lacking = self.warnings(&applied.key).into_iter();
            applied.warnings.extend(lacking.map(|it| Violation { document: *document, ..it }));
        }
    }

    /// What of the policy `key` is lacking, grouped by what and why, the most frequent first.
    pub(crate) fn warnings(&self, key: &ResourceKey) -> Vec<Violation> {
        let mut groups: BTreeMap<(&Path, &str, &str), Vec<&str>> = BTreeMap::new();
        for (id, target) in &self.lacking {
            for Lack { asked, words, why } in &target.applied.lacks {
                if let Some(path) = asked.get(key) {
                    groups.entry((path, words, why)).or_default().push(&id.name);
                }
            }
        }
        let mesh = self.snapshots.mesh(key.mesh.as_deref().unwrap_or_default());
        let Some(policy) = mesh.policy(key).filter(|_| !groups.is_empty()) else {
            return Vec::new();
        };
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(_, proxies)| std::cmp::Reverse(proxies.len()));
        let (shown, rest) = groups.split_at(groups.len().min(MAX_WARNINGS));
        let selected = self.selected(&mesh, policy);
        let warning = |path: &Path, proxies: usize, words: &str| Violation {
            severity: Severity::Warning,
            document: 0,
            path: path.clone(),
            place: place(policy, path),
            message: format!(
                "{proxies} of {selected} connected proxies cannot do all of it{words}"
            ),
            hint: Some(format!("`ursa inspect {}` shows them", command(key))),
        };
        let mut warnings: Vec<_> = shown
            .iter()
            .map(|((path, words, why), proxies)| {
                let words = format!(" ({}: {why}): {words}", named(proxies));
                warning(path, proxies.len(), &words)
            })
            .collect();
        if let Some(((path, ..), _)) = rest.first() {
            let more = rest.iter().map(|(_, proxies)| proxies.len()).sum();
            warnings.push(warning(path, more, ", for other reasons"));
        }
        warnings
    }

    /// How many connected proxies a policy selects.
    fn selected(&self, mesh: &MeshSnapshot, policy: &PolicyResource) -> usize {
        let zone = &self.planner.site().zone;
        let connected = self.planner.proxies.all();
        let own = connected.iter().filter(|it| Some(&it.id.mesh) == policy.key.mesh.as_ref());
        let proxies = own.filter_map(|it| mesh.proxy(&it.id.name));
        proxies.filter(|proxy| selects_among(policy, &proxy.subject(zone), &mesh.policies)).count()
    }
}

/// A connection of whose target something is lacking.
fn lacking(
    connection: &Connection,
    target: Option<Arc<Generated>>,
) -> Option<(ProxyId, Arc<Generated>)> {
    let target = target.filter(|it| !it.applied.lacks.is_empty())?;
    Some((connection.id.clone(), target))
}

/// Where a policy says what is at `path`. Targets do not know it: a value that only moved in its file makes none anew.
fn place(policy: &PolicyResource, path: &Path) -> Option<Place> {
    let leaves = policy.settings()?.leaves();
    let leaf = leaves.into_iter().find(|(_, leaf)| leaf.origin.path == *path);
    leaf.map(|(_, leaf)| leaf.origin.place)
}

/// The first of them, and how many more there are.
fn named(proxies: &[&str]) -> String {
    let mut names: Vec<_> = proxies.iter().take(MAX_NAMED).map(|name| (*name).to_owned()).collect();
    match proxies.len().saturating_sub(MAX_NAMED) {
        0 => {}
        more => names.push(format!("{more} more")),
    }
    names.join(", ")
}

/// `meshtrace all`, with the mesh if it is not the one that is meant anyway.
fn command(key: &ResourceKey) -> String {
    let kind = key.kind.to_lowercase();
    match key.mesh.as_deref() {
        None | Some("default") => format!("{kind} {}", key.name),
        Some(mesh) => format!("{kind} {} --mesh {mesh}", key.name),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use ursa_envoy::abilities::{Abilities, Module};
    use ursa_store::{Listing, MemoryStore};

    use super::*;
    use crate::metrics::Metrics;
    use crate::proxies::Node;
    use crate::spans::Tracer;
    use crate::testing::{changes, site};

    const ALL: &str = "type: MeshTrace\nmesh: default\nname: all\nspec:\n  default:\n    \
                       backends: [{openTelemetry: {endpoint: 'otel:4317'}}]\n    propagators: [w3c_tracecontext, datadog]\n";

    #[tokio::test]
    async fn a_thousand_proxies_and_as_many_reasons_are_a_few_lines() {
        let dataplane = |n: usize| {
            format!(
                "---\ntype: Dataplane\nmesh: default\nname: p{n:03}\nnetworking: {{address: 127.0.0.1, inbound: [{{port: {}, \
                 servicePort: 1, tags: {{kuma.io/service: s, kuma.io/protocol: http}}}}]}}\n",
                10_000 + n
            )
        };
        let dataplanes: String = (0..1000).map(dataplane).collect();
        let text = format!("type: Mesh\nname: default\n---\n{ALL}{dataplanes}");
        let records = changes(&text).into_iter().filter_map(|change| change.record).collect();
        let kinds = Arc::new(ursa_policies::kinds());
        let metrics = Metrics::new("test", "default", &kinds, &[]);
        let (store, tracer) = (Arc::new(MemoryStore::new()), Tracer::default());
        let planner = Planner::new(store, kinds, site(), metrics, tracer);
        let planner = Arc::new(planner);
        planner.begin(&Listing { records, revision: 1 }).await;
        let mut sessions = Vec::new();
        for n in 0..1000 {
            let module = match n {
                0..500 => Module::At("/m.so".to_owned()),
                500..990 => Module::Missing("the module is for another Envoy".to_owned()),
                _ => Module::Missing(format!("reason {n}")),
            };
            let node = Node { abilities: Abilities { envoy: None, module }, agent: None };
            let id = ProxyId::new("default", format!("p{n:03}"));
            sessions.push(planner.connect(id, node, Timestamp::UNIX_EPOCH).await);
        }
        let key = ResourceKey::in_mesh("MeshTrace", "default", "all");
        let warnings = Lacks::of(&planner).warnings(&key);
        let said: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        let cannot = "connected proxies cannot do all of it";
        let lost = "`datadog` neither read nor written";
        let at = "7:5 spec.default.propagators:";
        let wanted = [
            format!(
                "{at} 490 of 1000 {cannot} (p500, p501, p502, 487 more: the module is for another Envoy): {lost}"
            ),
            format!("{at} 1 of 1000 {cannot} (p990: reason 990): {lost}"),
            format!("{at} 1 of 1000 {cannot} (p991: reason 991): {lost}"),
            format!("{at} 8 of 1000 {cannot}, for other reasons"),
        ];
        assert_eq!(said, wanted);
        let hint = "`ursa inspect meshtrace all` shows them";
        assert!(warnings.iter().all(|warning| warning.hint.as_deref() == Some(hint)));
        // The same of a change that is only tried.
        let change = |text: &str| changes(text).remove(0);
        let less = change(&ALL.replace(", datadog", ""));
        let tried = Lacks::after(&planner, &[less]).await;
        assert_eq!(tried.warnings(&key), []);
        let more = change(&ALL.replace(", datadog", ", xray"));
        let tried = Lacks::after(&planner, &[more]).await.warnings(&key);
        let wanted = said[0].replace("datadog", "xray");
        assert_eq!(tried[0].to_string(), wanted);
        assert_eq!(Lacks::of(&planner).warnings(&key), warnings, "and nothing is kept of it");
        let other = ResourceKey::in_mesh("MeshTrace", "default", "other");
        assert_eq!(Lacks::of(&planner).warnings(&other), []);
    }
}

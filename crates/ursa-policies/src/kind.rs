//! What a kind of policy is, and the shape that all kinds share: `targetRef` and `default`.

use std::fmt;

use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use ursa_envoy::proxy::ProxyConfig;
use ursa_model::document::Meta;
use ursa_model::kind::{Kind, Scope};
use ursa_model::report::Cursor;
use ursa_model::target_ref::{self, TargetKind, TargetRef, TargetRules};
use ursa_model::tree::{Node, Place, Value};

use crate::KINDS;
use crate::backends::{Applied, Backends};
use crate::effective::Effective;
use crate::merge::{Origin, Tree};

/// The label with a policy's role: who may write it, and for whom.
pub(crate) const ROLE: &str = "kuma.io/policy-role";

/// One kind of policy: what users may write, what is refused, what it does to a proxy.
pub trait Policy: 'static {
    /// In YAML, in URLs, on the command line.
    const NAMES: Names;
    /// The settings (`spec.default`). What is unset says nothing, so that policies merge field by field.
    type Conf: Default + DeserializeOwned + JsonSchema;

    /// Turns accepted spellings of the settings into the canonical ones.
    fn rewrite(settings: &mut Node, report: &Cursor<'_>);

    /// Reports all that is wrong with the settings, and what has no effect. Sees only what was written, so a file is checked without a server.
    fn validate(settings: &Node, target: &TargetRef, report: &Cursor<'_>);

    /// What holds where no policy says anything, in the shape of the settings; shown by explaining.
    fn defaults() -> Json;

    /// Changes `proxy` as the merged settings say, for a proxy that no policy selects too. Cannot fail: whatever could is a violation, or a warning
    /// in `applied`.
    fn apply(
        merged: &Merged<'_, Self::Conf>,
        backends: &dyn Backends,
        proxy: &mut ProxyConfig,
        applied: &mut Applied,
    );
}

/// What a kind is called.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// In documents, for example `MeshTrace`.
    pub name: &'static str,
    /// In REST paths, for example `meshtraces`.
    pub plural: &'static str,
    /// Further names on the command line, for example `mt`.
    pub short: &'static [&'static str],
}

/// The merged settings of one proxy.
#[derive(Debug)]
pub struct Merged<'t, C> {
    /// The settings.
    pub conf: C,
    /// The same, with who wrote what.
    pub tree: &'t Tree,
}

impl<C> Merged<'_, C> {
    /// Who wrote the setting at `path`; `None` if nobody did.
    pub fn origin(&self, path: &[&str]) -> Option<&Origin> {
        self.tree.origin(path)
    }
}

/// A kind of policy in the table [`KINDS`].
pub struct PolicyKind {
    /// What it has in common with kinds that are not policies.
    pub kind: Kind,
    defaults: fn() -> Json,
    apply: fn(&Effective, &dyn Backends, &mut ProxyConfig, &mut Applied),
}

impl fmt::Debug for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PolicyKind").field(&self.kind.name).finish()
    }
}

impl PolicyKind {
    /// The entry of a kind.
    pub const fn of<P: Policy>() -> Self {
        Self {
            kind: Kind {
                name: P::NAMES.name,
                plural: P::NAMES.plural,
                short: P::NAMES.short,
                scope: Scope::Mesh,
                flat: false,
                policy: true,
                schema: schema::<P>,
                rewrite: rewrite::<P>,
                validate: validate::<P>,
            },
            defaults: P::defaults,
            apply: apply::<P>,
        }
    }

    /// The kind of that name, as documents write it.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|policy| policy.kind.name == name)
    }

    /// What holds where no policy says anything.
    pub(crate) fn defaults(&self) -> Json {
        (self.defaults)()
    }

    /// Changes `proxy` as `effective` says.
    pub(crate) fn apply(
        &self,
        effective: &Effective,
        backends: &dyn Backends,
        proxy: &mut ProxyConfig,
        applied: &mut Applied,
    ) {
        (self.apply)(effective, backends, proxy, applied);
    }
}

/// A policy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Spec<C> {
    /// Which proxies it is for. Unset: every proxy of the mesh.
    #[expect(dead_code, reason = "read from the tree, where it is found without the settings")]
    target_ref: Option<TargetRef>,
    /// The settings.
    #[expect(dead_code, reason = "merged as a tree, so that every value knows its origin")]
    default: Option<C>,
}

/// The target of a policy's spec, the mesh if it has none. `None` if it cannot be read, which was refused.
pub(crate) fn target(spec: &Node) -> Option<TargetRef> {
    match spec.get("targetRef") {
        None => Some(TargetRef::default()),
        Some(node) => serde_json::from_value(node.to_json()).ok(),
    }
}

fn schema<P: Policy>() -> Schema {
    schemars::schema_for!(Spec<P::Conf>)
}

fn rewrite<P: Policy>(spec: &mut Node, report: &Cursor<'_>) {
    if let Some(target) = spec.get_mut("targetRef") {
        target_ref::rewrite(target);
    }
    if let Some(settings) = spec.get_mut("default") {
        let report = report.key("default");
        list_of_one_backend(settings, &report);
        P::rewrite(settings, &report);
    }
}

/// A single `backend: {…}` stands for `backends: [{…}]`, in every kind of policy.
fn list_of_one_backend(settings: &mut Node, report: &Cursor<'_>) {
    let Some(map) = settings.as_map_mut() else { return };
    if map.contains("backend") && map.contains("backends") {
        report
            .key("backend")
            .refuse_with_hint("stands beside `backends`, which says the same", "keep `backends`");
        map.remove("backend");
    } else if let Some(entry) = map.remove("backend") {
        let list = Node::new(entry.node.place, Value::List(vec![entry.node]));
        map.insert("backends", entry.key_place, list);
    }
}

fn validate<P: Policy>(spec: &Node, meta: &Meta, report: &Cursor<'_>) {
    let Some(target) = target(spec) else { return };
    validate_target(&target, meta, &report.key("targetRef"));
    let nothing = Node::empty_map(Place::START);
    P::validate(spec.get("default").unwrap_or(&nothing), &target, &report.key("default"));
}

fn validate_target(target: &TargetRef, meta: &Meta, report: &Cursor<'_>) {
    target.validate(TargetRules::default(), report);
    let kind = report.key("kind");
    if target.namespace.is_some()
        && matches!(target.kind, TargetKind::MeshService | TargetKind::MeshServiceSubset)
    {
        report.key("namespace").warn(
            "has no effect yet: the service is the one whose tag `kuma.io/service` is the name",
        );
    }
    match target.kind {
        TargetKind::MeshGateway
            if !matches!(meta.labels.get(ROLE).map(String::as_str), None | Some("system")) =>
        {
            kind.refuse(format!(
                "only policies of role system (label `{ROLE}`) target a MeshGateway"
            ));
        }
        TargetKind::MeshGateway | TargetKind::MeshHttpRoute => {
            kind.warn(format!("{} selects nothing yet", target.kind.name()));
        }
        _ => {}
    }
}

fn apply<P: Policy>(
    effective: &Effective,
    backends: &dyn Backends,
    proxy: &mut ProxyConfig,
    applied: &mut Applied,
) {
    let tree = effective.merged();
    let conf = serde_json::from_value(tree.to_json()).unwrap_or_else(|error| {
        applied
            .warnings
            .push(format!("{}: the policies do not go together: {error}", P::NAMES.name));
        P::Conf::default()
    });
    P::apply(&Merged { conf, tree }, backends, proxy, applied);
}

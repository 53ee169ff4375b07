//! What a kind of policy is, and the shape that all kinds share: `targetRef` and the [`Part`]s that hold settings.

use std::fmt;

use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use ursa_envoy::proxy::{Inbound, ProxyConfig};
use ursa_model::document::Meta;
use ursa_model::key::ResourceKey;
use ursa_model::kind::{Kind, Scope};
use ursa_model::names;
use ursa_model::path::{Path, Segment};
use ursa_model::report::Cursor;
use ursa_model::target_ref::{self, TargetKind, TargetRef, TargetRules};
use ursa_model::tree::{Node, Value};

use crate::KINDS;
use crate::backends::{Applied, Backends};
use crate::effective::Effective;
use crate::merge::{Origin, Tree};
use crate::part::{self, Destination, Part, Section};
use crate::policy::PolicyResource;
use crate::source::Source;

/// The label with a policy's role: who may write it, and for whom.
pub(crate) const ROLE: &str = "kuma.io/policy-role";

/// One kind of policy: what users may write, what is refused, what it does to a proxy.
pub trait Policy: 'static {
    /// In YAML, in URLs, on the command line.
    const NAMES: Names;
    /// Which parts of the spec hold settings.
    const PARTS: &'static [Part] = &[Part::Default];
    /// Whether `rules` merge with each other and with `from`, so that one thing holds for what comes in. Else each holds beside the others.
    const RULES_MERGE: bool = false;
    /// Whether it can target routes, so that it holds for what they take and not for their proxy.
    const OF_ROUTES: bool = false;
    /// The settings (`default` of each part). What is unset says nothing, so that policies merge field by field.
    type Conf: Default + DeserializeOwned + JsonSchema;

    /// The schema of the spec: a `targetRef`, and the parts with the settings in them.
    fn schema() -> Schema
    where
        Self: Sized,
    {
        schema_of_parts::<Self>()
    }

    /// What the schema for editors says of the spec as a whole, besides (JSON Schema).
    fn schema_of_whole() -> Json {
        Json::Bool(true)
    }

    /// Turns accepted spellings of the settings into the canonical ones.
    fn rewrite(settings: &mut Node, report: &Cursor<'_>);

    /// Reports all that is wrong with the settings, and what has no effect. Sees only what was written, so a file is checked without a server.
    fn validate(settings: &Node, target: &TargetRef, report: &Cursor<'_>);

    /// Reports what is wrong with the spec besides `targetRef`, settings, and whom they are for.
    fn validate_spec(_spec: &Node, _target: &TargetRef, _report: &Cursor<'_>) {}

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
    /// What holds for the proxy as a whole (`default`).
    pub conf: C,
    /// The same, with who wrote what.
    pub tree: &'t Tree,
    effective: &'t Effective,
}

/// Merged settings for a part of a proxy's traffic.
#[derive(Debug)]
pub struct Settings<C> {
    /// The settings.
    pub conf: C,
    /// The same, with who wrote what.
    pub tree: Tree,
}

impl<C> Merged<'_, C> {
    /// Who wrote the setting at `path`; `None` if nobody did.
    pub fn origin(&self, path: &[&str]) -> Option<&Origin> {
        self.tree.origin(path)
    }
}

impl<C: Default + DeserializeOwned> Merged<'_, C> {
    /// Whether any policy says something.
    pub(crate) fn is_said(&self) -> bool {
        !self.effective.policies().is_empty()
    }

    /// What holds for what comes in on that port: all of these, each beside the others; one at most where [`Policy::RULES_MERGE`].
    pub fn inbound(&self, port: u16, applied: &mut Applied) -> Vec<Settings<C>> {
        let trees = self.effective.inbound(port).into_iter();
        trees.map(|tree| self.settings(tree, applied)).collect()
    }

    /// What holds for what goes out to the service of that name.
    pub fn outbound(&self, service: &str, applied: &mut Applied) -> Settings<C> {
        self.settings(self.effective.outbound(service), applied)
    }

    /// What policies say of an inbound, one by one and as written; weakest first.
    pub(crate) fn said_of(
        &self,
        port: u16,
        inbound: &Inbound,
    ) -> impl Iterator<Item = (&PolicyResource, &Section)> {
        self.effective.said_of(port, inbound)
    }

    /// What holds for what goes out to the service of that name and is taken by the MeshHTTPRoute `route`: what is said of it, then of the service,
    /// then of all.
    pub fn route(&self, service: &str, route: &str, applied: &mut Applied) -> Settings<C> {
        self.settings(self.effective.to_route(service, route), applied)
    }

    /// What holds for what the MeshHTTPRoute of that name takes, where policies target it: what they say, then those for the proxy.
    pub fn of_route(&self, route: &str, applied: &mut Applied) -> Option<Settings<C>> {
        let tree = self.effective.of_route(route)?;
        Some(self.settings(tree, applied))
    }

    /// How strong a policy is among those that hold; more is stronger.
    pub fn strength(&self, policy: &ResourceKey) -> Option<usize> {
        self.effective.policies().iter().position(|own| own.key == *policy)
    }

    fn settings(&self, tree: Tree, applied: &mut Applied) -> Settings<C> {
        Settings { conf: decode(self.effective.kind(), &tree, applied), tree }
    }
}

/// A kind of policy in the table [`KINDS`].
pub struct PolicyKind {
    /// What it has in common with kinds that are not policies.
    pub kind: Kind,
    parts: &'static [Part],
    rules_merge: bool,
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
                schema: P::schema,
                rewrite: rewrite::<P>,
                validate: validate::<P>,
            },
            parts: P::PARTS,
            rules_merge: P::RULES_MERGE,
            defaults: P::defaults,
            apply: apply::<P>,
        }
    }

    /// The kind of that name, as documents write it.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|policy| policy.kind.name == name)
    }

    /// Which parts of its spec hold settings.
    pub fn parts(&self) -> &'static [Part] {
        self.parts
    }

    /// Whether what its `rules` say of one thing that comes in merges.
    pub(crate) fn rules_merge(&self) -> bool {
        self.rules_merge
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
#[expect(dead_code, reason = "read from the tree, so that every value knows its origin")]
struct Spec<C> {
    /// Which proxies it is for. Unset: every proxy of the mesh.
    target_ref: Option<TargetRef>,
    /// The settings.
    default: Option<C>,
    /// Settings for what comes in. Excludes `from` and `to`.
    rules: Option<Vec<Rule<C>>>,
    /// Settings for what comes in.
    from: Option<Vec<From<C>>>,
    /// Settings for what goes out.
    to: Option<Vec<To<C>>>,
}

/// Settings for some of what comes in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "read from the tree")]
struct Rule<C> {
    /// Whose requests; any of these. Unset: everyone's.
    matches: Option<Vec<Match>>,
    /// The settings.
    default: C,
}

/// Clients. All that is given must match.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-one-at-least" = ["spiffeID", "sni"]))]
pub struct Match {
    /// The client's SPIFFE id.
    #[serde(rename = "spiffeID")]
    pub spiffe_id: Option<TextMatch>,
    /// The server name that the client asks for. Exact, lower case.
    pub sni: Option<TextMatch>,
}

/// A text that is compared.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TextMatch {
    /// How.
    #[serde(rename = "type")]
    pub kind: TextMatchType,
    /// With what.
    pub value: String,
}

/// How a text is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TextMatchType {
    /// The whole text.
    Exact,
    /// Its beginning.
    Prefix,
}

/// Settings for what comes in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "read from the tree")]
struct From<C> {
    /// From where: `kind: Mesh`.
    target_ref: Option<Anywhere>,
    /// The settings.
    default: C,
}

/// Where requests come from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "there is one")]
struct Anywhere {
    /// What is meant.
    kind: AnywhereKind,
}

/// Where requests come from.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
enum AnywhereKind {
    /// Wherever.
    Mesh,
}

/// Settings for what goes out.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "read from the tree")]
struct To<C> {
    /// Where to. Unset: everywhere.
    target_ref: Option<Destination>,
    /// The settings.
    default: C,
}

/// The target of a policy's spec, the mesh if it has none. `None` if it cannot be read, which was refused.
pub(crate) fn target(spec: &Node) -> Option<TargetRef> {
    match spec.get("targetRef") {
        None => Some(TargetRef::default()),
        Some(node) => serde_json::from_value(node.to_json()).ok(),
    }
}

fn schema_of_parts<P: Policy>() -> Schema {
    let mut schema = schemars::schema_for!(Spec<P::Conf>);
    if let Some(properties) = schema.get_mut("properties").and_then(Json::as_object_mut) {
        let has = |part: &Part| P::PARTS.iter().any(|own| own.field() == part.field());
        let lacks = Part::ALL.iter().filter(|part| !has(part));
        for part in lacks {
            properties.remove(part.field());
        }
    }
    accept_one_backend(&mut schema);
    let whole = P::schema_of_whole();
    if whole.is_object() {
        schema.insert("x-also".to_owned(), json!([whole]));
    }
    schema
}

/// Says that a single `backend: {…}` stands for `backends: [{…}]`, see [`list_of_one_backend`].
fn accept_one_backend(schema: &mut Schema) {
    let definitions = schema.get_mut("$defs").and_then(Json::as_object_mut);
    for definition in definitions.into_iter().flat_map(|all| all.values_mut()) {
        let Some(backends) = definition.pointer("/properties/backends") else { continue };
        let one =
            json!({"description": backends["description"], "$ref": backends["items"]["$ref"]});
        if let Some(definition) = definition.as_object_mut() {
            let others = definition.entry("x-accepts-fields").or_insert_with(|| json!({}));
            others["backend"] = one;
            let also = definition.entry("x-also").or_insert_with(|| json!([]));
            also.as_array_mut().into_iter().for_each(|also| {
                also.push(json!({"properties": {"backend": {"not": {"type": "null"}}}}));
            });
        }
    }
}

fn rewrite<P: Policy>(spec: &mut Node, report: &Cursor<'_>) {
    if let Some(target) = spec.get_mut("targetRef") {
        target_ref::rewrite(target);
    }
    for part in P::PARTS {
        let paths: Vec<_> = part.holders(spec).into_iter().map(|(path, _)| path).collect();
        for path in paths {
            let report = below(report, &path);
            let Some(settings) = spec.at_mut(&path).and_then(|holder| holder.get_mut("default"))
            else {
                continue;
            };
            let report = report.key("default");
            list_of_one_backend(settings, &report);
            P::rewrite(settings, &report);
        }
    }
}

fn below<'r>(report: &Cursor<'r>, path: &Path) -> Cursor<'r> {
    path.segments().iter().fold(report.clone(), |report, segment| match segment {
        Segment::Key(key) => report.key(key),
        Segment::Index(index) => report.index(*index),
    })
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
    let inbound = P::PARTS.contains(&Part::Rules);
    let rules = TargetRules { section_name: inbound };
    validate_target::<P>(&target, rules, meta, &report.key("targetRef"));
    if P::PARTS.contains(&Part::From)
        && target.section_name.as_ref().is_some_and(|name| name.parse::<u16>().is_err())
    {
        report
            .key("targetRef")
            .key("sectionName")
            .warn("means nothing yet: only the number of a port does");
    }
    if P::PARTS.contains(&Part::Default) {
        let nothing = part::nothing();
        P::validate(spec.get("default").unwrap_or(&nothing), &target, &report.key("default"));
    }
    if P::PARTS != [Part::Default] && P::PARTS != [Part::Routes] {
        which_parts::<P>(spec, report);
    }
    for part in P::PARTS.iter().filter(|part| **part != Part::Default) {
        for (path, holder) in part.holders(spec) {
            let report = below(report, &path);
            validate_scope(*part, holder, &report);
            let Some(settings) = holder.get("default") else { continue };
            P::validate(settings, &target, &report.key("default"));
        }
    }
    P::validate_spec(spec, &target, report);
}

/// One of the parts at least, and `rules` alone. An empty list counts as absent.
fn which_parts<P: Policy>(spec: &Node, report: &Cursor<'_>) {
    let given = |part: &Part| match part {
        Part::Default => spec.get("default").is_some(),
        part => !part.holders(spec).is_empty(),
    };
    let parts: Vec<_> = P::PARTS.iter().filter(|part| given(part)).collect();
    if parts.is_empty() {
        let fields: Vec<_> = P::PARTS.iter().map(|part| format!("`{}`", part.field())).collect();
        report.refuse(format!("needs one of {} at least", fields.join(", ")));
    }
    let excluded = [Part::From, Part::Clients, Part::To];
    if parts.contains(&&Part::Rules) && parts.iter().any(|part| excluded.contains(part)) {
        report.refuse_with_hint(
            "`rules` excludes `from` and `to`",
            "write two policies, one for what comes in and one for what goes out",
        );
    }
}

fn validate_scope(part: Part, holder: &Node, report: &Cursor<'_>) {
    match part {
        Part::To => {
            let Some(node) = holder.get("targetRef") else { return };
            let report = report.key("targetRef");
            if let Some(destination) = report.decode::<Destination>(node) {
                destination.validate(&report);
            }
        }
        Part::Rules => {
            let matches = holder.get("matches").and_then(Node::as_list).unwrap_or_default();
            for (index, node) in matches.iter().enumerate() {
                let report = report.key("matches").index(index);
                if let Some(matched) = report.decode::<Match>(node) {
                    matched.validate(&report);
                }
            }
            if !matches.is_empty() {
                report.key("matches").warn("has no effect yet: this rule means nobody");
            }
        }
        Part::Clients => {
            let Some(node) = holder.get("targetRef") else { return };
            let report = report.key("targetRef");
            if let Some(source) = report.decode::<Source>(node) {
                source.validate(&report);
            }
        }
        Part::Default | Part::From | Part::Routes => {}
    }
}

impl Match {
    /// Reports what is not there, and what is no SPIFFE id or server name. The cursor stands on the match.
    pub(crate) fn validate(&self, report: &Cursor<'_>) {
        if self.spiffe_id.is_none() && self.sni.is_none() {
            report.refuse("needs a `spiffeID` or an `sni`");
        }
        if let Some(TextMatch { value, .. }) = &self.spiffe_id {
            let value_at = report.at("spiffeID.value");
            if !value.starts_with("spiffe://") {
                value_at.refuse("is no SPIFFE id; it begins with `spiffe://`");
            } else if value.ends_with('/') {
                value_at.refuse("must not end with `/`");
            }
        }
        if let Some(TextMatch { kind, value }) = &self.sni {
            if *kind != TextMatchType::Exact {
                report.at("sni.type").refuse("must be `Exact`");
            }
            if !names::is_host(value) || value.chars().any(|c| c.is_ascii_uppercase()) {
                report.at("sni.value").refuse("is not a DNS name in lower case");
            }
        }
    }
}

fn validate_target<P: Policy>(
    target: &TargetRef,
    rules: TargetRules,
    meta: &Meta,
    report: &Cursor<'_>,
) {
    target.validate(rules, report);
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
        TargetKind::MeshGateway => kind.warn("MeshGateway selects nothing yet"),
        TargetKind::MeshHttpRoute if !P::OF_ROUTES => kind.warn(format!(
            "MeshHTTPRoute selects nothing here: a {} is for proxies",
            P::NAMES.name
        )),
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
    let conf = decode(P::NAMES.name, tree, applied);
    P::apply(&Merged { conf, tree, effective }, backends, proxy, applied);
}

/// The settings in `tree`. Layers that were accepted one by one need not go together.
fn decode<C: Default + DeserializeOwned>(kind: &str, tree: &Tree, applied: &mut Applied) -> C {
    serde_json::from_value(tree.to_json()).unwrap_or_else(|error| {
        applied.warn(format!("{kind}: the policies do not go together: {error}"));
        C::default()
    })
}

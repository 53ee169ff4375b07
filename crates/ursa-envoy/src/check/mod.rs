//! A second look at the result, by other means than it was made with: names are unique, every
//! reference resolves, no credential is inside, hooks are where they must be.
//!
//! It reads the JSON form, so that what refers to a cluster is found wherever it stands.

mod hooks;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde_json::Value as Json;

use crate::bootstrap::{ADS_CLUSTER, OTLP_CLUSTER};
use crate::credentials;
use crate::json::to_json;
use crate::resources::{CDS, EDS, LDS, PIPELINE, RDS, Resources};

/// Fields of Envoy's API that hold credentials, and that nothing here has a use for.
const CREDENTIAL_FIELDS: [&str; 6] = [
    "call_credentials",
    "channel_credentials",
    "initial_metadata",
    "password",
    "private_key",
    "token_secret",
];

/// Something wrong in what a proxy would be sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Type URL of the resource.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub problem: String,
}

/// `Listener inbound:10.0.0.1:80: …`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.rsplit('.').next().unwrap_or(self.kind);
        write!(f, "{kind} {}: {}", self.name, self.problem)
    }
}

/// Everything that is wrong with `resources`, sorted. What [`mod@crate::resources`] makes of a
/// picture whose names are unique and whose references resolve has no findings.
pub fn check(resources: &Resources) -> Vec<Finding> {
    let mut check = Check { resources, findings: BTreeSet::new() };
    let mut stat_names = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    let credentials: Vec<String> = of_type(resources, PIPELINE)
        .filter_map(|(_, body)| serde_json::from_slice(body).ok())
        .flat_map(|pipeline: Json| credentials::in_clear(&pipeline))
        .collect();

    let (mut clusters, mut has_hooks) = (Vec::new(), false);
    for kind in [CDS, EDS, LDS, RDS] {
        for (name, body) in of_type(resources, kind) {
            let json = to_json(kind, body);
            if json.get("@type").is_some() {
                check.add(kind, name, "is not a message of its type".to_owned());
                continue;
            }
            if json.pointer("/name").or(json.pointer("/cluster_name")) != Some(&name.into()) {
                check.add(kind, name, "is delivered under another name than its own".to_owned());
            }
            if credentials.iter().any(|secret| contains(body, secret.as_bytes())) {
                check.add(kind, name, "contains a backend's credential".to_owned());
            }
            each_field(&json, &mut |field, value| check.field(kind, name, field, value));
            let stat_name = ["/alt_stat_name", "/stat_prefix", "/name"]
                .iter()
                .find_map(|path| json.pointer(path)?.as_str());
            if let Some(stat_name) = stat_name.filter(|_| matches!(kind, CDS | LDS)) {
                check.unique(&mut stat_names, kind, name, &format!("counts under `{stat_name}`"));
            }
            if let Some((address, port)) = (kind == LDS).then(|| listens_on(&json)).flatten() {
                check.unique(&mut addresses, kind, name, &format!("listens on {address}:{port}"));
            }
            if kind == LDS {
                has_hooks |= hooks::has_upstream(&json);
                for problem in hooks::of_listener(&json) {
                    check.add(LDS, name, problem);
                }
            }
            if kind == CDS {
                clusters.push((name, json));
            }
        }
    }
    for (name, cluster) in &clusters {
        if cluster.get("eds_cluster_config").is_some() && !check.has(EDS, name) {
            check.add(CDS, name, "waits for endpoints that are not there".to_owned());
        }
        if let Some(problem) = has_hooks.then(|| hooks::of_cluster(cluster)).flatten() {
            check.add(CDS, name, problem);
        }
    }
    for (name, _) in of_type(resources, EDS) {
        if !check.has(CDS, name) {
            check.add(EDS, name, "belongs to no cluster".to_owned());
        }
    }
    check.findings.into_iter().collect()
}

struct Check<'a> {
    resources: &'a Resources,
    findings: BTreeSet<Finding>,
}

impl Check<'_> {
    fn add(&mut self, kind: &'static str, name: &str, problem: String) {
        self.findings.insert(Finding { kind, name: name.to_owned(), problem });
    }

    fn has(&self, kind: &str, name: &str) -> bool {
        self.resources.get(kind).is_some_and(|resources| resources.contains_key(name))
    }

    fn field(&mut self, kind: &'static str, name: &str, field: &str, value: &Json) {
        let text = |field: &str| value.get(field).and_then(Json::as_str);
        let cluster = match field {
            "cluster" => value.as_str(),
            "envoy_grpc" => text("cluster_name"),
            _ => None,
        };
        let weighted = (field == "weighted_clusters").then(|| value.get("clusters")).flatten();
        let weighted = weighted.and_then(Json::as_array).into_iter().flatten();
        let weighted = weighted.filter_map(|one| one.get("name")?.as_str());
        for cluster in cluster.into_iter().chain(weighted) {
            if ![ADS_CLUSTER, OTLP_CLUSTER].contains(&cluster) && !self.has(CDS, cluster) {
                self.add(kind, name, format!("refers to cluster `{cluster}`, which is not there"));
            }
        }
        if let Some(routes) = (field == "rds").then(|| text("route_config_name")).flatten()
            && !self.has(RDS, routes)
        {
            self.add(kind, name, format!("waits for routes `{routes}`, which are not there"));
        }
        let header = (field == "header").then(|| text("key")).flatten();
        if CREDENTIAL_FIELDS.contains(&field) || header.is_some_and(credentials::is_telling) {
            self.add(kind, name, format!("has a credential in `{}`", header.unwrap_or(field)));
        }
    }

    fn unique(
        &mut self,
        seen: &mut BTreeMap<(&'static str, String), String>,
        kind: &'static str,
        name: &str,
        what: &str,
    ) {
        if let Some(other) = seen.insert((kind, what.to_owned()), name.to_owned()) {
            self.add(kind, name, format!("{what}, as `{other}` does"));
        }
    }
}

fn of_type<'a>(resources: &'a Resources, kind: &str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    resources
        .get(kind)
        .into_iter()
        .flatten()
        .map(|(name, resource)| (name.as_str(), resource.body.value.as_slice()))
}

/// Address and port, unless the system chooses the port.
fn listens_on(listener: &Json) -> Option<(&str, u64)> {
    let socket = listener.pointer("/address/socket_address")?;
    let port = socket.get("port_value")?.as_u64().filter(|port| *port > 0)?;
    Some((socket.get("address")?.as_str()?, port))
}

fn each_field(json: &Json, see: &mut impl FnMut(&str, &Json)) {
    match json {
        Json::Object(fields) => {
            for (name, value) in fields {
                see(name, value);
                each_field(value, see);
            }
        }
        Json::Array(items) => items.iter().for_each(|item| each_field(item, see)),
        _ => {}
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

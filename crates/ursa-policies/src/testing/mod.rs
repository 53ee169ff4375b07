//! Cases: resources and a proxy in, all that policies make of them out, as text that is read in review.
//!
//! A case is a file of resources as users write it. Its first line names the proxy, `# proxy: frontend`, one of `proxies/`; it is in zone `east`.
//! `# proxy: frontend with mTLS` is in a mesh that has it.
//! `# proxy: frontend without the module` is one whose Envoy does not load it, `…, Envoy 1.36.4` of that version; of others that is assumed.

mod corpus;
mod endpoints;
mod envoy;
mod examples;
mod permissions;
mod routes;

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use serde::de::DeserializeOwned;
use ursa_envoy::abilities::{Abilities, Module};
use ursa_envoy::proxy::{
    AccessLog, Cluster, ClusterKind, Direction, Endpoint, HeaderMatch, HeaderValue, HttpListener,
    Inbound, Listener, ListenerKind, ListenerTls, LogFilter, LogFormat, LogSink, LogValue, MeshTls,
    PathMatch, ProxyConfig, QueryMatch, QueryValue, RequestMatch, Route, RouteConfig, RouteTracing,
    Sampling, TagSource, TcpRoute, Tracer, Tracing,
};
use ursa_model::backend::{BackendRef, OpenTelemetryBackend};
use ursa_model::dataplane::{Dataplane, Protocol};
use ursa_model::document::{self, Document};
use ursa_model::key::{ProxyId, ResourceKey};
use ursa_model::kind::Kinds;
use ursa_model::mesh_trace_backend::MeshTraceBackend;
use ursa_model::pipeline::PipelineConfig;
use ursa_model::report::Violation;

use crate::backends::{Applied, Backends, ServiceRef};
use crate::effective;
use crate::explain::{Explained, ExplainedValue};
use crate::merge::Origin;
use crate::mesh_traffic_permission;
use crate::policy::PolicyResource;
use crate::subject::Subject;

/// Schemas are made once.
static KINDS: LazyLock<Kinds> = LazyLock::new(crate::kinds);

const MESH: &str = "default";
const ZONE: &str = "east";
/// Kinds of which it is shown what they change in what Envoy is told.
const SHOWN_IN_ENVOY: [&str; 4] =
    ["MeshCircuitBreaker", "MeshHealthCheck", "MeshRetry", "MeshTimeout"];

/// All that comes of `case`.
pub(crate) fn outcome(case: &str) -> String {
    let header = case.lines().next().unwrap_or_default();
    let name = header.strip_prefix("# proxy: ").expect("a case begins with `# proxy: NAME`");
    let (name, without) = match name.split_once(" without the module") {
        Some((name, envoy)) => (name, Some(envoy.strip_prefix(", Envoy ").map(str::to_owned))),
        None => (name, None),
    };
    let (name, has_mtls) = match name.strip_suffix(" with mTLS") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let mut proxy = TestProxy::named(name);
    proxy.has_mtls = has_mtls;
    if let Some(envoy) = without {
        let module = Module::Missing("this Envoy is too old".to_owned());
        proxy.abilities = Abilities { envoy, module };
    }
    outcome_for(&proxy, case)
}

/// All that comes of `case` for `proxy`.
fn outcome_for(proxy: &TestProxy, case: &str) -> String {
    let parsed = document::parse(case, &KINDS);
    let policies: Vec<_> = parsed
        .documents
        .iter()
        .filter_map(|document| PolicyResource::from_document(document, None))
        .map(Arc::new)
        .collect();
    let effective = effective::effective(&policies, &proxy.subject());
    let mut config = proxy.config();
    let applied = effective::apply(&effective, &Resources(parsed.documents), &mut config);
    assert_eq!(
        ursa_envoy::check::check(&ursa_envoy::resources::resources(&config)),
        [],
        "the configuration is sound"
    );

    let mut text = String::new();
    section(&mut text, "violations", parsed.violations.iter().map(violation));
    if effective.iter().all(|effective| effective.policies().is_empty()) {
        text.push_str("no policy selects the proxy\n");
        if !proxy.has_mtls {
            assert_eq!(config, proxy.config(), "without policies a proxy is as it was");
            return text;
        }
    }
    for effective in effective.iter().filter(|effective| !effective.policies().is_empty()) {
        let Explained { kind, policies, values, remarks, .. } = effective.explain().with(&applied);
        let title = format!("{kind} of {}, weakest first", proxy.id);
        section(&mut text, &title, policies.iter().map(ToString::to_string));
        section(&mut text, "explained", values.iter().map(explained));
        section(&mut text, "remarks", remarks);
    }
    let Applied { warnings, uses, uses_by_labels, lacks, .. } = applied;
    section(&mut text, "warnings", warnings);
    let lacking = lacks.iter().map(|lack| {
        let asked: Vec<_> =
            lack.asked.iter().map(|(policy, path)| format!("{policy} {path}")).collect();
        format!("{}, asked for by {}", lack.words, asked.join(", "))
    });
    section(&mut text, "lacks", lacking);
    let by_labels = uses_by_labels.iter().map(|kind| format!("{} by labels", kind.name()));
    section(&mut text, "uses", uses.iter().map(ToString::to_string).chain(by_labels));
    let in_envoy = |effective: &&effective::Effective| SHOWN_IN_ENVOY.contains(&effective.kind());
    if effective.iter().filter(in_envoy).any(|effective| !effective.policies().is_empty()) {
        section(&mut text, "Envoy", envoy::changes(&proxy.config(), &config));
    }
    section(&mut text, "listeners", config.listeners.iter().map(listener));
    let decisions = |listener| mesh_traffic_permission::permissions(&effective, listener, MESH);
    section(
        &mut text,
        "permissions",
        config
            .listeners
            .iter()
            .filter_map(|listener| permissions::of_listener(listener, &decisions(listener))),
    );
    section(&mut text, "routes", config.listeners.iter().filter_map(routes::of_listener));
    let before = proxy.config().clusters.len();
    section(&mut text, "clusters", config.clusters.iter().skip(before).map(|it| it.name.clone()));
    let logs = config.listeners.iter().filter(|listener| !listener.access_logs.is_empty());
    section(&mut text, "access logs", logs.map(access_logs));
    let channels = config.pipeline.channels.iter();
    section(
        &mut text,
        "channels",
        channels.map(|(name, channel)| {
            let channel = serde_json::to_value(channel).expect("channels are JSON");
            format!("{name}\n{}", document::to_yaml(&channel))
        }),
    );
    let collection = config.pipeline.collection.iter();
    section(
        &mut text,
        "collection",
        collection.map(|collection| {
            let collection = serde_json::to_value(collection).expect("collections are JSON");
            format!("by the agent\n{}", document::to_yaml(&collection))
        }),
    );
    let traces = &config.pipeline.traces;
    section(
        &mut text,
        "backends",
        traces.backends.iter().map(|backend| {
            let spec = serde_json::to_value(&backend.spec).expect("backends are JSON");
            let mut text = format!("{}\n{}", backend.name, document::to_yaml(&spec).trim_end());
            for (name, value) in &backend.resource_attributes {
                write!(text, "\nresource attribute {name}: {value}").expect("writing to a string");
            }
            text
        }),
    );
    section(
        &mut text,
        "processors",
        traces.processors.iter().map(|processor| {
            document::to_yaml(&serde_json::to_value(processor).expect("processors are JSON"))
        }),
    );
    let labels = config.pipeline.span_labels.iter();
    section(
        &mut text,
        "labels of durations",
        labels.map(|label| {
            let from = serde_json::to_value(&label.from).expect("labels are JSON");
            format!("{}, {} at most\n{}", label.name, label.limit, document::to_yaml(&from))
        }),
    );
    section(
        &mut text,
        "resource attributes",
        traces.resource_attributes.iter().map(|(name, value)| format!("{name}: {value}")),
    );
    text
}

fn section(text: &mut String, title: &str, lines: impl IntoIterator<Item = String>) {
    let lines: Vec<_> =
        lines.into_iter().map(|line| line.trim_end().replace('\n', "\n      ")).collect();
    if !lines.is_empty() {
        writeln!(text, "{title}:\n  {}", lines.join("\n  ")).expect("writing to a string");
    }
}

fn violation(violation: &Violation) -> String {
    let severity = if violation.is_refusal() { "refused" } else { "warning" };
    let hint = violation.hint.as_ref().map(|hint| format!("\n({hint})")).unwrap_or_default();
    format!("{severity} {violation}{hint}")
}

fn origin(Origin { policy, place, path, .. }: &Origin) -> String {
    format!("{policy} {place} {path}")
}

fn explained(explained: &ExplainedValue) -> String {
    let ExplainedValue { path, value, origin: own, overridden, without_effect } = explained;
    let mut text = format!(
        "{path} = {value}  [{}]",
        own.as_ref().map_or_else(|| "default".to_owned(), origin)
    );
    for (weaker, value) in overridden {
        write!(text, "\nnot {value}  [{}]", origin(weaker)).expect("writing to a string");
    }
    if let Some(why) = without_effect {
        write!(text, "\nnot in effect: {why}").expect("writing to a string");
    }
    text
}

fn listener(listener: &Listener) -> String {
    let ListenerKind::Http(http) = &listener.kind else { return format!("{}: tcp", listener.name) };
    let tracer = http.tracing.as_ref().map_or("no tracer", |tracing| &tracing.service_name);
    let mut text = format!("{}: {tracer}", listener.name);
    if let Some(Tracing { tracer: tracer @ Tracer::Zipkin { .. }, .. }) = &http.tracing {
        write!(text, " by {tracer:?}").expect("writing to a string");
    }
    if let Some(propagation) = &http.propagation {
        write!(text, ", hooks {}", propagation.told()).expect("writing to a string");
    }
    let mut before: &[_] = &[];
    let is_off = |route: &&Route| route.tracing.sampling == Sampling::NONE;
    let (all, decided) = http.routes.routes.split_last().expect("a listener has a route");
    let off: Vec<_> =
        decided.iter().filter(is_off).map(|route| requests(&route.requests)).collect();
    if !off.is_empty() {
        write!(text, "\noff: {}", off.join(" | ")).expect("writing to a string");
    }
    let traced = decided.iter().filter(|route| !is_off(route)).chain([all]);
    for Route { requests, tracing: RouteTracing { sampling, tags }, .. } in traced {
        let (overall, client, random) = (sampling.overall, sampling.client, sampling.random);
        write!(
            text,
            "\n{}: overall {overall}, client {client}, random {random}",
            self::requests(requests)
        )
        .expect("writing to a string");
        if !tags.is_empty() && before == tags.as_slice() {
            text.push_str("\n   the same tags");
            continue;
        }
        before = tags;
        for tag in tags {
            let source = match &tag.source {
                TagSource::Literal(text) => format!("{text:?}"),
                TagSource::Header { name, default: Some(default) } => {
                    format!("header {name}, else {default:?}")
                }
                TagSource::Header { name, default: None } => format!("header {name}"),
            };
            write!(text, "\n   {}: {source}", tag.name).expect("writing to a string");
        }
    }
    text
}

fn access_logs(listener: &Listener) -> String {
    let mut text = listener.name.clone();
    for AccessLog { sink, filter } in &listener.access_logs {
        let (place, lines) = match sink {
            LogSink::File { path, format: LogFormat::Text(line) } => {
                (format!("file {path}"), vec![format!("{line:?}")])
            }
            LogSink::File { path, format: LogFormat::Json { fields, omit_empty } } => {
                let omits = if *omit_empty { ", without what is empty" } else { "" };
                (format!("file {path}, JSON{omits}"), pairs(fields))
            }
            LogSink::Agent { channel, body, attributes } => {
                let body = body.as_ref().map(|body| format!("body {}", value(body)));
                (format!("agent as {channel}"), body.into_iter().chain(pairs(attributes)).collect())
            }
        };
        write!(text, "\n{place}").expect("writing to a string");
        if *filter != LogFilter::default() {
            write!(text, " of {filter:?}").expect("writing to a string");
        }
        for line in lines {
            write!(text, "\n   {line}").expect("writing to a string");
        }
    }
    text
}

fn pairs(pairs: &[(String, String)]) -> Vec<String> {
    pairs.iter().map(|(key, value)| format!("{key}: {value}")).collect()
}

fn value(of: &LogValue) -> String {
    match of {
        LogValue::Text(text) => format!("{text:?}"),
        LogValue::List(items) => {
            format!("[{}]", items.iter().map(value).collect::<Vec<_>>().join(", "))
        }
        LogValue::Map(entries) => {
            let entries = entries.iter().map(|(key, inner)| format!("{key}: {}", value(inner)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

pub(super) fn requests(RequestMatch { path, method, headers, query }: &RequestMatch) -> String {
    let mut text = match path {
        PathMatch::Prefix(path) => path.clone(),
        PathMatch::Segments(path) => format!("{path}[/…]"),
        PathMatch::Exact(path) => format!("={path}"),
        PathMatch::Regex(path) => format!("~{path}"),
    };
    if let Some(method) = method {
        text.insert_str(0, &format!("{method} "));
    }
    for HeaderMatch { name, value } in headers {
        let value = match value {
            HeaderValue::Present => "present".to_owned(),
            HeaderValue::Absent => "absent".to_owned(),
            HeaderValue::Exact(value) => format!("={value}"),
            HeaderValue::Prefix(value) => format!("{value}…"),
            HeaderValue::Regex(value) => format!("~{value}"),
        };
        write!(text, ", {name} {value}").expect("writing to a string");
    }
    for QueryMatch { name, value } in query {
        let value = match value {
            QueryValue::Exact(value) => format!("={value}"),
            QueryValue::Regex(value) => format!("~{value}"),
        };
        write!(text, ", ?{name} {value}").expect("writing to a string");
    }
    text
}

/// A proxy of `proxies/`.
pub(crate) struct TestProxy {
    id: ProxyId,
    dataplane: Dataplane,
    document: Document,
    abilities: Abilities,
    has_mtls: bool,
}

impl TestProxy {
    /// The proxy in `proxies/{name}.yaml`.
    pub(crate) fn named(name: &str) -> Self {
        let path = format!("{}/src/testing/proxies/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let parsed = document::parse(&text, &KINDS);
        let document = parsed
            .documents
            .into_iter()
            .next()
            .unwrap_or_else(|| panic!("{path}: {:?}", parsed.violations));
        let dataplane = decode(&document);
        let id = ProxyId::new(MESH, &document.key.name);
        Self { id, dataplane, document, abilities: Abilities::default(), has_mtls: false }
    }

    pub(crate) fn subject(&self) -> Subject<'_> {
        let labels = &self.document.meta.labels;
        Subject { id: &self.id, dataplane: &self.dataplane, labels, zone: Some(ZONE) }
    }

    /// Its configuration before any policy.
    fn config(&self) -> ProxyConfig {
        let networking = &self.dataplane.networking;
        let service = self.dataplane.service(&self.document.meta.labels, &self.id.name).to_owned();
        let mut facts =
            networking.inbound.first().map(|inbound| inbound.tags.clone()).unwrap_or_default();
        facts.extend(
            [("mesh", "default"), ("zone", ZONE)]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let inbound = networking.inbound.iter().map(|inbound| {
            let address = self.dataplane.inbound_address(inbound);
            let service = inbound.service().unwrap_or(&service);
            let tls = if self.has_mtls { ListenerTls::Strict } else { ListenerTls::Off };
            let own = Inbound { name: inbound.name.clone(), tags: inbound.tags.clone() };
            let listener =
                listener_of(Direction::Inbound, address, inbound.port, service, inbound.protocol());
            (Listener { inbound: Some(own), tls, ..listener }, inbound.protocol())
        });
        let outbound = networking.outbound.iter().map(|outbound| {
            let service = outbound.service().unwrap_or_default();
            let named = outbound.tags.get("kuma.io/protocol");
            let protocol = named.map_or(Some(Protocol::Http), |name| Protocol::named(name));
            let protocol = protocol.expect("a protocol");
            let address = outbound.address();
            (listener_of(Direction::Outbound, address, outbound.port, service, protocol), protocol)
        });
        let listeners: Vec<_> = inbound.chain(outbound).collect();
        let cluster = |(listener, protocol): &(Listener, Protocol)| {
            let kind = match listener.direction {
                Direction::Inbound => {
                    ClusterKind::Local { address: "127.0.0.1".to_owned(), port: listener.port + 1 }
                }
                Direction::Outbound => {
                    let tags = [("version".to_owned(), "v1".to_owned())].into();
                    let address = "10.0.0.1".to_owned();
                    let endpoint = Endpoint { zone: None, address, port: 80, tags };
                    ClusterKind::Eds { endpoints: vec![endpoint] }
                }
            };
            Cluster::new(&listener.name, &listener.destination, kind, *protocol)
        };
        let clusters = listeners.iter().map(cluster).collect();
        let listeners = listeners.into_iter().map(|(listener, _)| listener).collect();
        let pipeline = PipelineConfig { facts, ..PipelineConfig::default() };
        let address = networking.address.clone();
        let abilities = self.abilities.clone();
        let id = self.id.clone();
        let mesh_tls = self.has_mtls.then(|| MeshTls { trust_domain: MESH.to_owned() });
        ProxyConfig { id, service, address, mesh_tls, abilities, listeners, clusters, pipeline }
    }
}

fn listener_of(
    direction: Direction,
    address: &str,
    port: u16,
    service: &str,
    protocol: Protocol,
) -> Listener {
    let name = format!("{direction:?} {address}:{port}").to_lowercase();
    let kind = if protocol.is_http() {
        let routes = RouteConfig { name: name.clone(), routes: vec![Route::to(&name)] };
        ListenerKind::Http(HttpListener::new(&name, direction, routes))
    } else {
        ListenerKind::Tcp(TcpRoute::to(&name))
    };
    Listener {
        name,
        direction,
        address: address.to_owned(),
        port,
        destination: service.to_owned(),
        inbound: None,
        kind,
        tls: ListenerTls::Off,
        permissions: None,
        access_logs: Vec::new(),
    }
}

fn decode<T: DeserializeOwned>(document: &Document) -> T {
    serde_json::from_value(document.spec.to_json()).expect("what was accepted is of its type")
}

/// The backends among a case's resources, and the built-in one.
#[derive(Debug)]
struct Resources(Vec<Document>);

impl Resources {
    fn find<T: DeserializeOwned>(
        &self,
        mesh: &str,
        reference: &BackendRef,
    ) -> Option<(ResourceKey, T)> {
        let meant = |document: &&Document| {
            let labels = &document.meta.labels;
            document.key.kind == reference.kind.name()
                && document.key.mesh.as_deref() == Some(mesh)
                && reference.name.as_ref().is_none_or(|name| document.key.name == *name)
                && reference.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        self.0.iter().find(meant).map(|document| (document.key.clone(), decode(document)))
    }
}

impl Backends for Resources {
    fn cluster(&self, ServiceRef { name, port, tags }: &ServiceRef) -> Cluster {
        let mut of = name.clone();
        for part in
            port.iter().map(u16::to_string).chain(tags.iter().map(|(k, v)| format!("{k}={v}")))
        {
            write!(of, ":{part}").expect("writing to a string");
        }
        Cluster::new(of, name, ClusterKind::Eds { endpoints: Vec::new() }, Protocol::Http)
    }

    fn open_telemetry(
        &self,
        mesh: &str,
        reference: &BackendRef,
    ) -> Option<(ResourceKey, OpenTelemetryBackend)> {
        self.find(mesh, reference)
    }

    fn trace(&self, mesh: &str, reference: &BackendRef) -> Option<(ResourceKey, MeshTraceBackend)> {
        self.find(mesh, reference)
    }
}

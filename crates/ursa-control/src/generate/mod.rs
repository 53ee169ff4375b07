//! The configuration of one proxy: a pure function of the mesh's snapshot and the proxy.
//!
//! - Each inbound is a listener and a local cluster behind it; each outbound is a listener and a
//!   cluster whose endpoints are the inbounds, of all Dataplanes of the mesh, that have its tags. So
//!   are services that routes lead to.
//! - An inbound speaks what its `kuma.io/protocol` says. An outbound speaks what all of its
//!   destinations speak.
//! - Then the policies are applied, and the result is looked over once more ([`check`]).
//!
//! Names hold no IP address unless the Dataplane gives one of its own to the listener, so that the
//! statistics of a service's proxies have the same names.

pub(crate) mod services;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use ursa_envoy::abilities::Abilities;
use ursa_envoy::check::check;
use ursa_envoy::proxy::{
    Cluster, ClusterKind, Direction, HttpListener, Inbound, Listener, ListenerKind, ListenerTls,
    ProxyConfig, Route, RouteConfig, TcpRoute,
};
use ursa_envoy::resources::{IDENTITY, Resources, SECRET, resources};
use ursa_model::backend::OpenTelemetryBackend;
use ursa_model::dataplane::{Outbound, Protocol, SERVICE_TAG};
use ursa_model::pipeline::PipelineConfig;
use ursa_model::pipeline::metrics::MetricOutput;
use ursa_policies::backends::Applied;
use ursa_policies::effective::{Effective, apply, effective, effective_with_shadows, routes};
use ursa_policies::policy::PolicyResource;

use crate::backends::MeshBackends;
use crate::posture::Posture;
use crate::secrets;
use crate::snapshot::{MeshSnapshot, Proxy};
use crate::spans::Context;

/// Of the semantic conventions; a tag or label of that name says it.
const ENVIRONMENT: &str = "deployment.environment.name";

/// What holds for all proxies of this control plane.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The zone.
    pub(crate) zone: String,
    /// The MeshOpenTelemetryBackend named `ursa`.
    pub(crate) built_in: OpenTelemetryBackend,
}

/// Everything one proxy is to hold, and what it was made of.
pub(crate) struct Generated {
    /// The service that it speaks for.
    pub(crate) service: String,
    /// What it is sent.
    pub(crate) resources: Arc<Resources>,
    /// What does not work as written.
    pub(crate) warnings: Vec<String>,
    /// Backends that the policies looked up.
    pub(crate) applied: Applied,
    /// Services that its outbounds and routes lead to, also those that nobody serves.
    pub(crate) destinations: BTreeSet<String>,
    /// The MeshHTTPRoutes that hold for it.
    pub(crate) routes: Vec<Arc<PolicyResource>>,
    /// Secrets that its pipeline names, also those that are missing.
    pub(crate) secrets: BTreeSet<String>,
    /// Where its metrics leave.
    pub(crate) metrics: Vec<MetricOutput>,
    /// What it was made for, where the control plane traces itself.
    pub(crate) cause: Option<Context>,
    /// How it stands towards what should hold for every proxy.
    pub(crate) posture: Posture,
    /// What the second look found: mistakes of ours, not of the user's.
    pub(crate) findings: Vec<String>,
}

/// Without the resources, of which some are secret.
impl fmt::Debug for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generated")
            .field("service", &self.service)
            .field("warnings", &self.warnings)
            .field("findings", &self.findings)
            .finish_non_exhaustive()
    }
}

/// Which policies are considered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Consider {
    /// Those that are applied.
    #[default]
    Applied,
    /// Shadows too, as if they were applied.
    Shadows,
}

/// What the policies say about a proxy.
pub(crate) fn policies(
    mesh: &MeshSnapshot,
    proxy: &Proxy,
    site: &Site,
    consider: Consider,
) -> Vec<Effective> {
    let subject = proxy.subject(&site.zone);
    match consider {
        Consider::Applied => effective(&mesh.policies, &subject),
        Consider::Shadows => effective_with_shadows(&mesh.policies, &subject),
    }
}

/// Makes the configuration of a proxy.
pub(crate) fn generate(
    mesh: &MeshSnapshot,
    proxy: &Proxy,
    abilities: &Abilities,
    site: &Site,
) -> Generated {
    generate_as(&policies(mesh, proxy, site, Consider::Applied), mesh, proxy, abilities, site)
}

/// Makes what the configuration of a proxy would be, did `policies` hold for it.
pub(crate) fn generate_as(
    policies: &[Effective],
    mesh: &MeshSnapshot,
    proxy: &Proxy,
    abilities: &Abilities,
    site: &Site,
) -> Generated {
    compose(policies, mesh, proxy, abilities, site).1
}

/// The same with the picture that it is made of.
pub(crate) fn compose(
    policies: &[Effective],
    mesh: &MeshSnapshot,
    proxy: &Proxy,
    abilities: &Abilities,
    site: &Site,
) -> (ProxyConfig, Generated) {
    let Picture { mut config, mut destinations, mut warnings } = picture(mesh, proxy, site);
    config.abilities.clone_from(abilities);
    let applied = apply(policies, &MeshBackends { name: &proxy.id.mesh, mesh, site }, &mut config);
    for destination in applied.destinations.difference(&destinations) {
        if mesh.instances(destination).is_empty() {
            warnings.push(format!("nobody serves `{destination}`, which a route leads to"));
        }
    }
    destinations.extend(applied.destinations.iter().cloned());
    warnings.extend(applied.warnings.iter().cloned());

    let secrets = config.pipeline.secret_names();
    let mut resources = resources(&config);
    let findings = check(&resources).iter().map(ToString::to_string).collect();
    let (found, missing) = secrets::resources(mesh, &secrets);
    resources.insert(SECRET, found);
    if let Some((identity, problem)) = tls::identity(mesh, proxy) {
        resources.insert(IDENTITY, identity);
        warnings.extend(problem);
    }
    warnings.extend(missing.iter().map(|name| {
        format!("there is no Secret `{name}`, which a backend refers to; nothing is sent there")
    }));
    let outputs = config.pipeline.collection.iter().flat_map(|it| it.outputs.clone());
    let generated = Generated {
        service: config.service.clone(),
        metrics: outputs.collect(),
        cause: None,
        posture: Posture::of(&config),
        resources: Arc::new(resources),
        warnings,
        applied,
        destinations,
        routes: routes(policies).to_vec(),
        secrets,
        findings,
    };
    (config, generated)
}

/// A proxy before policies.
struct Picture {
    config: ProxyConfig,
    destinations: BTreeSet<String>,
    warnings: Vec<String>,
}

fn picture(mesh: &MeshSnapshot, proxy: &Proxy, site: &Site) -> Picture {
    let mut config = ProxyConfig {
        id: proxy.id.clone(),
        service: proxy.dataplane.service(&proxy.labels, &proxy.id.name).to_owned(),
        address: proxy.dataplane.networking.address.clone(),
        mesh_tls: tls::of_mesh(mesh, proxy),
        abilities: Abilities::default(),
        listeners: Vec::new(),
        clusters: Vec::new(),
        pipeline: pipeline(proxy, site),
    };
    let mut destinations = BTreeSet::new();
    let mut warnings = Vec::new();
    inbounds(mesh, proxy, &mut config);
    for outbound in &proxy.dataplane.networking.outbound {
        destinations.extend(outbound.service().map(str::to_owned));
        self::outbound(outbound, mesh, site, &mut config);
    }
    unique_listeners(&mut config, &mut warnings);
    for destination in &destinations {
        if mesh.instances(destination).is_empty() {
            warnings.push(format!("nobody serves `{destination}`, which an outbound leads to"));
        }
    }
    Picture { config, destinations, warnings }
}

/// What the agent is told, before policies: who the proxy is.
fn pipeline(proxy: &Proxy, site: &Site) -> PipelineConfig {
    let service = proxy.dataplane.service(&proxy.labels, &proxy.id.name).to_owned();
    let mut facts = BTreeMap::new();
    // The first to say something about a name is right: the facts, then tags, then labels.
    let mut fact = |name: &str, value: &str| {
        facts.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    };
    fact("mesh", &proxy.id.mesh);
    fact("zone", &site.zone);
    fact("name", &proxy.id.name);
    fact(SERVICE_TAG, &service);
    fact("kuma.proxy_role", if proxy.dataplane.is_gateway() { "gateway" } else { "sidecar" });
    for (name, value) in proxy.dataplane.tag_sets().chain([&proxy.labels]).flatten() {
        fact(name, value);
    }
    let known =
        |names: [&str; 2]| names.iter().find_map(|name| facts.get(*name)).map(String::as_str);
    let resource = [
        ("service.name", Some(service.as_str())),
        ("service.namespace", known(["service.namespace", "k8s.kuma.io/namespace"])),
        ("service.version", known(["service.version", "version"])),
        ("service.instance.id", Some(&*proxy.id.name)),
        (ENVIRONMENT, known([ENVIRONMENT, "deployment.environment"])),
        ("kuma.mesh", Some(&*proxy.id.mesh)),
        ("kuma.zone", Some(&*site.zone)),
    ];
    let resource = resource.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let resource = resource.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    PipelineConfig { facts, resource, ..PipelineConfig::default() }
}

fn inbounds(mesh: &MeshSnapshot, proxy: &Proxy, config: &mut ProxyConfig) {
    for inbound in &proxy.dataplane.networking.inbound {
        let port = inbound.port;
        let place = match &inbound.address {
            Some(own) => format!("{own}:{port}"),
            None => port.to_string(),
        };
        let (name, cluster) = (format!("inbound:{place}"), format!("local:{place}"));
        let (address, port_of_service) = (inbound.service_address(), inbound.service_port());
        let kind = ClusterKind::Local { address: address.to_owned(), port: port_of_service };
        let service = inbound.service().unwrap_or(&config.service);
        config.clusters.push(Cluster::new(&cluster, service, kind, inbound.protocol()));
        let way = Way {
            counted_as: name.clone(),
            name,
            direction: Direction::Inbound,
            address: proxy.dataplane.inbound_address(inbound),
            port,
            destination: inbound.service().unwrap_or(&config.service),
            protocol: inbound.protocol(),
            cluster,
        };
        let inbound = Inbound { name: inbound.name.clone(), tags: inbound.tags.clone() };
        config.listeners.push(Listener {
            inbound: Some(inbound),
            tls: tls::of_inbounds(mesh),
            ..way.listener()
        });
    }
}

fn outbound(outbound: &Outbound, mesh: &MeshSnapshot, site: &Site, config: &mut ProxyConfig) {
    let Some(service) = services::of_outbound(outbound) else { return };
    let (cluster, protocol) = services::cluster(&service, (&config.id.mesh, mesh), site);
    let name_of_cluster = cluster.name.clone();
    if !config.clusters.iter().any(|known| known.name == cluster.name) {
        config.clusters.push(cluster);
    }
    let port = outbound.port;
    let name = match &outbound.address {
        Some(own) => format!("outbound:{own}:{port}"),
        None => format!("outbound:{port}"),
    };
    let way = Way {
        name,
        direction: Direction::Outbound,
        address: outbound.address(),
        port,
        destination: &service.name,
        protocol,
        counted_as: format!("outbound:{name_of_cluster}"),
        cluster: name_of_cluster,
    };
    config.listeners.push(way.listener());
}

/// What comes in by one listener, and where all of it goes.
struct Way<'a> {
    name: String,
    direction: Direction,
    address: &'a str,
    port: u16,
    destination: &'a str,
    protocol: Protocol,
    /// In statistics, where it speaks HTTP.
    counted_as: String,
    cluster: String,
}

impl Way<'_> {
    /// The listener, before policies.
    fn listener(self) -> Listener {
        let Self { name, direction, address, port, destination, protocol, counted_as, cluster } =
            self;
        let kind = if protocol.is_http() {
            let routes = RouteConfig { name: name.clone(), routes: vec![Route::to(cluster)] };
            ListenerKind::Http(HttpListener::new(counted_as, direction, routes))
        } else {
            ListenerKind::Tcp(TcpRoute::to(cluster))
        };
        let (address, destination) = (address.to_owned(), destination.to_owned());
        let (tls, permissions, access_logs) = (ListenerTls::Off, None, Vec::new());
        Listener {
            name,
            direction,
            address,
            port,
            destination,
            inbound: None,
            kind,
            tls,
            permissions,
            access_logs,
        }
    }
}

/// Two listeners on one address would make Envoy refuse the second again and again; it is left
/// out, and said so.
fn unique_listeners(config: &mut ProxyConfig, warnings: &mut Vec<String>) {
    let mut names = BTreeSet::new();
    let mut places = BTreeSet::new();
    config.listeners.retain(|listener| {
        let new = names.insert(listener.name.clone())
            & places.insert((listener.address.clone(), listener.port));
        if !new {
            let (address, port) = (&listener.address, listener.port);
            warnings.push(format!("{address} port {port} is listened on twice; one is left out"));
        }
        new
    });
    let mut names = BTreeSet::new();
    config.clusters.retain(|cluster| names.insert(cluster.name.clone()));
}

//! What a MeshMetric does to a proxy: what its agent gathers, and a channel of the pipeline for each OTLP backend.

use std::collections::{BTreeMap, BTreeSet};

use ursa_envoy::proxy::{ClusterKind, ProxyConfig};
use ursa_model::dataplane::{SERVICE_TAG, WORKLOAD_LABEL};
use ursa_model::duration::Duration;
use ursa_model::pipeline::metrics::{
    self as border, Collection, MetricDestination, MetricOutput, PrometheusEndpoint, PrometheusTls,
    Push, Selection,
};
use ursa_model::pipeline::{self, Channel, ExporterSpec, SignalConfig};

use super::prometheus::is_prometheus;
use super::schema::{Application, Backend, Conf, OpenTelemetryMetrics, Sidecar};
use super::{entities, schema};
use crate::backends::{Applied, Backends, Lookup, warn_of_unknown};
use crate::kind::Merged;

/// What Kuma calls a Prometheus without a `clientId`.
const UNNAMED: &str = "default-backend";

pub(super) fn conf(
    merged: &Merged<'_, Conf>,
    backends: &dyn Backends,
    proxy: &mut ProxyConfig,
    applied: &mut Applied,
) {
    let conf = &merged.conf;
    let written = merged.origin(&["backends"]);
    let mut ways =
        Ways { proxy, backends, applied, conf, outputs: Vec::new(), channels: Vec::new() };
    for (index, backend) in conf.backends.iter().flatten().enumerate() {
        let inline = written.map_or_else(String::new, |origin| {
            format!("inline of {} at {}", origin.policy, origin.path.index(index))
        });
        ways.add(backend, inline);
    }
    let Ways { outputs, channels, .. } = ways;
    if outputs.is_empty() {
        return;
    }
    let own = channels.iter().flat_map(|(_, channel)| &channel.signal.backends);
    let attributes = own.flat_map(|backend| &backend.resource_attributes);
    warn_of_unknown(attributes.chain(&conf.resource_attributes), &proxy.pipeline, applied);
    proxy.pipeline.channels.extend(channels);
    proxy.pipeline.collection = Some(Collection {
        labels: labels(proxy),
        resource_attributes: conf.resource_attributes.clone(),
        clusters: entities::clusters(proxy),
        listeners: entities::listeners(proxy),
        applications: conf.applications.iter().flatten().map(|it| application(it, proxy)).collect(),
        outputs,
    });
}

/// The ways out of one proxy.
struct Ways<'a> {
    proxy: &'a ProxyConfig,
    backends: &'a dyn Backends,
    applied: &'a mut Applied,
    conf: &'a Conf,
    outputs: Vec<MetricOutput>,
    channels: Vec<(String, Channel)>,
}

impl Ways<'_> {
    /// Adds the way of a backend, which is called `inline` unless it is a resource or a Prometheus. What does not work is in the warnings.
    fn add(&mut self, backend: &Backend, inline: String) {
        let (name, to) = if let Some(prometheus) = &backend.prometheus {
            let endpoint = prometheus.endpoint(&self.proxy.address);
            if !self.can_serve(&endpoint) {
                return;
            }
            let name = prometheus.client_id.clone().unwrap_or_else(|| UNNAMED.to_owned());
            (self.unique(name), MetricDestination::Prometheus(endpoint))
        } else if let Some(metrics) = &backend.open_telemetry {
            let Some(found) = self.backend(metrics, inline) else { return };
            let name = self.unique(found.name.clone());
            self.channels.push((name.clone(), self.channel(found)));
            (name, MetricDestination::Push(push(metrics)))
        } else {
            return;
        };
        self.outputs.push(MetricOutput {
            name,
            selection: selection(&self.conf.sidecar, &backend.sidecar),
            cardinality: self
                .conf
                .cardinality
                .limit
                .map(|limit| border::Cardinality { limit })
                .unwrap_or_default(),
            to,
        });
    }

    /// Whether Prometheus can be answered there.
    fn can_serve(&mut self, endpoint: &PrometheusEndpoint) -> bool {
        let port = endpoint.port;
        let is_same = |listens: &str| {
            let anywhere = |address: &str| matches!(address, "0.0.0.0" | "::");
            endpoint.address.is_none_or(|own| anywhere(listens) || listens.parse() == Ok(own))
        };
        let listener = self
            .proxy
            .listeners
            .iter()
            .find(|listener| listener.port == port && is_same(&listener.address));
        if let Some(listener) = listener {
            self.applied.warn(format!(
                "Prometheus is not answered on port {port}: {} has it",
                listener.name
            ));
            return false;
        }
        if endpoint.tls == PrometheusTls::ActiveMtlsBackend {
            self.applied.warn(format!(
                "Prometheus is not answered on port {port}: not with the mesh's certificates yet"
            ));
            return false;
        }
        true
    }

    fn backend(
        &mut self,
        metrics: &OpenTelemetryMetrics,
        inline: String,
    ) -> Option<pipeline::Backend> {
        let mut lookup = Lookup {
            mesh: &self.proxy.id.mesh,
            backends: self.backends,
            applied: self.applied,
            without: "no metrics go there",
        };
        let backend = lookup.open_telemetry(&metrics.backend, inline)?;
        let mut all = self.conf.backends.iter().flatten();
        let doubles =
            matches!(&backend.spec, ExporterSpec::OpenTelemetry(spec) if is_prometheus(spec));
        if doubles && all.any(|backend| backend.prometheus.is_some()) {
            self.applied.warn(format!(
                "{} is a Prometheus; if it asks this proxy as well, every sum over it doubles",
                backend.name
            ));
        }
        Some(backend)
    }

    fn channel(&self, backend: pipeline::Backend) -> Channel {
        let signal = SignalConfig {
            backends: vec![backend],
            resource_attributes: self.conf.resource_attributes.clone(),
            ..SignalConfig::default()
        };
        Channel { signal, access_log: None }
    }

    /// The name, with a number if another output has it.
    fn unique(&self, name: String) -> String {
        let taken: BTreeSet<&str> =
            self.outputs.iter().map(|output| output.name.as_str()).collect();
        let mut numbered = (2..).map(|number: u32| format!("{name} ({number})"));
        if !taken.contains(name.as_str()) {
            return name;
        }
        numbered.find(|name| !taken.contains(name.as_str())).unwrap_or(name)
    }
}

fn push(metrics: &OpenTelemetryMetrics) -> Push {
    let interval = metrics.refresh_interval.map(Duration::get);
    let interval = interval.and_then(|interval| u64::try_from(interval.as_millis()).ok());
    Push {
        interval_ms: interval.unwrap_or(Push::default().interval_ms),
        temporality: metrics.temporality.unwrap_or_default(),
        histograms: metrics.histograms.unwrap_or_default(),
    }
}

/// What a backend's own `sidecar` says, else the policy's.
fn selection(policy: &Sidecar, own: &Sidecar) -> Selection {
    fn either<T: Clone>(own: Option<&T>, policy: Option<&T>) -> Option<T> {
        own.or(policy).cloned()
    }
    let (mine, theirs) = (&own.profiles, &policy.profiles);
    let profiles = either(mine.append_profiles.as_ref(), theirs.append_profiles.as_ref());
    let broadest = profiles.into_iter().flatten().map(|schema::NamedProfile { name }| name).max();
    Selection {
        profile: broadest.unwrap_or_default(),
        include: either(mine.include.as_ref(), theirs.include.as_ref()).unwrap_or_default(),
        exclude: either(mine.exclude.as_ref(), theirs.exclude.as_ref()).unwrap_or_default(),
        include_unused: own.include_unused.or(policy.include_unused).unwrap_or_default(),
    }
}

/// Who the proxy is, on each of its series.
fn labels(proxy: &ProxyConfig) -> BTreeMap<String, String> {
    let facts = &proxy.pipeline.facts;
    let fact = |name: &str| facts.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let namespace = fact("k8s.kuma.io/namespace");
    let labels = [
        ("mesh", Some(proxy.id.mesh.as_str())),
        ("zone", fact("zone")),
        ("dataplane", Some(proxy.id.name.as_str())),
        ("kuma_io_service", Some(fact(SERVICE_TAG).unwrap_or(&proxy.service))),
        ("kuma_workload", fact(WORKLOAD_LABEL)),
        ("kuma_proxy_role", Some(fact("kuma.proxy_role").unwrap_or("sidecar"))),
        ("namespace", namespace),
        ("pod", namespace.map(|_| fact("kuma.io/display-name").unwrap_or(&proxy.id.name))),
    ];
    let labels = labels.into_iter().filter_map(|(name, value)| Some((name, value?)));
    labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn application(application: &Application, proxy: &ProxyConfig) -> border::Application {
    let behind_an_inbound = || {
        proxy.clusters.iter().find_map(|cluster| match &cluster.kind {
            ClusterKind::Local { address, port } if *port == application.port => Some(address),
            _ => None,
        })
    };
    let address = application.address.as_ref();
    border::Application {
        name: application.name.clone(),
        address: address.or_else(behind_an_inbound).unwrap_or(&proxy.address).clone(),
        port: application.port,
        path: application.path().to_owned(),
    }
}

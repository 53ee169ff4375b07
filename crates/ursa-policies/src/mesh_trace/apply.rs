//! What a MeshTrace does to a proxy: a tracer on every HTTP listener, sampling and tags on every route, and the backend in the agent's pipeline.

use std::collections::{BTreeMap, BTreeSet};

use ursa_envoy::proxy::{self, ProxyConfig, RouteTracing, TagSource, Tracing};
use ursa_model::backend::{BackendKind, BackendRef, OpenTelemetryBackend};
use ursa_model::mesh_trace_backend::{InlineOpenTelemetry, MeshTraceBackend};
use ursa_model::percent::Percent;
use ursa_model::pipeline::{self, PipelineConfig, SignalConfig};
use ursa_model::template;

use super::schema::{Backend, Conf, Sampling, Tag};
use crate::backends::{Applied, Backends};
use crate::kind::Merged;

pub(super) fn conf(
    merged: &Merged<'_, Conf>,
    backends: &dyn Backends,
    proxy: &mut ProxyConfig,
    applied: &mut Applied,
) {
    let conf = &merged.conf;
    let inline = || {
        merged
            .origin(&["backends"])
            .map_or_else(String::new, |origin| format!("inline of {}", origin.policy))
    };
    let mut lookup = Lookup { mesh: &proxy.id.mesh, backends, applied };
    let backend = conf.backends.iter().flatten().next();
    let delivery = backend.and_then(|backend| lookup.delivery(backend, inline));

    let Some((backend, mut resource_attributes)) = delivery else {
        // The routes too: connections that outlive their listener's tracer stop at once.
        trace(proxy, None, &RouteTracing::off());
        proxy.pipeline.traces = SignalConfig::default();
        return;
    };
    resource_attributes.extend(conf.resource_attributes.clone());
    warn_of_unknown(&resource_attributes, &proxy.pipeline, applied);
    proxy.pipeline.traces =
        SignalConfig { backends: vec![backend], resource_attributes, ..SignalConfig::default() };

    let tracer = Tracing { service_name: proxy.service.clone() };
    let tags = tags(conf.tags.as_deref().unwrap_or_default(), proxy);
    trace(proxy, Some(&tracer), &RouteTracing { sampling: sampling(&conf.sampling), tags });
}

fn trace(proxy: &mut ProxyConfig, tracer: Option<&Tracing>, tracing: &RouteTracing) {
    for listener in proxy.http_listeners_mut() {
        listener.tracing = tracer.cloned();
        for route in &mut listener.routes.routes {
            route.tracing = tracing.clone();
        }
    }
}

/// A backend for the pipeline, and the resource attributes that it brings.
type Delivery = (pipeline::Backend, BTreeMap<String, String>);

/// Backends by name or labels, for the proxies of one mesh.
struct Lookup<'a> {
    mesh: &'a str,
    backends: &'a dyn Backends,
    applied: &'a mut Applied,
}

impl Lookup<'_> {
    /// Where the spans of `backend` go. `None`: nowhere, and why is in the warnings.
    fn delivery(&mut self, backend: &Backend, inline: impl FnOnce() -> String) -> Option<Delivery> {
        match &backend.reference {
            None => self.trace_backend(&backend.inline, inline()),
            Some(reference) => match reference.kind {
                BackendKind::MeshTraceBackend => self.referred_trace_backend(reference),
                BackendKind::MeshOpenTelemetryBackend => self.referred_open_telemetry(reference),
            },
        }
    }

    /// A backend that stands in the policy or in a MeshTraceBackend, under the name it shall have.
    fn trace_backend(&mut self, backend: &MeshTraceBackend, name: String) -> Option<Delivery> {
        let Some(InlineOpenTelemetry { backend_ref, backend }) = &backend.open_telemetry else {
            let form = if backend.zipkin.is_some() { "zipkin" } else { "datadog" };
            self.applied
                .warnings
                .push(format!("{name}: `{form}` has no effect yet; nothing is traced"));
            return None;
        };
        let Some(reference) = backend_ref else { return Some(named(name, backend.clone())) };
        let (found, mut attributes) = self.referred_open_telemetry(reference)?;
        attributes.extend(backend.resource_attributes.clone());
        Some((found, attributes))
    }

    fn referred_trace_backend(&mut self, reference: &BackendRef) -> Option<Delivery> {
        self.applied.looks_up(self.mesh, reference);
        let Some((key, backend)) = self.backends.trace(self.mesh, reference) else {
            return self.missing(reference);
        };
        self.trace_backend(&backend, key.to_string())
    }

    fn referred_open_telemetry(&mut self, reference: &BackendRef) -> Option<Delivery> {
        self.applied.looks_up(self.mesh, reference);
        match self.backends.open_telemetry(self.mesh, reference) {
            Some((key, backend)) => Some(named(key.to_string(), backend)),
            None => self.missing(reference),
        }
    }

    fn missing(&mut self, reference: &BackendRef) -> Option<Delivery> {
        let backend = described(reference, self.mesh);
        self.applied
            .warnings
            .push(format!("{backend} does not exist; nothing is traced until it does"));
        None
    }
}

/// What a reference means, in words.
fn described(reference: &BackendRef, mesh: &str) -> String {
    let kind = reference.kind.name();
    match &reference.name {
        Some(name) => format!("{kind} {mesh}/{name}"),
        None => {
            let labels: Vec<_> =
                reference.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("a {kind} of mesh {mesh} with {}", labels.join(", "))
        }
    }
}

/// The backend's resource attributes are taken out of it: they are merged with the policies' and put on once.
fn named(name: String, mut spec: OpenTelemetryBackend) -> Delivery {
    let resource_attributes = std::mem::take(&mut spec.resource_attributes);
    (pipeline::Backend::new(name, spec), resource_attributes)
}

fn sampling(sampling: &Sampling) -> proxy::Sampling {
    proxy::Sampling {
        overall: sampling.overall.unwrap_or(Percent::HUNDRED),
        client: sampling.client.unwrap_or(Percent::HUNDRED),
        random: sampling.random.unwrap_or(Percent::HUNDRED),
    }
}

/// The user's tags, the first of each name, and then where the proxy is unless the user says so.
fn tags(tags: &[Tag], proxy: &ProxyConfig) -> Vec<proxy::Tag> {
    let own = tags
        .iter()
        .filter_map(|tag| Some(proxy::Tag { name: tag.name.clone(), source: source(tag)? }));
    let literal = |name: &str, value: &str| proxy::Tag {
        name: name.to_owned(),
        source: TagSource::Literal(value.to_owned()),
    };
    let fact = |name: &str, fact: &str| {
        proxy
            .pipeline
            .facts
            .get(fact)
            .filter(|value| !value.is_empty())
            .map(|value| literal(name, value))
    };
    let standard = [
        Some(literal("kuma.mesh", &proxy.id.mesh)),
        fact("kuma.zone", "zone"),
        fact("kuma.workload", "kuma.io/workload"),
    ];
    let mut names = BTreeSet::new();
    own.chain(standard.into_iter().flatten()).filter(|tag| names.insert(tag.name.clone())).collect()
}

/// `None` for a source without effect yet.
fn source(tag: &Tag) -> Option<TagSource> {
    if let Some(literal) = &tag.literal {
        return Some(TagSource::Literal(literal.clone()));
    }
    let header = tag.header.as_ref()?;
    let default = header.default.clone().filter(|default| !default.is_empty());
    Some(TagSource::Header { name: header.name.clone(), default })
}

/// Warns of attributes that will be left out. What the agent alone knows is not looked at here.
fn warn_of_unknown(
    attributes: &BTreeMap<String, String>,
    pipeline: &PipelineConfig,
    applied: &mut Applied,
) {
    let known = |name: &str| {
        let agents = name.starts_with("env.") || name.starts_with("k8s.");
        if agents { Some(name.to_owned()) } else { pipeline.facts.get(name).cloned() }
    };
    for (attribute, value) in attributes {
        let missing = template::render(value, known).missing;
        if let Some(name) = missing.first() {
            applied.warnings.push(format!(
                "resource attribute `{attribute}` is left out: this proxy has no `{name}`"
            ));
        }
    }
}

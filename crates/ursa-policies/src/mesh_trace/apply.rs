//! What a MeshTrace does to a proxy: a tracer on every HTTP listener, sampling and tags on every route, and the backend in the agent's pipeline.

use std::collections::BTreeSet;

use ursa_envoy::proxy::{ProxyConfig, Route, RouteTracing, Sampling, Tracer, Tracing};
use ursa_model::pipeline::{Backend, ExporterSpec, Processor, SignalConfig, processor};

use super::decisions::{self, Decision};
use super::schema::{Conf, SemanticConventions};
use super::{baggage, delivery, tags};
use crate::backends::{Applied, Backends, warn_of_unknown};
use crate::kind::Merged;

pub(super) fn conf(
    merged: &Merged<'_, Conf>,
    backends: &dyn Backends,
    proxy: &mut ProxyConfig,
    applied: &mut Applied,
) {
    let conf = &merged.conf;
    let backends = delivery::backends(merged, &proxy.id.mesh, backends, applied);
    if backends.is_empty() {
        // The routes too: connections that outlive their listener's tracer stop at once.
        trace(proxy, None, &RouteTracing::off());
        proxy.pipeline.traces = SignalConfig::default();
        baggage::warn_of_switched_off(&conf.baggage, applied);
        return;
    }
    warn_of_formats(conf, &backends, applied);
    let own = backends.iter().flat_map(|backend| &backend.resource_attributes);
    warn_of_unknown(own.chain(&conf.resource_attributes), &proxy.pipeline, applied);
    proxy.pipeline.traces = SignalConfig {
        backends,
        resource_attributes: conf.resource_attributes.clone(),
        processors: processors(conf, proxy),
    };

    let tracer = Tracing { service_name: proxy.service.clone(), tracer: Tracer::OpenTelemetry };
    let tags = tags::of_envoy(conf);
    trace(proxy, Some(&tracer), &RouteTracing { sampling: decisions::rest(&conf.sampling), tags });
    decide(proxy, &decisions::decisions(&conf.sampling));
    // Last: rules go behind the formats, where there are hooks already.
    baggage::apply(&conf.baggage, proxy, applied);
}

fn trace(proxy: &mut ProxyConfig, tracer: Option<&Tracing>, tracing: &RouteTracing) {
    for listener in proxy.http_listeners_mut() {
        listener.tracing = tracer.cloned();
        for route in &mut listener.routes.routes {
            route.tracing = tracing.clone();
        }
    }
}

/// Puts a route for each decision before the one that takes all requests of a listener.
fn decide(proxy: &mut ProxyConfig, decisions: &[Decision]) {
    for listener in proxy.http_listeners_mut() {
        let routes = std::mem::take(&mut listener.routes.routes);
        for all in routes {
            let decided = |Decision { requests, shares, .. }: &Decision| {
                let tracing = match *shares {
                    Sampling::NONE => RouteTracing::off(),
                    sampling => RouteTracing { sampling, ..all.tracing.clone() },
                };
                Route { requests: requests.clone(), tracing, ..all.clone() }
            };
            listener.routes.routes.extend(decisions.iter().map(decided));
            listener.routes.routes.push(all);
        }
    }
}

/// What the agent does to spans before they leave.
fn processors(conf: &Conf, proxy: &ProxyConfig) -> Vec<Processor> {
    let conventions = conf.semantic_conventions != Some(SemanticConventions::Envoy);
    let conventions = conventions
        .then(|| Processor::SemanticConventions(processor::SemanticConventions::default()));
    let name = conf.span_name.clone();
    let name = name.map(|template| Processor::SpanName(processor::SpanName { template }));
    [Processor::EnvoyTags(tags::literals(conf, proxy))]
        .into_iter()
        .chain(tags::from_baggage(conf).map(Processor::Baggage))
        .chain(conventions)
        .chain(name)
        .collect()
}

/// Warns of formats of the trace context that a backend brings along where no list says otherwise.
fn warn_of_formats(conf: &Conf, backends: &[Backend], applied: &mut Applied) {
    for (form, propagator) in
        backends.iter().filter_map(|backend| brings(&backend.spec)).collect::<BTreeSet<_>>()
    {
        if conf.propagators.is_none() {
            applied.warnings.push(format!(
                "propagator `{propagator}`, which comes with a {form} backend, has no effect yet: context travels as `w3c_tracecontext`"
            ));
        }
    }
}

/// The format that applications beside such a backend are used to.
fn brings(spec: &ExporterSpec) -> Option<(&'static str, &'static str)> {
    match spec {
        ExporterSpec::Zipkin(_) => Some(("Zipkin", "b3multi")),
        ExporterSpec::Datadog(_) => Some(("Datadog", "datadog")),
        _ => None,
    }
}

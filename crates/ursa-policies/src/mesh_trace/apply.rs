//! What a MeshTrace does to a proxy: a tracer on every HTTP listener, sampling and tags on every route, the module around the
//! tracer where it takes that, and the backend in the agent's pipeline.

use ursa_envoy::proxy::{ProxyConfig, Route, RouteTracing, Sampling, Tracing};
use ursa_model::pipeline::{Processor, SignalConfig, processor};

use super::decisions::{self, Decision};
use super::schema::{Conf, SemanticConventions};
use super::{baggage, delivery, in_metrics, propagation, tags};
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
        baggage::warn_of_switched_off(merged, applied);
        return;
    }
    let formats = propagation::formats(conf, &backends);
    let own = backends.iter().flat_map(|backend| &backend.resource_attributes);
    warn_of_unknown(own.chain(&conf.resource_attributes), &proxy.pipeline, applied);
    proxy.pipeline.traces = SignalConfig {
        backends,
        resource_attributes: conf.resource_attributes.clone(),
        processors: processors(conf, proxy),
    };
    proxy.pipeline.span_labels = in_metrics::labels(conf);

    let tracer = propagation::apply(formats, merged, proxy, applied);
    let tracing = Tracing { service_name: proxy.service.clone(), tracer };
    let tags = tags::of_envoy(conf);
    trace(proxy, Some(&tracing), &RouteTracing { sampling: decisions::rest(&conf.sampling), tags });
    decide(proxy, &decisions::decisions(&conf.sampling, tracer));
    // Last: rules go where there are hooks already.
    baggage::apply(merged, proxy, applied);
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

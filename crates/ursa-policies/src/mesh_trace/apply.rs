//! What a MeshTrace does to a proxy: a tracer on every HTTP listener, sampling and tags on every route, the module around the
//! tracer where it takes that, and the backend in the agent's pipeline.

use ursa_envoy::proxy::{ProxyConfig, Route, RouteTracing, Sampling, Tracer, Tracing};
use ursa_model::pipeline::processor::EnvoyTags;
use ursa_model::pipeline::{Processor, SignalConfig, processor};

use super::decisions::{self, Decision};
use super::routes::{self, Traced};
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
    let of_routes = routes::settings(merged, proxy, applied);
    let traced = Traced::of(merged, &of_routes, applied);
    let conf = traced.conf;
    let backends = delivery::backends(conf, traced.tree, &proxy.id.mesh, backends, applied);
    if backends.is_empty() {
        off(proxy);
        proxy.pipeline.traces = SignalConfig::default();
        baggage::warn_of_switched_off(merged, applied);
        return;
    }
    let formats = propagation::formats(conf, &backends);
    let own = backends.iter().flat_map(|backend| &backend.resource_attributes);
    warn_of_unknown(own.chain(&conf.resource_attributes), &proxy.pipeline, applied);
    let all = tags::of_all(traced.confs().map(|(conf, _)| conf), proxy);
    proxy.pipeline.traces = SignalConfig {
        backends,
        resource_attributes: conf.resource_attributes.clone(),
        processors: processors(&traced, &all),
    };
    proxy.pipeline.span_labels = in_metrics::labels(conf);

    let tracer = propagation::apply(formats, merged, proxy, applied);
    trace(proxy, &traced, tracer, &all);
    // Last: rules go where there are hooks already.
    baggage::apply(merged, proxy, applied);
}

/// No tracer. The routes too: connections that outlive their listener's tracer stop at once.
fn off(proxy: &mut ProxyConfig) {
    for listener in proxy.http_listeners_mut() {
        listener.tracing = None;
        for route in &mut listener.routes.routes {
            route.tracing = RouteTracing::off();
        }
    }
}

fn trace(proxy: &mut ProxyConfig, traced: &Traced<'_>, tracer: Tracer, all: &EnvoyTags) {
    let tracing = Tracing { service_name: proxy.service.clone(), tracer };
    let made = |route: Route, proxy: &ProxyConfig| {
        let Some((conf, name)) = traced.of_route(&route) else {
            return vec![Route { tracing: RouteTracing::off(), ..route }];
        };
        let mut tags = tags::of_envoy(conf, proxy, all, &baggage_tag(traced, conf, name));
        tags::of_route(&route, &mut tags);
        let tracing = RouteTracing { sampling: decisions::rest(&conf.sampling), tags };
        decide(Route { tracing, ..route }, &decisions::decisions(&conf.sampling, tracer))
    };
    let mut all_routes = Vec::new();
    for http in proxy.http_listeners() {
        let routes = http.routes.routes.iter().cloned();
        all_routes.push(routes.flat_map(|route| made(route, proxy)).collect());
    }
    for (http, routes) in proxy.http_listeners_mut().zip(all_routes) {
        http.tracing = Some(tracing.clone());
        http.routes.routes = routes;
    }
}

/// Puts a route for each decision before one for all else that it takes.
fn decide(all: Route, decisions: &[Decision]) -> Vec<Route> {
    let decided = |Decision { requests, shares, by }: &Decision| {
        let tracing = match *shares {
            Sampling::NONE => RouteTracing::off(),
            sampling => RouteTracing { sampling, ..all.tracing.clone() },
        };
        Some(Route { tracing, decided_by: Some(*by), ..all.narrowed(requests)? })
    };
    let mut routes: Vec<_> = decisions.iter().filter_map(decided).collect();
    routes.push(all);
    routes
}

/// The tag in which baggage travels to the agent; routes that want other members of it have tags of their own.
fn baggage_tag(traced: &Traced<'_>, conf: &Conf, route: Option<&str>) -> String {
    let of = |conf| tags::from_baggage(conf, tags::BAGGAGE);
    match route.filter(|_| traced.of_routes_alone || of(conf) != of(traced.conf)) {
        Some(route) => format!("{}.{route}", tags::BAGGAGE),
        None => tags::BAGGAGE.to_owned(),
    }
}

/// What the agent does to spans before they leave.
fn processors(traced: &Traced<'_>, all: &EnvoyTags) -> Vec<Processor> {
    let conf = traced.conf;
    let conventions = conf.semantic_conventions != Some(SemanticConventions::Envoy);
    let conventions = conventions
        .then(|| Processor::SemanticConventions(processor::SemanticConventions::default()));
    let name = conf.span_name.clone();
    let name = name.map(|template| Processor::SpanName(processor::SpanName { template }));
    let mut from_baggage = Vec::new();
    for (conf, route) in traced.confs() {
        let baggage = tags::from_baggage(conf, &baggage_tag(traced, conf, route));
        let baggage = baggage.map(Processor::Baggage);
        from_baggage.extend(baggage.filter(|baggage| !from_baggage.contains(baggage)));
    }
    let all = (!all.set.is_empty()).then(|| Processor::EnvoyTags(all.clone()));
    all.into_iter().chain(from_baggage).chain(conventions).chain(name).collect()
}

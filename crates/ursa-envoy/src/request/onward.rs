//! What the next proxy is told of the decision where this one records no span.

use ursa_propagation::Format;

use super::context::{Brought, brought};
use super::{Request, Traced, Verdict};
use crate::proxy::{HttpListener, RouteAction, Tracer};

/// The first Envoy whose OpenTelemetry tracer writes its own decision; those before write the caller's.
const FIRST_TO_DECIDE: (u32, u32) = (1, 39);

/// What goes on to whoever is next, in words, where that is not what a span that is recorded says. `traced` is what becomes of
/// `request` at `listener`, and `envoy` the proxy's version.
pub fn onward(
    listener: &HttpListener,
    request: &Request,
    traced: &Traced,
    envoy: Option<&str>,
) -> Option<String> {
    let tracer = listener.tracing.as_ref()?.tracer;
    let route = listener.routes.routes.get(traced.route?)?;
    if !matches!(route.action, RouteAction::Forward(_)) {
        return None; // it is answered here
    }
    let of_traces = |format: Format| format != Format::W3cBaggage;
    if listener.propagation.as_ref().is_some_and(|hooks| !hooks.formats.iter().any(of_traces)) {
        return Some("no trace context goes on: the list names no format of it".to_owned());
    }
    let is_zipkin = tracer != Tracer::OpenTelemetry;
    let keeps = is_zipkin || envoy.is_some_and(is_before);
    let says_recorded = match brought(listener, request).0 {
        Brought::Broken(_) if is_zipkin => {
            return Some("what goes on in B3 cannot be read either".to_owned());
        }
        Brought::Broken(header) => return Some(format!("`{header}` goes on as it came")),
        Brought::Parent { sampled, was_open, .. } => keeps && sampled && !was_open,
        Brought::Nothing => false,
    };
    let words = match (&traced.verdict, says_recorded) {
        (Verdict::No, false) => "what goes on says not recorded",
        (Verdict::No, true) => {
            "what goes on says recorded, as the caller did: spans behind this proxy hang below one that is missing"
        }
        (Verdict::Share { .. } | Verdict::Open { .. }, true) => {
            "what goes on says recorded, as the caller did, even where this span is not"
        }
        (Verdict::Yes, _) | (_, false) => return None,
    };
    Some(words.to_owned())
}

/// A version that cannot be read is taken to be new.
fn is_before(envoy: &str) -> bool {
    let mut parts = envoy.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < FIRST_TO_DECIDE,
        _ => false,
    }
}

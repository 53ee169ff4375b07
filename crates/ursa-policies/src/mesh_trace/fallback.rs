//! What Envoy's own tracers do for a list of formats where the module is not to be had: its Zipkin tracer where B3 is
//! listed, else its OpenTelemetry tracer; and what that is otherwise than the list says.

use ursa_envoy::proxy::Tracer;
use ursa_propagation::{Format, Formats};

/// The first Envoy whose Zipkin tracer answers in the form of B3 that came; those before write the three headers.
const FIRST_TO_ANSWER_ALIKE: (u32, u32) = (1, 40);

/// The tracer for a list.
pub(super) fn tracer(formats: Formats) -> Tracer {
    let single = formats.contains(Format::B3);
    if single || formats.contains(Format::B3multi) {
        Tracer::Zipkin { w3c: formats.contains(Format::W3cTracecontext), single }
    } else {
        Tracer::OpenTelemetry
    }
}

/// Whether a format that is listed is read and written with this tracer.
pub(super) fn keeps(tracer: Tracer, format: Format) -> bool {
    match format {
        Format::W3cTracecontext | Format::W3cBaggage => true,
        Format::B3 | Format::B3multi => tracer != Tracer::OpenTelemetry,
        _ => false,
    }
}

/// In what a tracer of this Envoy does not keep to the formats that it keeps, in clauses.
pub(super) fn otherwise(
    formats: Formats,
    tracer: Tracer,
    envoy: Option<&str>,
) -> Vec<&'static str> {
    let Tracer::Zipkin { w3c, single } = tracer else { return Vec::new() };
    let multi = formats.contains(Format::B3multi);
    let of_traces = |format: &Format| *format != Format::W3cBaggage && keeps(tracer, *format);
    let w3c_first = w3c && formats.iter().find(of_traces) == Some(Format::W3cTracecontext);
    [
        (w3c_first, "B3 is read before `w3c_tracecontext`"),
        (!multi, "`b3multi` is read and written too"),
        (!single, "`b3` is read too"),
        (multi && answers_alike(envoy), "`b3multi` is not written where `b3` came"),
        (true, "`b3: d` goes on as sampled"),
        (true, "a request with a broken B3 header has no span"),
    ]
    .into_iter()
    .filter_map(|(holds, words)| holds.then_some(words))
    .collect()
}

/// A version that cannot be read is taken to be new.
fn answers_alike(envoy: Option<&str>) -> bool {
    let mut parts = envoy.unwrap_or_default().split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= FIRST_TO_ANSWER_ALIKE,
        _ => true,
    }
}

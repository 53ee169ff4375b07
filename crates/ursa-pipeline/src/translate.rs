//! What is done with a request of whatever form: translating, cutting.

use bytes::Bytes;
use ursa_otlp::{datadog, wire, zipkin};

use crate::{Form, Signal};

/// A request of that form as an OTLP export request.
///
/// # Errors
/// In words: it is not of that form.
pub(crate) fn to_otlp(form: Form, request: &Bytes) -> Result<Bytes, String> {
    match form {
        Form::Otlp => Ok(request.clone()),
        Form::Zipkin => {
            zipkin::to_otlp(request).map(Bytes::from).map_err(|error| error.to_string())
        }
        Form::Datadog => {
            datadog::to_otlp(request).map(Bytes::from).map_err(|error| error.to_string())
        }
    }
}

/// Requests of the same form of at most `max_bytes` each, if it can be cut so far, and how many items
/// each has; none if it is not of that form.
pub(crate) fn split(
    form: Form,
    signal: Signal,
    request: &Bytes,
    max_bytes: usize,
) -> Vec<(Bytes, usize)> {
    match form {
        Form::Otlp => wire::split(signal, request, max_bytes).unwrap_or_default(),
        Form::Zipkin => zipkin::split(request, max_bytes).unwrap_or_default(),
        Form::Datadog => datadog::split(request, max_bytes).unwrap_or_default(),
    }
}

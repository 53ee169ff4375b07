//! From one form of telemetry to another.

use bytes::Bytes;
use ursa_otlp::{datadog, zipkin};

use crate::Form;

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

//! Fuzz target of the wire views. `cargo test` runs the kept corpus (`__fuzz__`) and some random
//! inputs; `cargo bolero test` searches for more.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use ursa_otlp::Signal;
use ursa_otlp::wire::{WireError, check, mend_text};

/// What the walk accepts, a decoder accepts; mended texts are texts.
#[test]
fn wire() {
    bolero::check!().for_each(|bytes: &[u8]| {
        for signal in Signal::ALL {
            if let Ok(mended) = mend_text(signal, bytes) {
                assert!(!matches!(check(signal, &mended), Err(WireError::Text { .. })));
            }
            assert!(check(signal, bytes).is_err() || decodes(signal, bytes));
        }
    });
}

fn decodes(signal: Signal, bytes: &[u8]) -> bool {
    match signal {
        Signal::Traces => ExportTraceServiceRequest::decode(bytes).is_ok(),
        Signal::Metrics => ExportMetricsServiceRequest::decode(bytes).is_ok(),
        Signal::Logs => ExportLogsServiceRequest::decode(bytes).is_ok(),
    }
}

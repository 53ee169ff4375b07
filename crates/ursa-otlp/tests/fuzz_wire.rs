//! Fuzz target of the wire views. `cargo test` runs the kept corpus (`__fuzz__`) and some random
//! inputs; `cargo bolero test` searches for more.

use std::collections::BTreeMap;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use ursa_otlp::Signal;
use ursa_otlp::wire::{ResourceAttributes, WireError, check, mend_text};

/// What the walk accepts, a decoder accepts and counts alike, before and after an edit.
#[test]
fn wire() {
    let set = BTreeMap::from([("service.name".to_owned(), "shop".to_owned())]);
    let fill = BTreeMap::from([("host.name".to_owned(), "node".to_owned())]);
    let attributes = ResourceAttributes::new(&set, &fill);
    bolero::check!().for_each(|bytes: &[u8]| {
        let bytes = Bytes::copy_from_slice(bytes);
        for signal in Signal::ALL {
            if let Ok(mended) = mend_text(signal, &bytes) {
                assert!(!matches!(check(signal, &mended), Err(WireError::Text { .. })));
            }
            let edited = attributes.apply(&bytes);
            if let Ok(items) = check(signal, &bytes) {
                assert!(decodes(signal, &bytes));
                let edited = edited.unwrap();
                assert!(decodes(signal, &edited));
                // What has no item by its own signal may be left out.
                assert!(check(signal, &edited).unwrap() <= items);
            }
        }
        if let Ok(items) = check(Signal::Traces, &bytes) {
            let edited = attributes.apply(&bytes).unwrap();
            assert_eq!(check(Signal::Traces, &edited), Ok(items));
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

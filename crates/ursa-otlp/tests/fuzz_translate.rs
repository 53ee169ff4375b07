//! Fuzz targets of the translators. `cargo test` runs the kept corpora (`__fuzz__`) and some random
//! inputs; `cargo bolero test` searches for more.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use ursa_otlp::process::Rules;
use ursa_otlp::{Signal, datadog, wire, zipkin};

const LIMIT: usize = 1 << 20;

/// What was checked goes through every translation, with as many spans.
fn zipkin_list(list: &[u8]) {
    let of_envoy = zipkin::of_envoy(list).map(|request| {
        let found = wire::inspect(Signal::Traces, &request).unwrap();
        (found.items, found.invalid_ids)
    });
    let Ok(spans) = zipkin::check(list) else {
        assert!(of_envoy.is_err() || of_envoy.is_ok_and(|(_, invalid)| invalid > 0));
        assert!(zipkin::to_otlp(list).is_err());
        return;
    };
    assert_eq!(of_envoy.unwrap(), (spans, 0));
    let request = zipkin::to_otlp(list).unwrap();
    assert_eq!(wire::check(Signal::Traces, &request), Ok(spans));
    if let Ok((back, written)) = zipkin::from_otlp(&request, zipkin::TraceIds::Whole, LIMIT) {
        assert_eq!((zipkin::check(&back).unwrap(), written), (spans, spans));
    }
    let proto = zipkin::to_proto(list).unwrap();
    let again = zipkin::from_proto(&proto).unwrap();
    assert_eq!(zipkin::check(&again).unwrap(), spans);
    assert_eq!(zipkin::to_proto(&again).unwrap(), proto);
    let list = Bytes::copy_from_slice(list);
    let processed = zipkin::apply(&Rules::default(), &list).unwrap();
    assert_eq!((processed.request, processed.items), (list.clone(), spans));
    let joined = zipkin::join([&list, &again.into()]).concat();
    assert_eq!(zipkin::check(&joined).unwrap(), 2 * spans);
}

fn datadog_message(message: &[u8]) {
    let Ok(count) = datadog::check(message) else {
        assert!(datadog::to_otlp(message).is_err());
        return;
    };
    let request = datadog::to_otlp(message).unwrap();
    assert_eq!(wire::check(Signal::Traces, &request), Ok(count.spans));
    if let Ok((back, written)) = datadog::from_otlp(&request, datadog::Services::AsNamed, LIMIT) {
        assert_eq!((datadog::check(&back).unwrap().spans, written), (count.spans, count.spans));
    }
    let message = Bytes::copy_from_slice(message);
    let processed = datadog::apply(&Rules::default(), &message).unwrap();
    assert_eq!((&processed.request, processed.items), (&message, count.spans));
    let joined = datadog::join([&message, &message]);
    let twice = datadog::Count { traces: 2 * count.traces, spans: 2 * count.spans };
    assert_eq!(datadog::check(&joined.pieces.concat()).unwrap(), twice);
    assert_eq!(joined.traces, twice.traces);
}

#[test]
fn zipkin_json() {
    bolero::check!().for_each(|text: &[u8]| {
        zipkin_list(text);
        if let Ok(list) = zipkin::from_v1_json(text) {
            zipkin::check(&list).unwrap();
            zipkin_list(&list);
        }
    });
}

#[test]
fn zipkin_proto() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(list) = zipkin::from_proto(bytes) {
            zipkin::check(&list).unwrap();
            zipkin_list(&list);
        }
    });
}

#[test]
fn datadog_msgpack() {
    bolero::check!().for_each(|bytes: &[u8]| {
        datadog_message(bytes);
        if let Ok(message) = datadog::from_v05(bytes, LIMIT) {
            assert!(message.len() <= 2 * LIMIT);
            datadog_message(&message);
        }
        if let Ok(message) = datadog::from_json(bytes) {
            datadog_message(&message);
        }
    });
}

/// Requests that nobody checked do no harm either.
#[test]
fn otlp() {
    bolero::check!().for_each(|request: &[u8]| {
        let checked = wire::check(Signal::Traces, request);
        if let Ok((list, spans)) = zipkin::from_otlp(request, zipkin::TraceIds::Whole, LIMIT) {
            assert_eq!(zipkin::check(&list).unwrap(), spans);
            assert!(checked.is_err() || spans <= checked.unwrap());
        }
        if let Ok((message, spans)) = datadog::from_otlp(request, datadog::Services::AsNamed, LIMIT)
        {
            assert_eq!(datadog::check(&message).unwrap().spans, spans);
            assert!(checked.is_err() || spans <= checked.unwrap());
        }
    });
}

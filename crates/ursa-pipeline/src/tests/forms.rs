//! Spans that come in a form of their own.

use serde_json::Value;
use ursa_otlp::datadog;

use super::*;
use crate::Form;

/// A Zipkin backend is sent what came, an OTLP backend what the processors make of it in OTLP; both
/// are spared what a filter drops.
#[tokio::test]
async fn every_form_goes_through_the_processors() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("otlp.json");
    let rig = Rig::new();
    let config = json!({"traces": {
        "backends": [
            {"name": "file", "spec": {"file": {"path": file}}},
            {"name": "zipkin", "spec": {"zipkin": {"url": "http://zipkin:1/api/v2/spans"}}},
        ],
        "resourceAttributes": {"team": "core"},
        "processors": [{"filter": {"name": "probes", "drop": [{"spanName": {"exact": "probe"}}]}}],
    }});
    rig.pipeline.reconfigure(serde_json::from_value(config).unwrap(), &BTreeMap::new()).await;
    let span = |id: &str, name: &str| {
        json!({"traceId": "00000000000000aa", "id": id, "name": name, "shared": true,
            "tags": {"http.url": "http://u:p@shop/?card=4711"}})
    };
    let request = json!([span("00000000000000b1", "probe"), span("00000000000000b2", "buy")]);
    let request = Bytes::from(request.to_string());
    let received = Received { form: Form::Zipkin, request, ..received(Bytes::new(), 2) };
    rig.pipeline.sink().accept(received).await.unwrap();

    rig.settle().await;
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(!written.contains("4711") && !written.contains("u:p"), "{written}");
    let written: Value = serde_json::from_str(written.trim()).unwrap();
    let spans = &written["resourceSpans"][0];
    assert_eq!(spans["scopeSpans"][0]["spans"][0]["spanId"], "00000000000000b2");
    let attributes = spans["resource"]["attributes"].as_array().unwrap();
    let team = json!({"key": "team", "value": {"stringValue": "core"}});
    assert!(attributes.contains(&team), "{attributes:?}");

    let taken = rig.server.received("zipkin");
    assert!(taken[0].names().eq(["buy"]) && taken[0].headers["content-type"] == "application/json");
    assert!(!format!("{taken:?}").contains("4711"));

    for name in ["file", "zipkin"] {
        let ledger = rig.status(name).await.ledger;
        assert_eq!((ledger.received, ledger.delivered), (2, 1), "{name}");
        assert_eq!(ledger.filtered, BTreeMap::from([("probes".to_owned(), 1)]), "{name}");
        assert_eq!(ledger.difference, 0, "{name}");
    }
    let mut trace = [0; 16];
    trace[15] = 0xaa;
    let audit = rig.pipeline.audit(trace);
    assert_eq!(audit.spans.len(), 2, "{audit:#?}");
    rig.pipeline.shutdown(Duration::ZERO).await;
}

/// Each backend gets what it shall, and both are told of the same spans.
#[tokio::test]
async fn backends_have_resource_attributes_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let rig = Rig::new();
    let backend = |name: &str, own: Value| {
        let path = file(name);
        json!({"name": name, "spec": {"file": {"path": path}}, "resourceAttributes": own})
    };
    let config = json!({"facts": {"mesh": "default"}, "traces": {
        "backends": [
            backend("old", json!({"team": "backend", "vendor": "old of {{mesh}}"})),
            backend("new", json!({"lost": "{{nothing}}"})),
        ],
        "resourceAttributes": {"team": "policy"},
    }});
    rig.pipeline.reconfigure(serde_json::from_value(config).unwrap(), &BTreeMap::new()).await;
    rig.push("buy").await.unwrap();
    rig.settle().await;
    let said = |name: &str| {
        let text = std::fs::read_to_string(file(name)).unwrap();
        let request: Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"], "buy");
        let attributes = request["resourceSpans"][0]["resource"]["attributes"].clone();
        let own = ["team", "vendor", "lost"];
        let value = |key| {
            let mut all = attributes.as_array().unwrap().iter();
            let one = all.find(|attribute| attribute["key"] == key)?;
            Some(one["value"]["stringValue"].as_str().unwrap().to_owned())
        };
        own.map(value).map(Option::unwrap_or_default)
    };
    assert_eq!(said("old"), ["policy", "old of default", ""]);
    assert_eq!(said("new"), ["policy", "", ""]);
    let warnings = rig.pipeline.status().await.warnings;
    assert_eq!(warnings, ["resource attribute lost is left out: nothing has no value"]);
}

/// One request of 20 spans (Datadog: traces) that is larger than its backend takes.
#[tokio::test(start_paused = true)]
async fn lists_of_native_spans_become_as_small_as_the_backend_takes_them() {
    let name = |number: u32| format!("{number:02}{}", "x".repeat(98));
    let span = |id: u32| json!({"traceId": "1", "id": format!("{id:x}"), "name": name(id)});
    let list = json!((1..=20).map(span).collect::<Vec<_>>()).to_string();
    let span = |id: u32| json!([{"trace_id": id, "span_id": id, "name": name(id)}]);
    let traces = json!((1..=20).map(span).collect::<Vec<_>>()).to_string();
    let traces = datadog::from_json(traces.as_bytes()).unwrap();
    let (list, traces) = (Bytes::from(list), Bytes::from(traces));
    for (form, request) in [(Form::Zipkin, &list), (Form::Datadog, &traces)] {
        for (limit, lost) in [(600, 0), (50, 20)] {
            let rig = Rig::new();
            rig.server.is_like("b", Duration::ZERO, limit);
            let spec = match form {
                Form::Datadog => json!({"datadog": {"url": "http://b:8126"}}),
                _ => json!({"zipkin": {"url": "http://b:9411", "compression": "none"}}),
            };
            let config = json!({"traces": {"backends": [{"name": "b", "spec": spec}]}});
            let config = serde_json::from_value(config).unwrap();
            rig.pipeline.reconfigure(config, &BTreeMap::new()).await;
            let received =
                Received { form, request: request.clone(), ..received(Bytes::new(), 20) };
            rig.pipeline.sink().accept(received).await.unwrap();
            rig.settle().await;
            let status = rig.status("b").await;
            assert_eq!(status.dropped_items["rejected"], lost, "{form:?} {limit}");
            let expected: Vec<_> = (1..=20 - u32::try_from(lost).unwrap()).map(name).collect();
            assert_eq!(rig.server.taken("b"), expected, "{form:?} {limit}");
        }
    }
}

/// In OTLP nothing is left of it; for whoever takes it as it is, there is no room.
#[tokio::test(start_paused = true)]
async fn what_no_queue_took_is_not_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    rig.server.script("zipkin", vec![server::Reply::Refuse; 1000]);
    let zipkin = json!({"url": "http://zipkin:1/", "queue": {"size": 2000}});
    let ours = json!({"resourceAttributes": {"team": {"exact": "core"}}});
    let config = json!({"traces": {
        "backends": [
            {"name": "file", "spec": {"file": {"path": dir.path().join("otlp.json")}}},
            {"name": "zipkin", "spec": {"zipkin": zipkin}},
        ],
        "resourceAttributes": {"team": "core"},
        "processors": [{"filter": {"name": "ours", "drop": [ours]}}],
    }});
    rig.pipeline.reconfigure(serde_json::from_value(config).unwrap(), &BTreeMap::new()).await;
    let list = json!([{"traceId": "00000000000000aa", "id": "00000000000000b1", "name": "buy"}]);
    let request = Bytes::from(list.to_string());
    let received = Received { form: Form::Zipkin, request, ..received(Bytes::new(), 1) };
    let sink = rig.pipeline.sink();
    let mut taken = 0;
    let refused = loop {
        match sink.accept(received.clone()).await {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
        assert!(taken < 100, "it is pushed back at last");
    };
    assert!(matches!(refused, Refusal::Full { .. }), "{refused:?}");
    let zipkin = rig.status("zipkin").await;
    assert_eq!((zipkin.ledger.received, zipkin.dropped_items["queue_full"]), (taken, 0));
    assert_eq!(rig.status("file").await.ledger.filtered["ours"], taken);
    rig.balance().await;
    rig.pipeline.shutdown(Duration::ZERO).await;
}

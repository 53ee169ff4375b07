//! Spans that come in a form of their own.

use serde_json::Value;

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
            {"name": "zipkin", "spec": {"zipkin": {"url": "http://127.0.0.1:1/api/v2/spans"}}},
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

    let sent = |status: &PipelineStatus| {
        status.backends.iter().any(|one| one.name == "file" && one.sent_items == 1)
    };
    rig.wait("the file is written", sent).await;
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(!written.contains("4711") && !written.contains("u:p"), "{written}");
    let written: Value = serde_json::from_str(written.trim()).unwrap();
    let spans = &written["resourceSpans"][0];
    assert_eq!(spans["scopeSpans"][0]["spans"][0]["spanId"], "00000000000000b2");
    let attributes = spans["resource"]["attributes"].as_array().unwrap();
    let team = json!({"key": "team", "value": {"stringValue": "core"}});
    assert!(attributes.contains(&team), "{attributes:?}");

    for (name, waiting) in [("file", 0), ("zipkin", 1)] {
        let ledger = rig.status(name).await.ledger;
        assert_eq!((ledger.received, ledger.waiting + ledger.in_flight), (2, waiting), "{name}");
        assert_eq!(ledger.filtered, BTreeMap::from([("probes".to_owned(), 1)]), "{name}");
        assert_eq!(ledger.difference, 0, "{name}");
    }
    let mut trace = [0; 16];
    trace[15] = 0xaa;
    let audit = rig.pipeline.audit(trace);
    assert_eq!(audit.spans.len(), 2, "{audit:#?}");
    rig.pipeline.shutdown(Duration::ZERO).await;
}

use serde_json::{Value, json};

use super::{Audited, Look, Place, audit, bytes, status};

fn ledger(received: u64, delivered: u64, waiting: u64) -> Value {
    json!({"received": received, "recovered": 0, "delivered": delivered, "waiting": waiting, "inFlight": 0,
        "dropped": {}, "filtered": {}, "merged": 0, "difference": 0})
}

fn backend(name: &str, signal: &str, state: &str, ledger: &Value) -> Value {
    let waiting = ledger["waiting"].as_u64().unwrap();
    json!({"name": name, "signal": signal, "protocol": "grpc", "endpoint": "collector:4317", "state": state,
        "removed": false, "waitingItems": waiting, "waitingBytes": waiting * 150, "capacityBytes": 268_435_456,
        "oldestSeconds": 65.0, "storage": "disk", "storagePath": "/var/lib/ursa/collector", "enqueuedItems": 0,
        "sentItems": 0, "droppedItems": {}, "ledger": ledger, "sources": {"otlp_grpc": ledger}, "lastError": null})
}

fn places() -> Vec<Value> {
    let mut down = backend("collector", "traces", "down", &ledger(900, 100, 779));
    down["lastError"] = "connect to collector:4317: Connection refused\x1b[2J".into();
    down["breaker"] = json!({"state": "open", "untilSeconds": 12.3});
    down["ledger"]["retrying"] = 512.into();
    down["ledger"]["dropped"] = json!({"queue_full": 7, "rejected": 2});
    down["ledger"]["filtered"] = json!({"health checks": 12});
    let mut removed = backend("old", "logs", "idle", &ledger(3, 0, 3));
    removed["removed"] = true.into();
    removed["ledger"]["difference"] = 1.into();
    let up = backend("collector", "traces", "up", &ledger(1200, 1200, 0));
    let orphan = json!({"backend": "gone", "signal": "metrics", "path": "/var/lib/ursa/gone", "bytes": 4096});
    vec![
        json!({"proxy": "default/cart", "status": {"configured": true, "backends": [up], "warnings": []},
            "envoy": {"spansSent": 1203}}),
        json!({"proxy": "default/frontend", "status": {"configured": true, "backends": [down, removed],
            "orphaned": [orphan], "warnings": ["resource attribute lost is left out: k8s.pod has no value"]}}),
        json!({"proxy": "default/gone", "error": "it is not connected"}),
        json!({"proxy": "default/new", "status": {"configured": false, "backends": [], "warnings": []}}),
        json!({"proxy": "default/idle", "status": {"configured": true, "backends": [], "warnings": []}}),
        json!({"proxy": "default/odd", "status": {"backends": 1}}),
    ]
}

fn snapshot(name: &str, text: &str) {
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn pipelines_are_one_table_and_what_needs_words() {
    let places = Place::list(&places());
    snapshot("status", &status(&places, &mut Look::default(), false, false));
    snapshot("status_verbose", &status(&places, &mut Look::default(), true, false));
    let coloured = status(&places, &mut Look::default(), false, true);
    assert!(coloured.contains("\x1b[1;31mdown, open for 12.3 s\x1b[0m"), "{coloured}");
    assert!(!coloured.contains("\x1b[2J"), "{coloured:?}");
    assert_eq!(status(&[], &mut Look::default(), false, false), "no pipelines\n");
}

#[test]
fn two_looks_tell_the_speed() {
    let mut look = Look::default();
    let place = |delivered| {
        let up = backend("collector", "traces", "up", &ledger(delivered, delivered, 0));
        let status = json!({"configured": true, "backends": [up], "warnings": []});
        Place::list(&[json!({"from": "http://127.0.0.1:5677", "status": status})])
    };
    let first = status(&place(100), &mut look, false, false);
    assert!(!first.contains("SENT/S"), "{first}");
    look.next(2.0);
    let second = status(&place(1100), &mut look, false, false);
    assert!(
        second.contains("SENT/S") && second.lines().any(|line| line.ends_with("  500")),
        "{second}"
    );
}

#[test]
fn an_audit_names_the_stage_and_the_rule() {
    let stage = |stage: &str, verdict: &str, rule: Option<&str>, backend: Option<&str>| json!({"stage": stage, "verdict": verdict, "rule": rule, "backend": backend});
    let span = |id: &str, stages: Vec<Value>| json!({"spanId": id, "source": "otlp_grpc", "receivedAt": "2026-08-01T12:00:00.25Z", "stages": stages});
    let kept = vec![
        stage("receive", "kept", None, None),
        stage("process", "kept", None, None),
        stage("queue", "kept", None, Some("collector")),
        stage("deliver", "delivered", None, Some("collector")),
        stage("queue", "dropped", Some("queue_full"), Some("old")),
    ];
    let filtered = vec![
        stage("receive", "kept", None, None),
        stage("process", "dropped", Some("health checks"), None),
    ];
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let places = Audited::list(&[
        json!({"proxy": "default/cart", "audit": {"traceId": id,
            "window": {"spans": 65_536, "capacity": 65_536, "seconds": 812.0},
            "spans": [span("00f067aa0ba902b7", kept), span("00f067aa0ba902b8", filtered)]}}),
        json!({"proxy": "default/frontend", "audit": {"traceId": id,
            "window": {"spans": 1, "capacity": 65_536, "seconds": 3.0}, "spans": []}}),
        json!({"proxy": "default/gone", "error": "it is not connected"}),
        json!({"proxy": "default/none", "audit": null}),
    ]);
    snapshot("audit", &audit(id, &places, false));
    snapshot("audit_of_nothing", &audit(id, &[], false));
}

#[test]
fn sizes_are_short() {
    for (count, expected) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (3500, "3.4 KiB"),
        (1 << 20, "1 MiB"),
        ((1 << 20) - 1, "1 MiB"),
        (268_435_456, "256 MiB"),
    ] {
        assert_eq!(bytes(count), expected, "{count}");
    }
}

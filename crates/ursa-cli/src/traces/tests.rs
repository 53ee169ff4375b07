use serde_json::{Value, json};

use super::{list, waterfall};

fn trace() -> Value {
    let span = |depth: u32, service: &str, name: &str, start: f64, duration: f64, status: &str| {
        json!({"depth": depth, "service": service, "name": name, "startMs": start, "durationMs": duration,
            "error": status == "503", "status": "unset",
            "attributes": {"http.status_code": status, "http.method": "GET", "component": "proxy",
                "http.url": format!("http://{service}/a/path/that/goes/on"), "response_size": 2048}})
    };
    let mut spans = vec![
        span(0, "gateway", "GET /checkout", 0.0, 300.0, "503"),
        span(1, "gateway", "frontend", 6.0, 288.0, "503"),
        span(2, "frontend", "GET /checkout", 12.0, 276.0, "503"),
        span(3, "frontend", "catalog", 21.0, 60.0, "200"),
        span(4, "catalog", "GET /products/17", 27.0, 0.045, "200"),
        span(3, "frontend", "cart", 90.0, 192.0, "503"),
        span(4, "cart", "POST /orders", 99.0, 180.0, "503"),
    ];
    spans[6]["statusMessage"] = "upstream connect error".into();
    json!({"traceId": "0af7651916cd43dd8448eb211c80319c", "start": "2026-08-01T12:00:00.25Z", "durationMs": 300.0,
        "services": [{"name": "gateway", "spans": 2}, {"name": "frontend", "spans": 3}, {"name": "catalog", "spans": 1}, {"name": "cart", "spans": 1}],
        "spans": spans})
}

fn traces() -> Value {
    let trace = |id: &str, name: &str, duration: f64, errors: u32| {
        json!({"traceId": id, "root": {"service": "gateway", "name": name}, "start": "2026-08-01T12:00:00.25Z",
            "durationMs": duration, "spans": 10, "errors": errors,
            "services": [{"name": "gateway", "spans": 2}, {"name": "frontend", "spans": 8}]})
    };
    json!({"traces": [
        trace("0af7651916cd43dd8448eb211c80319c", "GET /checkout", 300.0, 8),
        trace("4bf92f3577b34da6a3ce929d0e0e4736", "GET /", 1.25, 0),
        trace("00000000000000000000000000000001", "GET /products/17", 65_000.0, 0),
    ]})
}

fn snapshot(name: &str, text: &str) {
    insta::with_settings!({omit_expression => true}, { insta::assert_snapshot!(name, text) });
}

#[test]
fn a_list_is_aligned() {
    snapshot("list", &list(&traces(), false));
    assert_eq!(list(&json!({"traces": []}), true), "no trace matches\n");
}

#[test]
fn a_waterfall_fits_its_width() {
    for width in [100, 60] {
        let text = waterfall(&trace(), width, false);
        let widest = text.lines().skip(3).map(|line| line.chars().count()).max();
        assert!(widest <= Some(width), "{widest:?}\n{text}");
        snapshot(&format!("waterfall_{width}"), &text);
    }
}

#[test]
fn colour_adds_nothing_but_colour() {
    let (trace, traces) = (trace(), traces());
    for (plain, coloured) in [
        (waterfall(&trace, 80, false), waterfall(&trace, 80, true)),
        (list(&traces, false), list(&traces, true)),
    ] {
        assert!(coloured.contains("\x1b[1;31m") && !plain.contains('\x1b'));
        let mut stripped = String::new();
        for (index, piece) in coloured.split("\x1b[").enumerate() {
            stripped += if index == 0 { piece } else { piece.split_once('m').unwrap().1 };
        }
        assert_eq!(stripped, plain);
    }
}

#[test]
fn telemetry_does_not_command_the_terminal() {
    let mut hostile = trace();
    for field in ["service", "name", "statusMessage"] {
        hostile["spans"][0][field] = "\x1b]0;owned\x07\u{202e}\n".into();
    }
    hostile["spans"][0]["attributes"] = json!({"\x1b[2J": "\r\x1b[31m"});
    hostile["services"][0]["name"] = "\x1b[8m".into();
    hostile["traceId"] = "\x1b[8m".into();
    let text = waterfall(&hostile, 80, false);
    assert!(
        text.chars().all(|char| char == '\n' || !(char.is_control() || char == '\u{202e}')),
        "{text:?}"
    );
    let mut hostile = traces();
    hostile["traces"][0]["root"]["name"] = "\x1b[2J\n".into();
    hostile["traces"][0]["start"] = "\x1b[2J".into();
    assert!(list(&hostile, false).chars().all(|char| char == '\n' || !char.is_control()));
}

#[test]
fn odd_answers_are_drawn_all_the_same() {
    for trace in [
        Value::Null,
        json!({"spans": [{}]}),
        json!({"durationMs": 0, "spans": [{"depth": 5000, "startMs": 7, "durationMs": 1e300}, {"depth": 3, "startMs": -1}]}),
    ] {
        for width in [0, 40, 200] {
            assert!(waterfall(&trace, width, true).lines().count() >= 3);
        }
    }
}

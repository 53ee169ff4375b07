//! What `ursa telemetry test` finds.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::probe::{Report, StepKind, probe};
use super::*;

async fn try_out(spec: &Value, environment: &[(&str, &str)]) -> Report {
    let spec: ExporterSpec = serde_json::from_value(spec.clone()).unwrap();
    let variable = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let environment = environment.iter().map(variable).collect();
    let report = probe(&spec, &environment, &BTreeMap::new()).await;
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    report
}

/// The step that failed, or what became of the span: kind, detail, mend.
fn verdict(report: &Report, port: u16) -> String {
    let failed = report.places[0].steps.iter().find(|step| !step.ok);
    let (kind, detail, mend) = match failed {
        Some(step) => (format!("{:?}", step.kind), &step.detail, &step.mend),
        None => {
            let verdict = &report.verdicts[0];
            ("Sent".to_owned(), &verdict.detail, &verdict.mend)
        }
    };
    assert!(
        report.verdicts.iter().all(|verdict| verdict.ok) || mend.is_some() || kind == "Settings"
    );
    let mend = mend.as_ref().map(|mend| format!(" -> {mend}")).unwrap_or_default();
    format!("{kind}: {detail}{mend}").replace(&port.to_string(), "PORT")
}

#[tokio::test]
async fn a_backend_that_takes_everything_is_walked_to() {
    let backend = Backend::start(None).await;
    let endpoint = format!("http://localhost:{}", backend.port());
    let spec = json!({"openTelemetry": {"endpoint": endpoint}});
    let report = try_out(&spec, &[]).await;
    assert!(report.ok(), "{report:#?}");
    let kinds: Vec<_> = report.places[0].steps.iter().map(|step| step.kind).collect();
    assert_eq!(kinds, [StepKind::Settings, StepKind::Dns, StepKind::Tcp]);
    let paths = backend.seen().into_iter().map(|seen| seen.request.uri.path().to_owned());
    assert_eq!(paths.collect::<Vec<_>>(), ["/v1/traces", "/v1/metrics", "/v1/logs"]);
    for (seen, signal) in backend.seen().iter().zip(Signal::ALL) {
        assert_eq!(ursa_otlp::wire::check(signal, &seen.body).unwrap(), 1);
    }
    backend.stop().await;
}

#[tokio::test]
async fn every_failure_has_its_words() {
    let answering = |answer: &'static str| {
        port(move |mut stream| async move {
            drop(stream.read(&mut vec![0; 1 << 16]).await);
            drop(stream.write_all(answer.as_bytes()).await);
            drop(stream.shutdown().await);
            drop(stream.read_to_end(&mut Vec::new()).await);
        })
    };
    let empty = "connection: close\r\ncontent-length: 0\r\n\r\n";
    for (spec, answer, expected) in [
        (
            json!({"endpoint": "http://127.0.0.1:PORT", "headers": {"k": "${KEY}"}}),
            "",
            "Settings: k: ${KEY} is not set",
        ),
        (
            json!({"endpoint": "https://127.0.0.1:PORT", "tls": {"ca": "/none"}}),
            "",
            "Settings: read /none: No such file or directory (os error 2)",
        ),
        (
            json!({"endpoint": "http://127.0.0.1:PORT"}),
            "HTTP/1.1 401 Unauthorized\r\n",
            "Sent: 401 Unauthorized -> look at the credentials in `headers` and `auth`",
        ),
        (
            json!({"endpoint": "http://127.0.0.1:PORT/x"}),
            "HTTP/1.1 404 Not Found\r\n",
            "Sent: 404 Not Found -> nothing takes telemetry at /x/v1/traces: look at the \
             endpoint's path",
        ),
        (
            json!({"endpoint": "127.0.0.1:PORT"}),
            "HTTP/1.1 400 Bad Request\r\n",
            "Sent: 127.0.0.1:PORT speaks HTTP/1 on this port, and gRPC needs HTTP/2 -> set \
             `protocol: http`, or use the port for gRPC, usually 4317",
        ),
        (
            json!({"endpoint": "https://127.0.0.1:PORT"}),
            "HTTP/1.1 400 Bad Request\r\n",
            "Tls: 127.0.0.1:PORT speaks plain HTTP/1 on this port, not TLS -> write `http://` in \
             the endpoint or leave `tls` out, or use the port for TLS",
        ),
    ] {
        let answer: &'static str = Box::leak(format!("{answer}{empty}").into_boxed_str());
        let (port, _serving) = answering(answer).await;
        let text = json!({"openTelemetry": spec}).to_string().replace("PORT", &port.to_string());
        let report = try_out(&serde_json::from_str(&text).unwrap(), &[]).await;
        assert_eq!(verdict(&report, port), expected);
    }
}

#[tokio::test]
async fn who_cannot_be_reached_is_said_before_anything_is_sent() {
    let (port, mut serving) = port(|_| async {}).await;
    serving.shutdown().await;
    let spec = json!({"openTelemetry": {"endpoint": format!("127.0.0.1:{port}")}});
    assert_eq!(
        verdict(&try_out(&spec, &[]).await, port),
        "Tcp: connect to 127.0.0.1:PORT: Connection refused (os error 111) -> nothing listens \
         there: look at host and port, and whether the backend runs"
    );
    let spec = json!({"openTelemetry": {"endpoint": "https://backend.invalid"}});
    let report = try_out(&spec, &[]).await;
    let step = report.places[0].steps.last().unwrap();
    assert_eq!((step.kind, step.ok), (StepKind::Dns, false));
    assert!(report.verdicts[2].detail.starts_with("not sent: look up backend.invalid: "));
    let proxy = format!("http://127.0.0.1:{port}");
    let report = try_out(&spec, &[("HTTPS_PROXY", &proxy)]).await;
    assert_eq!(
        verdict(&report, port),
        "Tcp: 127.0.0.1:PORT, the proxy in HTTPS_PROXY: speak with the proxy: Connection refused \
         (os error 111) -> look at the proxy's URL, or list the host in NO_PROXY"
    );
}

#[tokio::test]
async fn signals_with_endpoints_of_their_own_are_walked_to_on_their_own() {
    let (one, other) = (Backend::start(None).await, Backend::start(None).await);
    let (one_url, other_url) =
        (format!("http://{}", one.address), format!("http://{}/l", other.address));
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", one_url.as_str()),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", other_url.as_str()),
    ];
    let report =
        try_out(&json!({"openTelemetry": {"env": {"mode": "Required"}}}), &environment).await;
    assert!(report.ok(), "{report:#?}");
    assert_eq!(report.places.len(), 2);
    assert_eq!(one.seen().len(), 2);
    assert_eq!(other.seen()[0].request.uri.path(), "/l");
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn files_get_a_line_for_each_signal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("{signal}.jsonl");
    let report = try_out(&json!({"file": {"path": path}}), &[]).await;
    assert!(report.ok(), "{report:#?}");
    for (signal, field) in
        Signal::ALL.into_iter().zip(["resourceSpans", "resourceMetrics", "resourceLogs"])
    {
        let text = std::fs::read_to_string(folder.path().join(format!("{signal}.jsonl"))).unwrap();
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line[field].as_array().unwrap().len(), 1, "{text}");
    }
    let none = json!({"file": {"path": Path::new("/none/there.jsonl")}});
    assert_eq!(
        try_out(&none, &[]).await.verdicts[0].detail,
        "write /none/there.jsonl: No such file or directory (os error 2)"
    );
}

#[test]
fn the_console_shows_a_line_for_each_item() {
    let shown = Signal::ALL.map(|signal| {
        let at = jiff::Timestamp::from_second(1_700_000_000).unwrap();
        let request = probe::item(signal, at);
        lines::text(signal, &request, false).unwrap()
    });
    let words: Vec<_> =
        shown.iter().map(|line| line.split(" trace=").next().unwrap().trim()).collect();
    assert_eq!(
        words,
        [
            "2023-11-14T22:13:19.999Z span   ursa-telemetry-test ursa telemetry test internal 1ms",
            "2023-11-14T22:13:20.000Z metric ursa-telemetry-test ursa.telemetry.test 1 1",
            "2023-11-14T22:13:20.000Z log    ursa-telemetry-test ursa telemetry test INFO",
        ]
    );
    let hostile = span("one\u{1b}[2J\ntwo");
    let shown = lines::text(Signal::Traces, &hostile, true).unwrap();
    assert_eq!(shown.lines().count(), 1);
    assert!(!shown.contains("\u{1b}[2J"), "{shown:?}");
}

#[test]
fn the_console_shows_what_items_say() {
    let number = |value: Value| json!({"timeUnixNano": "1000000000", "attributes": [{"key": "a", "value": {"boolValue": true}}], "asInt": value});
    let counted = json!({"timeUnixNano": "1000000000", "count": "3", "sum": 1.5});
    let metric = |kind: &str, point: &Value| json!({"name": kind, "unit": "s", kind: {"dataPoints": [point]}});
    let list = json!({"arrayValue": {"values": [{"doubleValue": 1.5}, {"kvlistValue": {"values": [
        {"key": "k", "value": {"bytesValue": "AQI="}},
        {"key": "deep", "value": {"arrayValue": {"values": [{"arrayValue": {"values": [{"intValue": "1"}]}}]}}},
    ]}}]}});
    let cases = [
        (
            Signal::Metrics,
            json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
                metric("gauge", &number("7".into())), metric("sum", &number("8".into())),
                metric("histogram", &counted), metric("exponentialHistogram", &counted),
                metric("summary", &counted), {"name": "nothing"},
            ]}]}]}),
            "metric - gauge 7 s a=true
metric - sum 8 s a=true
metric - histogram count=3 sum=1.5 s
metric - exponentialHistogram count=3 sum=1.5 s
metric - summary count=3 sum=1.5 s
",
        ),
        (
            Signal::Logs,
            json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
                {"observedTimeUnixNano": "1000000000", "severityNumber": 17, "body": {"stringValue": "gone"},
                 "traceId": "000000000000000000000000000000ab"},
                {"timeUnixNano": "1000000000", "severityNumber": 13, "body": list},
                {"timeUnixNano": "1000000000", "severityNumber": 5, "severityText": "Fine"},
                {"timeUnixNano": "1000000000", "severityNumber": 5},
                {"timeUnixNano": "1000000000", "body": {"stringValue": "long".repeat(100)}},
            ]}]}]}),
            "log    - gone ERROR trace=000000000000000000000000000000ab
log    - [1.5, {k=0102, deep=[[…]]}] WARN
log    -  Fine
log    -  DEBUG
log    - longlonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglong… -
",
        ),
        (
            Signal::Traces,
            json!({"resourceSpans": [{"scopeSpans": [{"spans": [
                {"startTimeUnixNano": "1000000000", "endTimeUnixNano": "1000002000", "name": "ask", "kind": 3,
                 "traceId": "000000000000000000000000000000ab", "spanId": "00000000000000cd",
                 "parentSpanId": "00000000000000ef", "status": {"code": 2}},
                {"startTimeUnixNano": "1000000000", "name": "tell", "kind": 4,
                 "traceId": "000000000000000000000000000000ab", "spanId": "00000000000000cd"},
            ]}]}]}),
            "span   - ask error 2µs trace=000000000000000000000000000000ab span=00000000000000cd parent=00000000000000ef
span   - tell producer 0ns trace=000000000000000000000000000000ab span=00000000000000cd
",
        ),
    ];
    for (signal, request, expected) in cases {
        let request = ursa_otlp::json::to_protobuf(signal, request.to_string().as_bytes()).unwrap();
        let shown = lines::text(signal, &request, false).unwrap();
        assert_eq!(shown.replace("1970-01-01T00:00:01.000Z ", ""), expected);
        // Colours are for terminals; they change nothing else.
        let coloured = lines::text(signal, &request, true).unwrap();
        let plain = ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m"];
        assert_eq!(plain.iter().fold(coloured, |text, colour| text.replace(colour, "")), shown);
        assert!(lines::text(signal, b"\xff", false).is_err());
    }
}

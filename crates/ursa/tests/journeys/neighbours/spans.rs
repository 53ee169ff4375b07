//! Spans of three kinds of backends in one form.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::collector::Collector;
use crate::datadog::TestAgent;
use crate::zipkin::Zipkin;

/// The backends that the mesh sends its spans to.
pub(crate) const BACKENDS: [&str; 3] = ["the Collector", "Zipkin", "Datadog"];

/// A span that a backend has.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    /// Its place in [`BACKENDS`].
    pub(crate) backend: usize,
    pub(crate) service: String,
    pub(crate) id: String,
    /// Empty if it has none.
    pub(crate) parent: String,
}

/// Spans by the last 16 digits of their trace's id, which is all that Datadog has of it on most spans.
pub(crate) type Traces = BTreeMap<String, Vec<Span>>;

/// All that the backends have.
pub(crate) async fn gather(collector: &Collector, zipkin: &Zipkin, datadog: &TestAgent) -> Traces {
    let mut traces = Traces::new();
    let mut add = |backend, trace: &str, service: &Value, id: String, parent: String| {
        let service = service.as_str().unwrap_or_default().to_owned();
        let parent = if parent == NONE { String::new() } else { parent };
        traces.entry(low(trace)).or_default().push(Span { backend, service, id, parent });
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for span in collector.spans() {
        let service = &span["resource"]["service.name"];
        add(
            0,
            &text(&span["traceId"]),
            service,
            text(&span["spanId"]),
            text(&span["parentSpanId"]),
        );
    }
    let all = zipkin.get("/api/v2/traces?limit=10000").await.unwrap_or_default();
    for span in all.as_array().into_iter().flatten().filter_map(Value::as_array).flatten() {
        let service = &span["localEndpoint"]["serviceName"];
        add(1, &text(&span["traceId"]), service, text(&span["id"]), text(&span["parentId"]));
    }
    for span in datadog.spans().await {
        let hex = |name: &str| format!("{:016x}", span[name].as_u64().unwrap_or_default());
        add(2, &hex("trace_id"), &span["service"], hex("span_id"), hex("parent_id"));
    }
    traces
}

const NONE: &str = "0000000000000000";

/// The last 16 digits.
pub(crate) fn low(trace: &str) -> String {
    let beginning = trace.len().saturating_sub(16);
    trace.get(beginning..).unwrap_or(trace).to_owned()
}

/// The services on the way from the span `from` up to the first, and that one's parent. Where spans share an id, the
/// called one's comes first: it has no parent of its own.
pub(crate) fn way(spans: &[&Span], from: &str) -> (Vec<String>, String) {
    let (mut services, mut next) = (Vec::new(), from.to_owned());
    loop {
        let mut here: Vec<_> = spans.iter().filter(|span| span.id == next).collect();
        here.sort_by_key(|span| span.parent.len());
        let Some(last) = here.last() else { return (services, next) };
        for span in &here {
            if services.last() != Some(&span.service) {
                services.push(span.service.clone());
            }
        }
        if services.len() > spans.len() {
            return (services, "a circle".to_owned());
        }
        last.parent.clone_into(&mut next);
    }
}

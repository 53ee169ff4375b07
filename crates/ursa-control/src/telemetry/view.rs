//! Traces as the REST API shows them: JSON of their own, or OTLP.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, TracesData};
use prost::Message;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::facts::{self, Facts, SpanId, TraceId};
use super::origins::{Origins, service_name};
use super::trace::Trace;
use super::tree::{self, Node};

/// A trace in a listing.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceSummary {
    /// 32 hex digits.
    #[serde(serialize_with = "as_text")]
    pub trace_id: TraceId,
    /// The span that names the trace: the earliest without a parent, else the earliest.
    pub root: RootSpan,
    /// Earliest start of a span.
    #[serde(serialize_with = "as_text")]
    pub start: Timestamp,
    /// From the earliest start to the latest end, in milliseconds.
    pub duration_ms: f64,
    /// How many spans are held.
    pub spans: usize,
    /// The services, by name: spans arrive in any order.
    pub services: Vec<ServiceSpans>,
    /// Failed spans.
    pub errors: u32,
}

/// What a trace is named by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RootSpan {
    /// `service.name`.
    pub service: String,
    /// The span's name.
    pub name: String,
}

/// How many spans of a trace are of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceSpans {
    /// `service.name`.
    pub name: String,
    /// Its spans.
    pub spans: u32,
}

impl TraceSummary {
    pub(super) fn of(trace: &Trace, origins: &Origins) -> Self {
        let root = trace.root().map(|root| RootSpan {
            service: origins
                .get(root.origin)
                .map(|origin| origin.service.to_string())
                .unwrap_or_default(),
            name: facts::name(&root.encoded).into_owned(),
        });
        let mut services: Vec<_> = trace
            .services
            .iter()
            .map(|(name, spans)| ServiceSpans { name: name.to_string(), spans: *spans })
            .collect();
        services.sort_by(|one, other| one.name.cmp(&other.name));
        Self {
            trace_id: trace.id,
            root: root.unwrap_or(RootSpan { service: String::new(), name: String::new() }),
            start: timestamp(trace.start),
            duration_ms: millis(trace.end.saturating_sub(trace.start)),
            spans: trace.spans.len(),
            services,
            errors: trace.errors,
        }
    }
}

/// A whole trace.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceDetail {
    /// What the listing says of it.
    #[serde(flatten)]
    pub summary: TraceHead,
    /// The spans, each after its parent, siblings by start.
    pub spans: Vec<SpanDetail>,
}

/// What is said of the trace as a whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceHead {
    /// 32 hex digits.
    #[serde(serialize_with = "as_text")]
    pub trace_id: TraceId,
    /// The span that names the trace.
    pub root: RootSpan,
    /// Earliest start of a span.
    #[serde(serialize_with = "as_text")]
    pub start: Timestamp,
    /// From the earliest start to the latest end, in milliseconds.
    pub duration_ms: f64,
    /// The services, by name: spans arrive in any order.
    pub services: Vec<ServiceSpans>,
    /// Failed spans.
    pub errors: u32,
}

/// One span of a whole trace.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SpanDetail {
    /// 16 hex digits.
    pub span_id: String,
    /// 16 hex digits; null of a span without a parent. The parent need not be held.
    pub parent_span_id: Option<String>,
    /// How many of its ancestors are held.
    pub depth: u32,
    /// `service.name`.
    pub service: String,
    /// What was done.
    pub name: String,
    /// `server`, `client`, `producer`, `consumer`, `internal` or `unspecified`.
    pub kind: &'static str,
    /// Milliseconds since the trace's start.
    pub start_ms: f64,
    /// Milliseconds; never negative.
    pub duration_ms: f64,
    /// By its status, else by the HTTP or gRPC status among its attributes.
    pub error: bool,
    /// `ok`, `error` or `unset`, as sent.
    pub status: &'static str,
    /// What the sender said of the status.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status_message: String,
    /// Attributes by key; of a repeated key the last.
    pub attributes: Map<String, Value>,
    /// What happened on the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventDetail>,
    /// Attributes of the resource.
    #[serde(serialize_with = "as_map")]
    pub resource: Arc<Map<String, Value>>,
}

/// An event of a span.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventDetail {
    /// Its name.
    pub name: String,
    /// Milliseconds since the trace's start.
    pub at_ms: f64,
    /// Attributes by key.
    pub attributes: Map<String, Value>,
}

/// A trace taken out of the window, to be decoded without holding it up.
#[derive(Debug)]
pub(super) struct TraceCopy {
    summary: TraceSummary,
    start: u64,
    spans: Vec<CopiedSpan>,
}

/// A span and its origin, both encoded.
#[derive(Debug)]
struct CopiedSpan {
    origin: Arc<[u8]>,
    encoded: Box<[u8]>,
}

/// What is shown of an origin.
struct Described {
    service: String,
    resource: Arc<Map<String, Value>>,
}

impl TraceCopy {
    pub(super) fn of(trace: &Trace, origins: &Origins) -> Self {
        let spans = trace.spans.iter();
        Self {
            summary: TraceSummary::of(trace, origins),
            start: trace.start,
            spans: spans
                .filter_map(|span| {
                    let origin = Arc::clone(&origins.get(span.origin)?.encoded);
                    Some(CopiedSpan { origin, encoded: span.encoded.clone() })
                })
                .collect(),
        }
    }

    /// The trace for people. A span that does not decode is left out; receivers refuse these.
    pub(super) fn detail(self) -> TraceDetail {
        let mut origins: HashMap<Arc<[u8]>, Described> = HashMap::new();
        let mut nodes = Vec::with_capacity(self.spans.len());
        let mut spans = Vec::with_capacity(self.spans.len());
        for CopiedSpan { origin, encoded } in &self.spans {
            let (Ok(facts), Ok(span)) = (Facts::read(encoded), Span::decode(&**encoded)) else {
                continue;
            };
            let Described { service, resource } =
                origins.entry(Arc::clone(origin)).or_insert_with(|| described(origin));
            nodes.push(Node { id: facts.span, parent: facts.parent, start: facts.start });
            spans.push(Some(span_detail(
                &facts,
                span,
                self.start,
                service.clone(),
                Arc::clone(resource),
            )));
        }
        let in_order = tree::order(&nodes).into_iter().filter_map(|(index, depth)| {
            let span = spans.get_mut(index)?.take()?;
            Some(SpanDetail { depth, ..span })
        });
        let TraceSummary { trace_id, root, start, duration_ms, services, errors, spans: _ } =
            self.summary;
        TraceDetail {
            summary: TraceHead { trace_id, root, start, duration_ms, services, errors },
            spans: in_order.collect(),
        }
    }

    /// The trace for programs.
    pub(super) fn otlp(self) -> TracesData {
        let mut resource_spans: Vec<ResourceSpans> = Vec::new();
        let mut places: HashMap<Arc<[u8]>, usize> = HashMap::new();
        for CopiedSpan { origin, encoded } in &self.spans {
            let place = *places.entry(Arc::clone(origin)).or_insert_with(|| {
                resource_spans.push(ResourceSpans::decode(&**origin).unwrap_or_default());
                resource_spans.len() - 1
            });
            let scope_spans =
                resource_spans.get_mut(place).and_then(|resource| resource.scope_spans.first_mut());
            if let (Some(scope_spans), Ok(span)) = (scope_spans, Span::decode(&**encoded)) {
                scope_spans.spans.push(span);
            }
        }
        TracesData { resource_spans }
    }
}

fn described(origin: &[u8]) -> Described {
    let resource =
        ResourceSpans::decode(origin).ok().and_then(|spans| spans.resource).unwrap_or_default();
    Described { service: service_name(origin), resource: Arc::new(object(resource.attributes)) }
}

fn span_detail(
    facts: &Facts,
    span: Span,
    trace_start: u64,
    service: String,
    resource: Arc<Map<String, Value>>,
) -> SpanDetail {
    let offset = |at: u64| millis(at.saturating_sub(trace_start));
    let status = span.status.unwrap_or_default();
    let events = span.events.into_iter().map(|event| EventDetail {
        name: event.name,
        at_ms: offset(event.time_unix_nano),
        attributes: object(event.attributes),
    });
    SpanDetail {
        span_id: hex(facts.span),
        parent_span_id: facts.parent.map(hex),
        depth: 0,
        service,
        name: span.name,
        kind: facts.kind.name(),
        start_ms: offset(facts.start),
        duration_ms: millis(facts.end.saturating_sub(facts.start)),
        error: facts.error,
        status: match status.code {
            1 => "ok",
            2 => "error",
            _ => "unset",
        },
        status_message: status.message,
        attributes: object(span.attributes),
        events: events.collect(),
        resource,
    }
}

fn object(attributes: Vec<KeyValue>) -> Map<String, Value> {
    let values = attributes.into_iter().map(|attribute| {
        let value = attribute.value.and_then(|value| value.value);
        (attribute.key, value.map_or(Value::Null, json))
    });
    values.collect()
}

/// Nests no deeper than the protobuf decoder lets messages nest.
fn json(value: any_value::Value) -> Value {
    match value {
        any_value::Value::StringValue(text) => Value::String(text),
        any_value::Value::BoolValue(truth) => Value::Bool(truth),
        any_value::Value::IntValue(int) => Value::from(int),
        any_value::Value::DoubleValue(double) if double.is_finite() => Value::from(double),
        any_value::Value::DoubleValue(double) => Value::String(double.to_string()),
        any_value::Value::ArrayValue(array) => {
            let values = array.values.into_iter();
            Value::Array(values.map(|value| value.value.map_or(Value::Null, json)).collect())
        }
        any_value::Value::KvlistValue(list) => Value::Object(object(list.values)),
        any_value::Value::BytesValue(bytes) => Value::String(BASE64.encode(bytes)),
        any_value::Value::StringValueStrindex(_) => Value::Null,
    }
}

fn hex(id: SpanId) -> String {
    format!("{:016x}", u64::from_be_bytes(id))
}

fn millis(nanos: u64) -> f64 {
    (nanos / 1000) as f64 / 1000.0
}

fn timestamp(nanos: u64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::MAX)
}

fn as_text<S: Serializer>(value: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

fn as_map<S: Serializer>(map: &Arc<Map<String, Value>>, serializer: S) -> Result<S::Ok, S::Error> {
    (**map).serialize(serializer)
}

//! The messages of OTLP 1.10 as tables: what each field number holds, on the wire and in JSON.
//!
//! `opentelemetry/proto/{trace,metrics,logs,resource,common}/v1`, in the order in which the fields
//! stand there.

use Often::{Choice, Once, Repeated};
use Type::{
    Attribute, Base64, Bool, Double, Doubles, Fixed32, Fixed64, Fixed64s, Hex, Int32, Int64, Item,
    Message as M, SFixed64, SInt32, SpanId, Text, TraceId, UInt32, UInt64s,
};

use super::{Fields, Value, WireError};
use crate::Signal;

/// Field numbers are below.
const NUMBERS: usize = 17;

/// A message type.
#[derive(Debug)]
pub(crate) struct Message {
    /// For errors.
    pub(crate) name: &'static str,
    pub(crate) fields: &'static [Field],
    /// Of the fields, by their numbers.
    kinds: [Kind; NUMBERS],
    /// Whether its ids must be valid ones.
    pub(super) has_ids: bool,
}

/// A field.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    /// In lowerCamelCase.
    pub(crate) name: &'static str,
    pub(crate) holds: Type,
    pub(crate) often: Often,
}

/// How often a field may stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Often {
    Once,
    Repeated,
    /// One of several; the message has one such choice at most.
    Choice,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Type {
    Text,
    /// A trace id, for which other rules than for bytes hold.
    TraceId,
    /// A span id, likewise.
    SpanId,
    /// Other ids; bytes, and hex digits in JSON.
    Hex,
    /// Other bytes.
    Base64,
    Bool,
    /// Enumerations and 32-bit numbers: numbers in JSON.
    Int32,
    UInt32,
    Fixed32,
    SInt32,
    /// 64-bit numbers: text in JSON.
    Int64,
    Fixed64,
    SFixed64,
    Double,
    /// Packed or not.
    Doubles,
    Fixed64s,
    UInt64s,
    /// A `KeyValue`, the commonest message.
    Attribute,
    /// A message, repeated or not.
    Message(&'static Message),
    /// A message that counts as one item: a span, a data point, a log record.
    Item(&'static Message),
}

/// What a check of the wire form has to know of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A field that is in no table: any type.
    Unknown,
    /// Integers, booleans, enumerations.
    Varint,
    /// `fixed32`, `float`.
    Fixed32,
    /// `fixed64`, `sfixed64`, `double`.
    Fixed64,
    /// `string`.
    Text,
    /// `bytes`.
    Bytes,
    /// Repeated `fixed64` or `double`, packed or not.
    Fixed64s,
    /// Repeated integers, packed or not.
    Varints,
    TraceId,
    SpanId,
    Attribute,
    Message(&'static Message),
    Item(&'static Message),
}

impl Message {
    #[inline]
    pub(super) fn kind(&self, number: u32) -> Kind {
        self.kinds.get(number as usize).copied().unwrap_or(Kind::Unknown)
    }
}

impl Type {
    /// The message that it is, if it is one.
    pub(crate) fn message(self) -> Option<&'static Message> {
        match self {
            Attribute => Some(&KEY_VALUE),
            M(message) | Item(message) => Some(message),
            _ => None,
        }
    }

    /// Whether a list of it is one field.
    pub(crate) fn is_packed(self) -> bool {
        matches!(self, Doubles | Fixed64s | UInt64s)
    }

    /// What it is in JSON.
    pub(crate) fn in_json(self) -> &'static str {
        match self {
            Text => "text",
            TraceId | SpanId | Hex => "hex digits",
            Base64 => "base64",
            Bool => "true or false",
            Double | Doubles => "a number",
            Attribute | M(_) | Item(_) => "an object",
            _ => "an integer in range",
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Text => Kind::Text,
            TraceId => Kind::TraceId,
            SpanId => Kind::SpanId,
            Hex | Base64 => Kind::Bytes,
            Bool | Int32 | UInt32 | SInt32 | Int64 => Kind::Varint,
            Fixed32 => Kind::Fixed32,
            Fixed64 | SFixed64 | Double => Kind::Fixed64,
            Doubles | Fixed64s => Kind::Fixed64s,
            UInt64s => Kind::Varints,
            Attribute => Kind::Attribute,
            M(message) => Kind::Message(message),
            Item(message) => Kind::Item(message),
        }
    }
}

/// The export request of a signal.
pub(crate) fn request(signal: Signal) -> &'static Message {
    match signal {
        Signal::Traces => &TRACES,
        Signal::Metrics => &METRICS,
        Signal::Logs => &LOGS,
    }
}

/// How many data points a `Metric` holds.
pub(crate) fn points(metric: &[u8]) -> Result<usize, WireError> {
    let mut points = 0_usize;
    for field in Fields::new(metric) {
        let field = field?;
        let (Kind::Message(data), Value::Bytes(body)) = (METRIC.kind(field.number), field.value)
        else {
            continue;
        };
        for field in Fields::new(body) {
            let is_point = matches!(data.kind(field?.number), Kind::Item(_));
            points = points.saturating_add(usize::from(is_point));
        }
    }
    Ok(points)
}

const fn one(number: u32, name: &'static str, holds: Type) -> Field {
    Field { number, name, holds, often: Once }
}

const fn many(number: u32, name: &'static str, holds: Type) -> Field {
    Field { number, name, holds, often: Repeated }
}

const fn choice(number: u32, name: &'static str, holds: Type) -> Field {
    Field { number, name, holds, often: Choice }
}

#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "the compiler does it, and refuses a number out of bounds"
)]
const fn message(name: &'static str, fields: &'static [Field]) -> Message {
    let mut message = Message { name, fields, kinds: [Kind::Unknown; NUMBERS], has_ids: false };
    let mut at = 0;
    while at < fields.len() {
        let kind = fields[at].holds.kind();
        message.has_ids |= matches!(kind, Kind::TraceId);
        message.kinds[fields[at].number as usize] = kind;
        at += 1;
    }
    message
}

static TRACES: Message =
    message("ExportTraceServiceRequest", &[many(1, "resourceSpans", M(&RESOURCE_SPANS))]);
static RESOURCE_SPANS: Message = message(
    "ResourceSpans",
    &[
        one(1, "resource", M(&RESOURCE)),
        many(2, "scopeSpans", M(&SCOPE_SPANS)),
        one(3, "schemaUrl", Text),
    ],
);
static SCOPE_SPANS: Message = message(
    "ScopeSpans",
    &[one(1, "scope", M(&SCOPE)), many(2, "spans", Item(&SPAN)), one(3, "schemaUrl", Text)],
);
static SPAN: Message = message(
    "Span",
    &[
        one(1, "traceId", TraceId),
        one(2, "spanId", SpanId),
        one(3, "traceState", Text),
        one(4, "parentSpanId", Hex),
        one(16, "flags", Fixed32),
        one(5, "name", Text),
        one(6, "kind", Int32),
        one(7, "startTimeUnixNano", Fixed64),
        one(8, "endTimeUnixNano", Fixed64),
        many(9, "attributes", Attribute),
        one(10, "droppedAttributesCount", UInt32),
        many(11, "events", M(&EVENT)),
        one(12, "droppedEventsCount", UInt32),
        many(13, "links", M(&LINK)),
        one(14, "droppedLinksCount", UInt32),
        one(15, "status", M(&STATUS)),
    ],
);
static EVENT: Message = message(
    "Event",
    &[
        one(1, "timeUnixNano", Fixed64),
        one(2, "name", Text),
        many(3, "attributes", Attribute),
        one(4, "droppedAttributesCount", UInt32),
    ],
);
static LINK: Message = message(
    "Link",
    &[
        one(1, "traceId", Hex),
        one(2, "spanId", Hex),
        one(3, "traceState", Text),
        many(4, "attributes", Attribute),
        one(5, "droppedAttributesCount", UInt32),
        one(6, "flags", Fixed32),
    ],
);
pub(super) static STATUS: Message =
    message("Status", &[one(2, "message", Text), one(3, "code", Int32)]);

static METRICS: Message =
    message("ExportMetricsServiceRequest", &[many(1, "resourceMetrics", M(&RESOURCE_METRICS))]);
static RESOURCE_METRICS: Message = message(
    "ResourceMetrics",
    &[
        one(1, "resource", M(&RESOURCE)),
        many(2, "scopeMetrics", M(&SCOPE_METRICS)),
        one(3, "schemaUrl", Text),
    ],
);
static SCOPE_METRICS: Message = message(
    "ScopeMetrics",
    &[one(1, "scope", M(&SCOPE)), many(2, "metrics", M(&METRIC)), one(3, "schemaUrl", Text)],
);
static METRIC: Message = message(
    "Metric",
    &[
        one(1, "name", Text),
        one(2, "description", Text),
        one(3, "unit", Text),
        many(12, "metadata", Attribute),
        choice(5, "gauge", M(&GAUGE)),
        choice(7, "sum", M(&SUM)),
        choice(9, "histogram", M(&HISTOGRAM)),
        choice(10, "exponentialHistogram", M(&EXPONENTIAL)),
        choice(11, "summary", M(&SUMMARY)),
    ],
);
static GAUGE: Message = message("Gauge", &[many(1, "dataPoints", Item(&NUMBER_POINT))]);
static SUM: Message = message(
    "Sum",
    &[
        many(1, "dataPoints", Item(&NUMBER_POINT)),
        one(2, "aggregationTemporality", Int32),
        one(3, "isMonotonic", Bool),
    ],
);
static HISTOGRAM: Message = message(
    "Histogram",
    &[many(1, "dataPoints", Item(&HISTOGRAM_POINT)), one(2, "aggregationTemporality", Int32)],
);
static EXPONENTIAL: Message = message(
    "ExponentialHistogram",
    &[many(1, "dataPoints", Item(&EXPONENTIAL_POINT)), one(2, "aggregationTemporality", Int32)],
);
static SUMMARY: Message = message("Summary", &[many(1, "dataPoints", Item(&SUMMARY_POINT))]);
static NUMBER_POINT: Message = message(
    "NumberDataPoint",
    &[
        many(7, "attributes", Attribute),
        one(2, "startTimeUnixNano", Fixed64),
        one(3, "timeUnixNano", Fixed64),
        choice(4, "asDouble", Double),
        choice(6, "asInt", SFixed64),
        many(5, "exemplars", M(&EXEMPLAR)),
        one(8, "flags", UInt32),
    ],
);
static HISTOGRAM_POINT: Message = message(
    "HistogramDataPoint",
    &[
        many(9, "attributes", Attribute),
        one(2, "startTimeUnixNano", Fixed64),
        one(3, "timeUnixNano", Fixed64),
        one(4, "count", Fixed64),
        one(5, "sum", Double),
        many(6, "bucketCounts", Fixed64s),
        many(7, "explicitBounds", Doubles),
        many(8, "exemplars", M(&EXEMPLAR)),
        one(10, "flags", UInt32),
        one(11, "min", Double),
        one(12, "max", Double),
    ],
);
static EXPONENTIAL_POINT: Message = message(
    "ExponentialHistogramDataPoint",
    &[
        many(1, "attributes", Attribute),
        one(2, "startTimeUnixNano", Fixed64),
        one(3, "timeUnixNano", Fixed64),
        one(4, "count", Fixed64),
        one(5, "sum", Double),
        one(6, "scale", SInt32),
        one(7, "zeroCount", Fixed64),
        one(8, "positive", M(&BUCKETS)),
        one(9, "negative", M(&BUCKETS)),
        one(10, "flags", UInt32),
        many(11, "exemplars", M(&EXEMPLAR)),
        one(12, "min", Double),
        one(13, "max", Double),
        one(14, "zeroThreshold", Double),
    ],
);
static BUCKETS: Message =
    message("Buckets", &[one(1, "offset", SInt32), many(2, "bucketCounts", UInt64s)]);
static SUMMARY_POINT: Message = message(
    "SummaryDataPoint",
    &[
        many(7, "attributes", Attribute),
        one(2, "startTimeUnixNano", Fixed64),
        one(3, "timeUnixNano", Fixed64),
        one(4, "count", Fixed64),
        one(5, "sum", Double),
        many(6, "quantileValues", M(&QUANTILE)),
        one(8, "flags", UInt32),
    ],
);
static QUANTILE: Message =
    message("ValueAtQuantile", &[one(1, "quantile", Double), one(2, "value", Double)]);
static EXEMPLAR: Message = message(
    "Exemplar",
    &[
        many(7, "filteredAttributes", Attribute),
        one(2, "timeUnixNano", Fixed64),
        choice(3, "asDouble", Double),
        choice(6, "asInt", SFixed64),
        one(4, "spanId", Hex),
        one(5, "traceId", Hex),
    ],
);

static LOGS: Message =
    message("ExportLogsServiceRequest", &[many(1, "resourceLogs", M(&RESOURCE_LOGS))]);
static RESOURCE_LOGS: Message = message(
    "ResourceLogs",
    &[
        one(1, "resource", M(&RESOURCE)),
        many(2, "scopeLogs", M(&SCOPE_LOGS)),
        one(3, "schemaUrl", Text),
    ],
);
static SCOPE_LOGS: Message = message(
    "ScopeLogs",
    &[
        one(1, "scope", M(&SCOPE)),
        many(2, "logRecords", Item(&LOG_RECORD)),
        one(3, "schemaUrl", Text),
    ],
);
static LOG_RECORD: Message = message(
    "LogRecord",
    &[
        one(1, "timeUnixNano", Fixed64),
        one(11, "observedTimeUnixNano", Fixed64),
        one(2, "severityNumber", Int32),
        one(3, "severityText", Text),
        one(5, "body", M(&ANY_VALUE)),
        many(6, "attributes", Attribute),
        one(7, "droppedAttributesCount", UInt32),
        one(8, "flags", Fixed32),
        one(9, "traceId", Hex),
        one(10, "spanId", Hex),
        one(12, "eventName", Text),
    ],
);

static RESOURCE: Message = message(
    "Resource",
    &[
        many(1, "attributes", Attribute),
        one(2, "droppedAttributesCount", UInt32),
        many(3, "entityRefs", M(&ENTITY_REF)),
    ],
);
static ENTITY_REF: Message = message(
    "EntityRef",
    &[
        one(1, "schemaUrl", Text),
        one(2, "type", Text),
        many(3, "idKeys", Text),
        many(4, "descriptionKeys", Text),
    ],
);
static SCOPE: Message = message(
    "InstrumentationScope",
    &[
        one(1, "name", Text),
        one(2, "version", Text),
        many(3, "attributes", Attribute),
        one(4, "droppedAttributesCount", UInt32),
    ],
);
pub(super) static KEY_VALUE: Message = message(
    "KeyValue",
    &[one(1, "key", Text), one(2, "value", M(&ANY_VALUE)), one(3, "keyStrindex", Int32)],
);
pub(super) static ANY_VALUE: Message = message(
    "AnyValue",
    &[
        choice(1, "stringValue", Text),
        choice(2, "boolValue", Bool),
        choice(3, "intValue", Int64),
        choice(4, "doubleValue", Double),
        choice(5, "arrayValue", M(&ARRAY_VALUE)),
        choice(6, "kvlistValue", M(&KEY_VALUES)),
        choice(7, "bytesValue", Base64),
        choice(8, "stringValueStrindex", Int32),
    ],
);
static ARRAY_VALUE: Message = message("ArrayValue", &[many(1, "values", M(&ANY_VALUE))]);
static KEY_VALUES: Message = message("KeyValueList", &[many(1, "values", Attribute)]);

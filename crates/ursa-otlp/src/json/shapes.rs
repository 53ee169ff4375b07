//! The messages of OTLP 1.10 as their JSON has them.

use Type::{
    Base64, Bool, Double, Doubles, Fixed64, Fixed64s, Hex, Int32, Int64, Message as M, SFixed64,
    SInt32, Text, UInt32, UInt64s,
};

use crate::Signal;

/// A message type.
#[derive(Debug)]
pub(super) struct Shape(pub(super) &'static [Field]);

/// A field: number, name in lowerCamelCase, type, how often.
#[derive(Debug)]
pub(super) struct Field(pub(super) u32, pub(super) &'static str, pub(super) Type, pub(super) Often);

/// How often a field may stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Often {
    Once,
    Repeated,
    /// One of several; the message has one such choice at most.
    Choice,
}

/// How a value is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type {
    Text,
    /// Ids.
    Hex,
    /// Other bytes.
    Base64,
    Bool,
    /// Enumerations and 32-bit numbers: numbers.
    Int32,
    UInt32,
    /// `fixed32`.
    Fixed32,
    SInt32,
    /// 64-bit numbers: text.
    Int64,
    Fixed64,
    SFixed64,
    Double,
    /// Packed or not.
    Doubles,
    Fixed64s,
    UInt64s,
    Message(&'static Shape),
}

use Often::{Choice, Once, Repeated};

const fn one(number: u32, name: &'static str, kind: Type) -> Field {
    Field(number, name, kind, Once)
}

const fn many(number: u32, name: &'static str, kind: Type) -> Field {
    Field(number, name, kind, Repeated)
}

const fn choice(number: u32, name: &'static str, kind: Type) -> Field {
    Field(number, name, kind, Choice)
}

/// The export request of a signal.
pub(super) fn request(signal: Signal) -> &'static Shape {
    match signal {
        Signal::Traces => &TRACES,
        Signal::Metrics => &METRICS,
        Signal::Logs => &LOGS,
    }
}

static TRACES: Shape = Shape(&[many(1, "resourceSpans", M(&RESOURCE_SPANS))]);
static RESOURCE_SPANS: Shape = Shape(&[
    one(1, "resource", M(&RESOURCE)),
    many(2, "scopeSpans", M(&SCOPE_SPANS)),
    one(3, "schemaUrl", Text),
]);
static SCOPE_SPANS: Shape =
    Shape(&[one(1, "scope", M(&SCOPE)), many(2, "spans", M(&SPAN)), one(3, "schemaUrl", Text)]);
static SPAN: Shape = Shape(&[
    one(1, "traceId", Hex),
    one(2, "spanId", Hex),
    one(3, "traceState", Text),
    one(4, "parentSpanId", Hex),
    one(16, "flags", Type::Fixed32),
    one(5, "name", Text),
    one(6, "kind", Int32),
    one(7, "startTimeUnixNano", Fixed64),
    one(8, "endTimeUnixNano", Fixed64),
    many(9, "attributes", M(&KEY_VALUE)),
    one(10, "droppedAttributesCount", UInt32),
    many(11, "events", M(&EVENT)),
    one(12, "droppedEventsCount", UInt32),
    many(13, "links", M(&LINK)),
    one(14, "droppedLinksCount", UInt32),
    one(15, "status", M(&STATUS)),
]);
static EVENT: Shape = Shape(&[
    one(1, "timeUnixNano", Fixed64),
    one(2, "name", Text),
    many(3, "attributes", M(&KEY_VALUE)),
    one(4, "droppedAttributesCount", UInt32),
]);
static LINK: Shape = Shape(&[
    one(1, "traceId", Hex),
    one(2, "spanId", Hex),
    one(3, "traceState", Text),
    many(4, "attributes", M(&KEY_VALUE)),
    one(5, "droppedAttributesCount", UInt32),
    one(6, "flags", Type::Fixed32),
]);
static STATUS: Shape = Shape(&[one(2, "message", Text), one(3, "code", Int32)]);

static METRICS: Shape = Shape(&[many(1, "resourceMetrics", M(&RESOURCE_METRICS))]);
static RESOURCE_METRICS: Shape = Shape(&[
    one(1, "resource", M(&RESOURCE)),
    many(2, "scopeMetrics", M(&SCOPE_METRICS)),
    one(3, "schemaUrl", Text),
]);
static SCOPE_METRICS: Shape =
    Shape(&[one(1, "scope", M(&SCOPE)), many(2, "metrics", M(&METRIC)), one(3, "schemaUrl", Text)]);
static METRIC: Shape = Shape(&[
    one(1, "name", Text),
    one(2, "description", Text),
    one(3, "unit", Text),
    many(12, "metadata", M(&KEY_VALUE)),
    choice(5, "gauge", M(&GAUGE)),
    choice(7, "sum", M(&SUM)),
    choice(9, "histogram", M(&HISTOGRAM)),
    choice(10, "exponentialHistogram", M(&EXPONENTIAL)),
    choice(11, "summary", M(&SUMMARY)),
]);
static GAUGE: Shape = Shape(&[many(1, "dataPoints", M(&NUMBER_POINT))]);
static SUM: Shape = Shape(&[
    many(1, "dataPoints", M(&NUMBER_POINT)),
    one(2, "aggregationTemporality", Int32),
    one(3, "isMonotonic", Bool),
]);
static HISTOGRAM: Shape =
    Shape(&[many(1, "dataPoints", M(&HISTOGRAM_POINT)), one(2, "aggregationTemporality", Int32)]);
static EXPONENTIAL: Shape =
    Shape(&[many(1, "dataPoints", M(&EXPONENTIAL_POINT)), one(2, "aggregationTemporality", Int32)]);
static SUMMARY: Shape = Shape(&[many(1, "dataPoints", M(&SUMMARY_POINT))]);
static NUMBER_POINT: Shape = Shape(&[
    many(7, "attributes", M(&KEY_VALUE)),
    one(2, "startTimeUnixNano", Fixed64),
    one(3, "timeUnixNano", Fixed64),
    choice(4, "asDouble", Double),
    choice(6, "asInt", SFixed64),
    many(5, "exemplars", M(&EXEMPLAR)),
    one(8, "flags", UInt32),
]);
static HISTOGRAM_POINT: Shape = Shape(&[
    many(9, "attributes", M(&KEY_VALUE)),
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
]);
static EXPONENTIAL_POINT: Shape = Shape(&[
    many(1, "attributes", M(&KEY_VALUE)),
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
]);
static BUCKETS: Shape = Shape(&[one(1, "offset", SInt32), many(2, "bucketCounts", UInt64s)]);
static SUMMARY_POINT: Shape = Shape(&[
    many(7, "attributes", M(&KEY_VALUE)),
    one(2, "startTimeUnixNano", Fixed64),
    one(3, "timeUnixNano", Fixed64),
    one(4, "count", Fixed64),
    one(5, "sum", Double),
    many(6, "quantileValues", M(&QUANTILE)),
    one(8, "flags", UInt32),
]);
static QUANTILE: Shape = Shape(&[one(1, "quantile", Double), one(2, "value", Double)]);
static EXEMPLAR: Shape = Shape(&[
    many(7, "filteredAttributes", M(&KEY_VALUE)),
    one(2, "timeUnixNano", Fixed64),
    choice(3, "asDouble", Double),
    choice(6, "asInt", SFixed64),
    one(4, "spanId", Hex),
    one(5, "traceId", Hex),
]);

static LOGS: Shape = Shape(&[many(1, "resourceLogs", M(&RESOURCE_LOGS))]);
static RESOURCE_LOGS: Shape = Shape(&[
    one(1, "resource", M(&RESOURCE)),
    many(2, "scopeLogs", M(&SCOPE_LOGS)),
    one(3, "schemaUrl", Text),
]);
static SCOPE_LOGS: Shape = Shape(&[
    one(1, "scope", M(&SCOPE)),
    many(2, "logRecords", M(&LOG_RECORD)),
    one(3, "schemaUrl", Text),
]);
static LOG_RECORD: Shape = Shape(&[
    one(1, "timeUnixNano", Fixed64),
    one(11, "observedTimeUnixNano", Fixed64),
    one(2, "severityNumber", Int32),
    one(3, "severityText", Text),
    one(5, "body", M(&ANY_VALUE)),
    many(6, "attributes", M(&KEY_VALUE)),
    one(7, "droppedAttributesCount", UInt32),
    one(8, "flags", Type::Fixed32),
    one(9, "traceId", Hex),
    one(10, "spanId", Hex),
    one(12, "eventName", Text),
]);

static RESOURCE: Shape = Shape(&[
    many(1, "attributes", M(&KEY_VALUE)),
    one(2, "droppedAttributesCount", UInt32),
    many(3, "entityRefs", M(&ENTITY_REF)),
]);
static ENTITY_REF: Shape = Shape(&[
    one(1, "schemaUrl", Text),
    one(2, "type", Text),
    many(3, "idKeys", Text),
    many(4, "descriptionKeys", Text),
]);
static SCOPE: Shape = Shape(&[
    one(1, "name", Text),
    one(2, "version", Text),
    many(3, "attributes", M(&KEY_VALUE)),
    one(4, "droppedAttributesCount", UInt32),
]);
static KEY_VALUE: Shape =
    Shape(&[one(1, "key", Text), one(2, "value", M(&ANY_VALUE)), one(3, "keyStrindex", Int32)]);
static ANY_VALUE: Shape = Shape(&[
    choice(1, "stringValue", Text),
    choice(2, "boolValue", Bool),
    choice(3, "intValue", Int64),
    choice(4, "doubleValue", Double),
    choice(5, "arrayValue", M(&ARRAY_VALUE)),
    choice(6, "kvlistValue", M(&KEY_VALUES)),
    choice(7, "bytesValue", Base64),
    choice(8, "stringValueStrindex", Int32),
]);
static ARRAY_VALUE: Shape = Shape(&[many(1, "values", M(&ANY_VALUE))]);
static KEY_VALUES: Shape = Shape(&[many(1, "values", M(&KEY_VALUE))]);

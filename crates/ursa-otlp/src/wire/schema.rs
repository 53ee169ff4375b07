//! The messages of OTLP 1.10 as tables: what each field number holds.
//!
//! `opentelemetry/proto/{trace,metrics,logs,resource,common}/v1`.

use Kind::{
    Attribute, Bytes, Fixed32, Fixed64, Fixed64s, Item, Message as M, SpanId, Text, TraceId,
    Unknown, Varint, Varints,
};

use super::{Fields, Value, WireError};
use crate::Signal;

/// A message type.
#[derive(Debug)]
pub(super) struct Message {
    /// For errors.
    pub(super) name: &'static str,
    /// By field number; number 0 does not exist.
    fields: &'static [Kind],
    /// Whether its ids must be valid ones.
    pub(super) has_ids: bool,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A field that this table does not know: any type.
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
    /// A trace id, for which other rules than for bytes hold.
    TraceId,
    /// A span id.
    SpanId,
    /// A `KeyValue`, the commonest message.
    Attribute,
    /// A message, repeated or not.
    Message(&'static Message),
    /// A message that counts as one item: a span, a data point, a log record.
    Item(&'static Message),
}

impl Message {
    pub(super) fn kind(&self, number: u32) -> Kind {
        self.fields.get(number as usize).copied().unwrap_or(Unknown)
    }
}

/// The export request of a signal.
pub(super) fn request(signal: Signal) -> &'static Message {
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
            let is_point = matches!(data.kind(field?.number), Item(_));
            points = points.saturating_add(usize::from(is_point));
        }
    }
    Ok(points)
}

const fn message(name: &'static str, fields: &'static [Kind]) -> Message {
    Message { name, fields, has_ids: false }
}

const fn with_ids(name: &'static str, fields: &'static [Kind]) -> Message {
    Message { name, fields, has_ids: true }
}

static TRACES: Message = message("ExportTraceServiceRequest", &[Unknown, M(&RESOURCE_SPANS)]);
static RESOURCE_SPANS: Message =
    message("ResourceSpans", &[Unknown, M(&RESOURCE), M(&SCOPE_SPANS), Text]);
static SCOPE_SPANS: Message = message("ScopeSpans", &[Unknown, M(&SCOPE), Item(&SPAN), Text]);
static SPAN: Message = with_ids(
    "Span",
    &[
        Unknown,
        TraceId,    // trace_id
        SpanId,     // span_id
        Text,       // trace_state
        Bytes,      // parent_span_id
        Text,       // name
        Varint,     // kind
        Fixed64,    // start_time_unix_nano
        Fixed64,    // end_time_unix_nano
        Attribute,  // attributes
        Varint,     // dropped_attributes_count
        M(&EVENT),  // events
        Varint,     // dropped_events_count
        M(&LINK),   // links
        Varint,     // dropped_links_count
        M(&STATUS), // status
        Fixed32,    // flags
    ],
);
static EVENT: Message = message("Event", &[Unknown, Fixed64, Text, Attribute, Varint]);
static LINK: Message = message("Link", &[Unknown, Bytes, Bytes, Text, Attribute, Varint, Fixed32]);
static STATUS: Message = message("Status", &[Unknown, Unknown, Text, Varint]);

static METRICS: Message = message("ExportMetricsServiceRequest", &[Unknown, M(&RESOURCE_METRICS)]);
static RESOURCE_METRICS: Message =
    message("ResourceMetrics", &[Unknown, M(&RESOURCE), M(&SCOPE_METRICS), Text]);
static SCOPE_METRICS: Message = message("ScopeMetrics", &[Unknown, M(&SCOPE), M(&METRIC), Text]);
static METRIC: Message = message(
    "Metric",
    &[
        Unknown,
        Text, // name
        Text, // description
        Text, // unit
        Unknown,
        M(&GAUGE),
        Unknown,
        M(&SUM),
        Unknown,
        M(&HISTOGRAM),
        M(&EXPONENTIAL),
        M(&SUMMARY),
        Attribute, // metadata
    ],
);
static GAUGE: Message = message("Gauge", &[Unknown, Item(&NUMBER_POINT)]);
static SUM: Message = message("Sum", &[Unknown, Item(&NUMBER_POINT), Varint, Varint]);
static HISTOGRAM: Message = message("Histogram", &[Unknown, Item(&HISTOGRAM_POINT), Varint]);
static EXPONENTIAL: Message =
    message("ExponentialHistogram", &[Unknown, Item(&EXPONENTIAL_POINT), Varint]);
static SUMMARY: Message = message("Summary", &[Unknown, Item(&SUMMARY_POINT)]);
static NUMBER_POINT: Message = message(
    "NumberDataPoint",
    &[
        Unknown,
        Unknown,
        Fixed64,      // start_time_unix_nano
        Fixed64,      // time_unix_nano
        Fixed64,      // as_double
        M(&EXEMPLAR), // exemplars
        Fixed64,      // as_int
        Attribute,    // attributes
        Varint,       // flags
    ],
);
static HISTOGRAM_POINT: Message = message(
    "HistogramDataPoint",
    &[
        Unknown,
        Unknown,
        Fixed64,      // start_time_unix_nano
        Fixed64,      // time_unix_nano
        Fixed64,      // count
        Fixed64,      // sum
        Fixed64s,     // bucket_counts
        Fixed64s,     // explicit_bounds
        M(&EXEMPLAR), // exemplars
        Attribute,    // attributes
        Varint,       // flags
        Fixed64,      // min
        Fixed64,      // max
    ],
);
static EXPONENTIAL_POINT: Message = message(
    "ExponentialHistogramDataPoint",
    &[
        Unknown,
        Attribute,    // attributes
        Fixed64,      // start_time_unix_nano
        Fixed64,      // time_unix_nano
        Fixed64,      // count
        Fixed64,      // sum
        Varint,       // scale
        Fixed64,      // zero_count
        M(&BUCKETS),  // positive
        M(&BUCKETS),  // negative
        Varint,       // flags
        M(&EXEMPLAR), // exemplars
        Fixed64,      // min
        Fixed64,      // max
        Fixed64,      // zero_threshold
    ],
);
static BUCKETS: Message = message("Buckets", &[Unknown, Varint, Varints]);
static SUMMARY_POINT: Message = message(
    "SummaryDataPoint",
    &[
        Unknown,
        Unknown,
        Fixed64,      // start_time_unix_nano
        Fixed64,      // time_unix_nano
        Fixed64,      // count
        Fixed64,      // sum
        M(&QUANTILE), // quantile_values
        Attribute,
        Varint, // flags
    ],
);
static QUANTILE: Message = message("ValueAtQuantile", &[Unknown, Fixed64, Fixed64]);
static EXEMPLAR: Message = message(
    "Exemplar",
    &[
        Unknown, Unknown, Fixed64,   // time_unix_nano
        Fixed64,   // as_double
        Bytes,     // span_id
        Bytes,     // trace_id
        Fixed64,   // as_int
        Attribute, // filtered_attributes
    ],
);

static LOGS: Message = message("ExportLogsServiceRequest", &[Unknown, M(&RESOURCE_LOGS)]);
static RESOURCE_LOGS: Message =
    message("ResourceLogs", &[Unknown, M(&RESOURCE), M(&SCOPE_LOGS), Text]);
static SCOPE_LOGS: Message = message("ScopeLogs", &[Unknown, M(&SCOPE), Item(&LOG_RECORD), Text]);
static LOG_RECORD: Message = message(
    "LogRecord",
    &[
        Unknown,
        Fixed64, // time_unix_nano
        Varint,  // severity_number
        Text,    // severity_text
        Unknown,
        M(&ANY_VALUE), // body
        Attribute,     // attributes
        Varint,        // dropped_attributes_count
        Fixed32,       // flags
        Bytes,         // trace_id
        Bytes,         // span_id
        Fixed64,       // observed_time_unix_nano
        Text,          // event_name
    ],
);

static RESOURCE: Message = message("Resource", &[Unknown, Attribute, Varint, M(&ENTITY_REF)]);
static ENTITY_REF: Message = message("EntityRef", &[Unknown, Text, Text, Text, Text]);
static SCOPE: Message = message("InstrumentationScope", &[Unknown, Text, Text, Attribute, Varint]);
pub(super) static KEY_VALUE: Message = message("KeyValue", &[Unknown, Text, M(&ANY_VALUE), Varint]);
static ANY_VALUE: Message = message(
    "AnyValue",
    &[
        Unknown,
        Text,            // string_value
        Varint,          // bool_value
        Varint,          // int_value
        Fixed64,         // double_value
        M(&ARRAY_VALUE), // array_value
        M(&KEY_VALUES),  // kvlist_value
        Bytes,           // bytes_value
        Varint,          // string_value_strindex
    ],
);
static ARRAY_VALUE: Message = message("ArrayValue", &[Unknown, M(&ANY_VALUE)]);
static KEY_VALUES: Message = message("KeyValueList", &[Unknown, Attribute]);

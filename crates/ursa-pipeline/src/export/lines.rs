//! Telemetry as lines: OTLP/JSON for programs, text for people.

use std::fmt::Write;

use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, Sum, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use ursa_otlp::json;

use crate::Signal;

/// Characters of one value that are shown.
const MAX_VALUE: usize = 200;
/// How deep a value of lists and maps is shown.
const MAX_DEPTH: usize = 4;

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// A request in OTLP/JSON, with a line break at its end and none within.
pub(super) fn json(signal: Signal, request: &[u8]) -> Result<String, String> {
    let mut line = json::from_protobuf(signal, request).map_err(|error| error.to_string())?;
    line.push('\n');
    Ok(line)
}

/// A line for each span, metric or log record of a request.
pub(super) fn text(signal: Signal, request: &[u8], colour: bool) -> Result<String, String> {
    let mut lines = Lines { out: String::new(), colour };
    let wrong = |error: prost::DecodeError| error.to_string();
    match signal {
        Signal::Traces => {
            let request = ExportTraceServiceRequest::decode(request).map_err(wrong)?;
            for group in request.resource_spans {
                let service = service(group.resource.as_ref());
                for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                    lines.span(&service, &span);
                }
            }
        }
        Signal::Metrics => {
            let request = ExportMetricsServiceRequest::decode(request).map_err(wrong)?;
            for group in request.resource_metrics {
                let service = service(group.resource.as_ref());
                for metric in group.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                    lines.metric(&service, &metric);
                }
            }
        }
        Signal::Logs => {
            let request = ExportLogsServiceRequest::decode(request).map_err(wrong)?;
            for group in request.resource_logs {
                let service = service(group.resource.as_ref());
                for record in group.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
                    lines.record(&service, &record);
                }
            }
        }
    }
    Ok(lines.out)
}

struct Lines {
    out: String,
    colour: bool,
}

impl Lines {
    fn span(&mut self, service: &str, span: &Span) {
        const ERROR: i32 = 2;
        let kind = match span.kind {
            2 => "server",
            3 => "client",
            4 => "producer",
            5 => "consumer",
            _ => "internal",
        };
        let nanos = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
        let failed = span.status.as_ref().is_some_and(|status| status.code == ERROR);
        self.begin(span.start_time_unix_nano, "span", service, &span.name);
        self.word(if failed { "error" } else { kind }, if failed { RED } else { "" });
        self.word(&format!("{:?}", std::time::Duration::from_nanos(nanos)), "");
        self.word(&format!("trace={}", hex(&span.trace_id)), DIM);
        self.word(&format!("span={}", hex(&span.span_id)), DIM);
        if !span.parent_span_id.is_empty() {
            self.word(&format!("parent={}", hex(&span.parent_span_id)), DIM);
        }
        self.end(&span.attributes);
    }

    fn metric(&mut self, service: &str, metric: &Metric) {
        let mut point = |at: u64, value: String, attributes: &[KeyValue]| {
            self.begin(at, "metric", service, &metric.name);
            self.word(&format!("{value} {}", metric.unit), "");
            self.end(attributes);
        };
        let number = |of: &NumberDataPoint| match of.value {
            Some(number_data_point::Value::AsDouble(value)) => value.to_string(),
            Some(number_data_point::Value::AsInt(value)) => value.to_string(),
            None => "-".to_owned(),
        };
        let summed = |count: u64, sum: Option<f64>| match sum {
            Some(sum) => format!("count={count} sum={sum}"),
            None => format!("count={count}"),
        };
        match &metric.data {
            Some(Data::Gauge(Gauge { data_points }) | Data::Sum(Sum { data_points, .. })) => {
                for of in data_points {
                    point(of.time_unix_nano, number(of), &of.attributes);
                }
            }
            Some(Data::Histogram(histogram)) => {
                for of in &histogram.data_points {
                    point(of.time_unix_nano, summed(of.count, of.sum), &of.attributes);
                }
            }
            Some(Data::ExponentialHistogram(histogram)) => {
                for of in &histogram.data_points {
                    point(of.time_unix_nano, summed(of.count, of.sum), &of.attributes);
                }
            }
            Some(Data::Summary(summary)) => {
                for of in &summary.data_points {
                    point(of.time_unix_nano, summed(of.count, Some(of.sum)), &of.attributes);
                }
            }
            None => {}
        }
    }

    fn record(&mut self, service: &str, record: &LogRecord) {
        let at = match record.time_unix_nano {
            0 => record.observed_time_unix_nano,
            at => at,
        };
        let (severity, colour) = match record.severity_number {
            _ if !record.severity_text.is_empty() => (record.severity_text.as_str(), ""),
            17.. => ("ERROR", RED),
            13..=16 => ("WARN", ""),
            9..=12 => ("INFO", ""),
            1..=8 => ("DEBUG", ""),
            _ => ("-", ""),
        };
        let body = record.body.as_ref().map(|body| value(body, MAX_DEPTH)).unwrap_or_default();
        self.begin(at, "log", service, &body);
        self.word(severity, colour);
        if !record.trace_id.is_empty() {
            self.word(&format!("trace={}", hex(&record.trace_id)), DIM);
        }
        self.end(&record.attributes);
    }

    fn begin(&mut self, nanos: u64, what: &str, service: &str, name: &str) {
        let at = Timestamp::from_nanosecond(nanos.into()).unwrap_or_default();
        write!(self.out, "{at:.3} {what:6} ").expect("writing to a string does not fail");
        self.word(service, "");
        self.word(name, BOLD);
    }

    /// A word, with a blank after it.
    fn word(&mut self, text: &str, colour: &str) {
        let text = shown(text.trim());
        if self.colour && !colour.is_empty() {
            self.out.extend([colour, &text, PLAIN, " "]);
        } else {
            self.out.extend([&text, " "]);
        }
    }

    fn end(&mut self, attributes: &[KeyValue]) {
        for attribute in attributes {
            let value = attribute.value.as_ref().map(|one| value(one, MAX_DEPTH));
            self.word(&format!("{}={}", attribute.key, value.unwrap_or_default()), DIM);
        }
        self.out.truncate(self.out.trim_end().len());
        self.out.push('\n');
    }
}

fn service(resource: Option<&Resource>) -> String {
    let attributes = resource.into_iter().flat_map(|resource| &resource.attributes);
    let mut names = attributes.filter(|attribute| attribute.key == "service.name");
    let name = names.find_map(|attribute| attribute.value.as_ref());
    name.map_or_else(|| "-".to_owned(), |name| value(name, MAX_DEPTH))
}

fn value(of: &AnyValue, depth: usize) -> String {
    let Some(inner) = of.value.as_ref().filter(|_| depth > 0) else { return "…".to_owned() };
    let deeper = depth.saturating_sub(1);
    match inner {
        Value::StringValue(text) => text.clone(),
        Value::BoolValue(value) => value.to_string(),
        Value::IntValue(value) => value.to_string(),
        Value::DoubleValue(value) => value.to_string(),
        Value::BytesValue(bytes) => hex(bytes),
        Value::ArrayValue(array) => {
            let values: Vec<_> = array.values.iter().map(|one| value(one, deeper)).collect();
            format!("[{}]", values.join(", "))
        }
        Value::KvlistValue(list) => {
            let pair = |pair: &KeyValue| {
                let value = pair.value.as_ref().map(|one| value(one, deeper));
                format!("{}={}", pair.key, value.unwrap_or_default())
            };
            format!("{{{}}}", list.values.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        Value::StringValueStrindex(_) => "…".to_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("writing to a string does not fail");
        out
    })
}

/// Text that is safe on a terminal, and not endless.
fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().take(MAX_VALUE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_VALUE).is_some() {
        shown.push('…');
    }
    shown
}

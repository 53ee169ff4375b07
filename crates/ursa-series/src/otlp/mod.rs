//! Points as OTLP metrics, and what is remembered of their series for that.
//!
//! Followed: OTLP metrics 1.x; "Prometheus and OpenMetrics Compatibility". Names and labels are as on a scrape, so
//! that one query serves both: descriptions and units do not change a name on its way into Prometheus, since
//! the unit is left empty. What OTLP has no form for (histograms that are gauges) does not leave.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod native;
mod points;
mod proto;
mod streams;

use bytes::Bytes;
use ursa_model::pipeline::metrics::Temporality;

use self::streams::Span;
pub use self::streams::{MAX_STREAMS, Source, Streams};
use crate::labels::hash;
use crate::{Family, Kind, Point, Sink, Value};

/// Bytes of a request at which the next is begun.
pub const MAX_REQUEST: usize = 512 * 1024;

/// Name of the scope of what is sent.
const SCOPE: &str = "ursa";

/// An `ExportMetricsServiceRequest` without resource attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The message.
    pub bytes: Bytes,
    /// Data points in it.
    pub items: usize,
}

/// Writes what comes as OTLP.
#[derive(Debug)]
pub struct OtlpWriter<'a> {
    streams: &'a mut Streams,
    /// Nanoseconds since 1970.
    now: u64,
    source: Source,
    family: Current,
    /// Data points of the family.
    points: Vec<u8>,
    in_points: usize,
    /// Metrics of the request.
    metrics: Vec<u8>,
    items: usize,
    ready: Vec<Request>,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Current {
    name: String,
    help: String,
    kind: Kind,
    hash: u64,
    /// How its data points are written; known with the first.
    form: Option<Form>,
}

/// The field of `Metric.data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Gauge = 5,
    Sum = 7,
    Histogram = 9,
    Exponential = 10,
    Summary = 11,
}

impl<'a> OtlpWriter<'a> {
    /// Of a collection at the time `now`, in nanoseconds since 1970.
    pub fn new(streams: &'a mut Streams, now: u64) -> Self {
        Self {
            streams,
            now,
            source: Source::default(),
            family: Current {
                name: String::new(),
                help: String::new(),
                kind: Kind::Unknown,
                hash: 0,
                form: None,
            },
            points: Vec::new(),
            in_points: 0,
            metrics: Vec::new(),
            items: 0,
            ready: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// What comes next is from there.
    pub fn from(&mut self, source: Source) {
        self.source = source;
    }

    /// Takes the requests that are complete.
    pub fn take(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.ready)
    }

    /// There is no more: the last requests. Series that have not come for long are forgotten.
    pub fn finish(mut self) -> Vec<Request> {
        self.cut();
        self.streams.next_collection();
        self.ready
    }

    /// Makes a metric of the points.
    fn close_metric(&mut self) {
        let Some(form) = self.family.form.take() else { return };
        let points = std::mem::take(&mut self.points);
        let data = &mut self.scratch;
        data.clear();
        // `temporality` is field 2 of all that have one, `is_monotonic` field 3.
        if matches!(form, Form::Sum | Form::Histogram | Form::Exponential) {
            let temporality = match self.streams.temporality() {
                Temporality::Delta => 1,
                Temporality::Cumulative => 2,
            };
            proto::number(data, 2, temporality);
        }
        if form == Form::Sum {
            proto::number(data, 3, 1);
        }
        let Current { name, help, .. } = &self.family;
        let data_length = points.len().saturating_add(data.len());
        let head = [(1, name.len()), (2, help.len()), (form as u32, data_length)];
        let length = head
            .into_iter()
            .filter(|(_, length)| *length > 0)
            .map(|(field, length)| proto::length(field, length))
            .fold(0, usize::saturating_add);
        let out = &mut self.metrics;
        proto::head(out, 2, length);
        proto::text(out, 1, name);
        proto::text(out, 2, help);
        proto::head(out, form as u32, data_length);
        out.extend_from_slice(&points);
        out.extend_from_slice(data);
        self.items = self.items.saturating_add(self.in_points);
        self.in_points = 0;
        self.points = points;
        self.points.clear();
        if self.metrics.len() >= MAX_REQUEST {
            self.cut();
        }
    }

    /// Makes a request of the metrics.
    fn cut(&mut self) {
        self.close_metric();
        if self.items == 0 {
            return;
        }
        let mut scope = Vec::new();
        proto::text(&mut scope, 1, SCOPE);
        proto::text(&mut scope, 2, env!("CARGO_PKG_VERSION"));
        let scope_length = proto::length(1, scope.len()).saturating_add(self.metrics.len());
        let resource_length = proto::length(2, scope_length);
        let mut request = Vec::with_capacity(proto::length(1, resource_length));
        proto::head(&mut request, 1, resource_length);
        proto::head(&mut request, 2, scope_length);
        proto::bytes(&mut request, 1, &scope);
        request.extend_from_slice(&self.metrics);
        self.metrics.clear();
        let items = std::mem::take(&mut self.items);
        self.ready.push(Request { bytes: Bytes::from(request), items });
    }

    /// Adds a data point of that form.
    fn add(&mut self, form: Form, write: impl FnOnce(&mut Vec<u8>)) {
        if self.family.form.is_some_and(|known| known != form) || self.points.len() >= MAX_REQUEST {
            self.close_metric();
        }
        self.family.form = Some(form);
        self.scratch.clear();
        write(&mut self.scratch);
        proto::bytes(&mut self.points, 1, &self.scratch);
        self.in_points = self.in_points.saturating_add(1);
    }
}

impl Sink for OtlpWriter<'_> {
    fn family(&mut self, family: &Family<'_>) -> bool {
        self.close_metric();
        if family.kind == Kind::GaugeHistogram {
            return false;
        }
        family.name.clone_into(&mut self.family.name);
        family.help.clone_into(&mut self.family.help);
        self.family.kind = family.kind;
        self.family.hash = hash(family.name) ^ self.source.id;
        true
    }

    fn point(&mut self, point: &Point<'_>) {
        let time = point.time.and_then(|time| u64::try_from(time).ok());
        let time = time.map_or(self.now, |time| time.saturating_mul(1_000_000));
        let series = point.labels.identity(self.family.hash);
        let source = self.source;
        match point.value {
            Value::Number(value) if self.family.kind == Kind::Counter => {
                let observed = self.streams.number(series, source, time, point.created, value);
                if let Some((value, start)) = observed {
                    let span = Span { start, time };
                    self.add(Form::Sum, |out| points::number(out, point, value, span));
                }
            }
            Value::Number(value) => {
                let span = Span { start: 0, time };
                self.add(Form::Gauge, |out| points::number(out, point, value, span));
            }
            Value::Histogram(histogram) => {
                let observed =
                    self.streams.histogram(series, source, time, point.created, histogram);
                let Some((histogram, start)) = observed else { return };
                let span = Span { start, time };
                if let Some(native) = &histogram.native {
                    if let Some(native) = native::exponential(native) {
                        self.add(Form::Exponential, |out| {
                            points::exponential(out, point, &histogram, &native, span);
                        });
                    }
                } else {
                    self.add(Form::Histogram, |out| points::classic(out, point, &histogram, span));
                }
            }
            Value::Summary(summary) => {
                let count = summary.count.unwrap_or_default();
                let start = self.streams.summary(series, source, time, point.created, count);
                let span = Span { start, time };
                self.add(Form::Summary, |out| points::summary(out, point, summary, span));
            }
        }
    }

    fn end(&mut self) {
        self.close_metric();
    }
}

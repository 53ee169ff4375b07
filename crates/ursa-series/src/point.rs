//! What flows: families and their points.

use crate::Labels;

/// What a family's values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations by size, only growing.
    Histogram,
    /// Observations by size, as they are now.
    GaugeHistogram,
    /// Observations by quantile.
    Summary,
    /// Facts in labels; always 1. The name ends in `_info`.
    Info,
    /// One series for each state, 1 for those that are.
    StateSet,
    /// Nobody said.
    Unknown,
}

impl Kind {
    /// As OpenMetrics writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
            Self::Unknown => "unknown",
        }
    }

    /// Of what either text format writes.
    pub(crate) fn of(text: &str) -> Option<Self> {
        Some(match text {
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "histogram" => Self::Histogram,
            "gaugehistogram" => Self::GaugeHistogram,
            "summary" => Self::Summary,
            "info" => Self::Info,
            "stateset" => Self::StateSet,
            "unknown" | "untyped" => Self::Unknown,
            _ => return None,
        })
    }
}

/// A family of series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family<'a> {
    /// The name as it stands in front of a value, so a counter's with its `_total`; of histograms and
    /// summaries without `_bucket`, `_sum`, `_count`.
    pub name: &'a str,
    /// What its values mean.
    pub kind: Kind,
    /// What people are told of it; may be empty.
    pub help: &'a str,
    /// The unit, if somebody said; the name ends with it.
    pub unit: &'a str,
}

/// One series at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Point<'a> {
    /// Which series.
    pub labels: &'a Labels,
    /// Its value.
    pub value: Value<'a>,
    /// When it was so, in milliseconds since 1970; unset: when it was collected.
    pub time: Option<i64>,
    /// Since when it counts, in seconds since 1970, where the source says so.
    pub created: Option<f64>,
    /// Observations that stand for others.
    pub exemplars: &'a [Exemplar],
}

/// A value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Of counters, gauges, info, state sets, and what is unknown.
    Number(f64),
    /// Of histograms.
    Histogram(&'a Histogram),
    /// Of summaries.
    Summary(&'a Summary),
}

impl Value<'_> {
    /// Whether nothing was ever counted.
    pub(crate) fn is_zero(self) -> bool {
        match self {
            Self::Number(number) => number == 0.0,
            Self::Histogram(histogram) => histogram.count() == 0.0,
            Self::Summary(summary) => summary.count.is_none_or(|count| count == 0.0),
        }
    }
}

/// Observations by size.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// Of a classic one, by growing bound; the last is `+Inf` where the source keeps to the rules.
    pub buckets: Vec<Bucket>,
    /// All observations added up.
    pub sum: Option<f64>,
    /// How many there were.
    pub count: Option<f64>,
    /// The same as a native histogram.
    pub native: Option<Native>,
}

impl Histogram {
    /// How many observations there were.
    pub fn count(&self) -> f64 {
        self.count.or_else(|| self.buckets.last().map(|bucket| bucket.count)).unwrap_or_default()
    }

    pub(crate) fn clear(&mut self) {
        self.buckets.clear();
        (self.sum, self.count, self.native) = (None, None, None);
    }
}

/// Part of a classic histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Observations up to this.
    pub bound: f64,
    /// How many observations were no larger.
    pub count: f64,
}

/// A native histogram of Prometheus. Bucket `i` holds observations above `base^(i-1)` up to `base^i`,
/// where `base` is 2 to the power of 2^-schema.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Native {
    /// From -4 (wide) to 8 (narrow).
    pub schema: i32,
    /// Observations up to this, of either sign, count as zero.
    pub zero_threshold: f64,
    /// How many there were of these.
    pub zero_count: f64,
    /// Buckets that are not empty, by growing index, and how many observations each holds.
    pub positive: Vec<(i32, f64)>,
    /// The same of negative observations.
    pub negative: Vec<(i32, f64)>,
}

/// Observations by quantile.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// Quantile (0 to 1) and value.
    pub quantiles: Vec<(f64, f64)>,
    /// All observations added up.
    pub sum: Option<f64>,
    /// How many there were.
    pub count: Option<f64>,
}

/// An observation that stands for others, with a trace to look at.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// The bound of the bucket that it is of; of a counter none.
    pub bound: Option<f64>,
    /// `trace_id`, `span_id`, and what else was said.
    pub labels: Labels,
    /// What was observed.
    pub value: f64,
    /// When, in seconds since 1970.
    pub time: Option<f64>,
}

/// Where points go.
pub trait Sink {
    /// What follows is of this family. False: its points are not wanted, and need not come.
    fn family(&mut self, family: &Family<'_>) -> bool;

    /// A point of the last family. The points of one series come once, and together.
    fn point(&mut self, point: &Point<'_>);

    /// The last family is complete.
    fn end(&mut self);
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn family(&mut self, family: &Family<'_>) -> bool {
        (**self).family(family)
    }

    fn point(&mut self, point: &Point<'_>) {
        (**self).point(point);
    }

    fn end(&mut self) {
        (**self).end();
    }
}

//! Samples that belong together made into points.

use super::{MAX_BUCKETS, Problem, bounded};
use crate::{Bucket, Exemplar, Family, Histogram, Kind, Labels, Point, Sink, Summary, Value};

/// The family that is being read, and of it the point.
#[derive(Debug)]
pub(super) struct Group {
    /// The name by which its metadata were given.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) help: String,
    pub(super) unit: String,
    stage: Stage,
    /// Whether a point has begun.
    has_point: bool,
    pub(super) labels: Labels,
    number: f64,
    histogram: Histogram,
    summary: Summary,
    exemplars: Vec<Exemplar>,
    time: Option<i64>,
    created: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No sample came yet.
    Announced,
    /// Its points are handed on.
    Wanted,
    /// They are not.
    Unwanted,
}

/// What a sample is of its family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Value,
    Quantile,
    Bucket,
    Sum,
    Count,
    Created,
}

impl Group {
    pub(super) fn new() -> Self {
        Self {
            name: String::new(),
            kind: Kind::Unknown,
            help: String::new(),
            unit: String::new(),
            stage: Stage::Announced,
            has_point: false,
            labels: Labels::new(),
            number: 0.0,
            histogram: Histogram::default(),
            summary: Summary::default(),
            exemplars: Vec::new(),
            time: None,
            created: None,
        }
    }

    /// Ends what was, and begins the family of that name if it is another. Says whether it is.
    pub(super) fn begin(&mut self, name: &str, sink: &mut impl Sink) -> bool {
        let is_new = self.name != name || self.stage != Stage::Announced;
        if is_new {
            self.end(sink);
            name.clone_into(&mut self.name);
            self.kind = Kind::Unknown;
            self.help.clear();
            self.unit.clear();
        }
        is_new
    }

    /// What a sample of that name is here.
    pub(super) fn part(&self, name: &str, open_metrics: bool) -> Option<Part> {
        let rest = name.strip_prefix(self.name.as_str())?;
        if self.name.is_empty() {
            return None;
        }
        Some(match (self.kind, rest) {
            (Kind::Summary, "") => Part::Quantile,
            (Kind::Histogram | Kind::GaugeHistogram, "_bucket") => Part::Bucket,
            (Kind::Histogram | Kind::Summary, "_sum") | (Kind::GaugeHistogram, "_gsum") => {
                Part::Sum
            }
            (Kind::Histogram | Kind::Summary, "_count") | (Kind::GaugeHistogram, "_gcount") => {
                Part::Count
            }
            (Kind::Counter | Kind::Histogram | Kind::Summary, "_created") if open_metrics => {
                Part::Created
            }
            (Kind::Histogram | Kind::GaugeHistogram, _) => return None,
            (_, "") => Part::Value,
            (Kind::Counter, "_total") | (Kind::Info, "_info") if open_metrics => Part::Value,
            _ => return None,
        })
    }

    /// Says that a sample comes, by its name, and whether it is wanted.
    pub(super) fn open(&mut self, name: &str, sink: &mut impl Sink) -> bool {
        if self.stage == Stage::Announced {
            let name = match self.kind {
                Kind::Counter | Kind::Info => name,
                _ => &self.name,
            };
            let family = Family { name, kind: self.kind, help: &self.help, unit: &self.unit };
            self.stage = if sink.family(&family) { Stage::Wanted } else { Stage::Unwanted };
        }
        self.stage == Stage::Wanted
    }

    pub(super) fn is_unwanted(&self) -> bool {
        self.stage == Stage::Unwanted
    }

    /// Whether a point has begun that more samples may belong to.
    pub(super) fn is_open(&self) -> bool {
        self.has_point
    }

    /// Begins a point of the series in [`labels`](Self::labels).
    pub(super) fn start(&mut self, time: Option<i64>) {
        self.has_point = true;
        self.time = time;
    }

    /// A sample of the point.
    pub(super) fn add(
        &mut self,
        part: Part,
        bound: Option<f64>,
        value: f64,
    ) -> Result<(), Problem> {
        match part {
            Part::Value => self.number = value,
            Part::Sum if self.kind == Kind::Summary => self.summary.sum = Some(value),
            Part::Count if self.kind == Kind::Summary => self.summary.count = Some(value),
            Part::Sum => self.histogram.sum = Some(value),
            Part::Count => self.histogram.count = Some(value),
            Part::Created => self.created = Some(value),
            Part::Quantile => {
                let quantiles = &mut self.summary.quantiles;
                bounded(quantiles.len(), MAX_BUCKETS, Problem::Buckets)?;
                quantiles.push((bound.ok_or(Problem::Bound)?, value));
            }
            Part::Bucket => {
                let buckets = &mut self.histogram.buckets;
                bounded(buckets.len(), MAX_BUCKETS, Problem::Buckets)?;
                buckets.push(Bucket { bound: bound.ok_or(Problem::Bound)?, count: value });
            }
        }
        Ok(())
    }

    /// An exemplar of the point.
    pub(super) fn exemplify(&mut self, exemplar: Exemplar) -> Result<(), Problem> {
        bounded(self.exemplars.len(), MAX_BUCKETS, Problem::Buckets)?;
        self.exemplars.push(exemplar);
        Ok(())
    }

    /// Hands on the point that has begun.
    pub(super) fn flush(&mut self, sink: &mut impl Sink) {
        if !std::mem::take(&mut self.has_point) {
            return;
        }
        let value = match self.kind {
            Kind::Histogram | Kind::GaugeHistogram => {
                let buckets = &mut self.histogram.buckets;
                if !buckets.is_sorted_by(|a, b| a.bound < b.bound) {
                    buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
                    buckets.dedup_by(|a, b| a.bound.total_cmp(&b.bound).is_eq());
                }
                Value::Histogram(&self.histogram)
            }
            Kind::Summary => Value::Summary(&self.summary),
            _ => Value::Number(self.number),
        };
        sink.point(&Point {
            labels: &self.labels,
            value,
            time: self.time,
            created: self.created,
            exemplars: &self.exemplars,
        });
        self.histogram.clear();
        self.summary.quantiles.clear();
        (self.summary.sum, self.summary.count) = (None, None);
        self.exemplars.clear();
        self.created = None;
    }

    /// Hands on what there is.
    pub(super) fn end(&mut self, sink: &mut impl Sink) {
        self.flush(sink);
        if self.stage == Stage::Wanted {
            sink.end();
        }
        self.stage = Stage::Announced;
        self.name.clear();
    }
}

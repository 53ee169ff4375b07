//! Text 0.0.4 and 1.0.0, and OpenMetrics 1.0.

use std::collections::HashSet;

use bytes::Bytes;

use super::held::Held;
use super::line::{bound, escaped, integer, labels, number, quoted};
use crate::escape::is_legacy;
use crate::labels::hash;
use crate::{
    Escaping, Exemplar, Exposition, Family, Format, Histogram, Kind, Labels, Point, Sink, Summary,
    Value,
};

/// Most characters of an exemplar's labels (OpenMetrics 1.0, "Exemplars").
const MAX_EXEMPLAR: usize = 128;
/// What was held leaves in pieces of about so many bytes.
const PIECE: usize = 16 * 1024;

/// Writes what comes in a text format.
#[derive(Debug)]
pub struct TextWriter {
    open_metrics: bool,
    escaping: Escaping,
    out: String,
    /// Families whose metadata were written.
    known: HashSet<u64>,
    /// Once several sources come that may have part of the same families.
    held: Option<Held>,
    family: Written,
    /// The labels of the point that is written.
    labels: String,
}

/// The family that is written.
#[derive(Debug)]
struct Written {
    /// What stands before a suffix, escaped.
    base: String,
    /// What always comes after it: a counter's `_total`, in OpenMetrics.
    suffix: &'static str,
    kind: Kind,
}

impl TextWriter {
    /// For a reader who wants it so.
    pub fn new(exposition: Exposition) -> Self {
        Self {
            open_metrics: exposition.format == Format::OpenMetrics,
            escaping: exposition.escaping,
            out: String::new(),
            known: HashSet::new(),
            held: None,
            family: Written { base: String::new(), suffix: "", kind: Kind::Unknown },
            labels: String::new(),
        }
    }

    /// What comes from now on is from several sources that may have part of the same families: it is kept, and stands in one
    /// piece for each family at the end. Families that came before leave as they come.
    pub fn hold(&mut self) {
        if self.held.is_none() {
            self.held = Some(Held::after(std::mem::take(&mut self.out)));
        }
    }

    /// Families that were left out, once for each source: those which another source has as another kind, and those for which
    /// there was no room ([`MAX_HELD`](super::MAX_HELD)).
    pub fn left_out(&self) -> u64 {
        self.held.as_ref().map_or(0, |held| held.left_out)
    }

    /// How much was written that can be taken.
    pub fn len(&self) -> usize {
        self.held.as_ref().map_or(&self.out, |held| &held.before).len()
    }

    /// Whether nothing can be taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes what was written since, but for what is held.
    pub fn take(&mut self) -> Bytes {
        let written = self.held.as_mut().map_or(&mut self.out, |held| &mut held.before);
        let next = String::with_capacity(written.len());
        Bytes::from(std::mem::replace(written, next))
    }

    /// There is no more: takes what is held, piece by piece. What [`finish`](Self::finish) gives comes after it.
    pub fn release(&mut self) -> impl Iterator<Item = Bytes> + use<> {
        self.close();
        let held = self.held.take();
        held.into_iter().flat_map(|held| held.into_pieces(PIECE))
    }

    /// There is no more: the rest.
    pub fn finish(mut self) -> Bytes {
        let mut rest = Vec::new();
        self.release().for_each(|piece| rest.extend_from_slice(&piece));
        rest.extend_from_slice(self.out.as_bytes());
        if self.open_metrics {
            rest.extend_from_slice(b"# EOF\n");
        }
        Bytes::from(rest)
    }

    /// The family that was written last is whole, as far as its source goes.
    fn close(&mut self) {
        if let Some(held) = &mut self.held {
            held.close(&mut self.out);
        }
    }

    /// `# TYPE name what`
    fn metadata(&mut self, keyword: &str, what: &str) {
        self.out.push_str("# ");
        self.out.push_str(keyword);
        self.out.push(' ');
        if is_legacy(&self.family.base) {
            self.out.push_str(&self.family.base);
        } else {
            quoted(&mut self.out, &self.family.base);
        }
        self.out.push(' ');
        if keyword == "HELP" {
            escaped(&mut self.out, what, self.open_metrics);
        } else {
            self.out.push_str(what);
        }
        self.out.push('\n');
    }

    /// Name and labels of one line.
    fn head(&mut self, suffix: &str, special: Option<(&str, f64)>) {
        let out = &mut self.out;
        let is_quoted = !is_legacy(&self.family.base);
        if is_quoted {
            out.push_str("{\"");
            escaped(out, &self.family.base, true);
            out.push_str(self.family.suffix);
            out.push_str(suffix);
            out.push('"');
        } else {
            out.push_str(&self.family.base);
            out.push_str(self.family.suffix);
            out.push_str(suffix);
        }
        let mut separator = if is_quoted { ',' } else { '{' };
        if !self.labels.is_empty() {
            out.push(separator);
            out.push_str(&self.labels);
            separator = ',';
        }
        if let Some((name, value)) = special {
            out.push(separator);
            out.push_str(name);
            out.push_str("=\"");
            bound(out, value, self.open_metrics);
            out.push('"');
            separator = ',';
        }
        out.push_str(if separator == '{' { " " } else { "} " });
    }

    fn tail(&mut self, value: f64, time: Option<i64>, exemplar: Option<&Exemplar>) {
        number(&mut self.out, value);
        if let Some(time) = time {
            self.out.push(' ');
            if self.open_metrics {
                number(&mut self.out, time as f64 / 1000.0);
            } else {
                integer(&mut self.out, time);
            }
        }
        if let Some(exemplar) = exemplar.filter(|_| self.open_metrics) {
            self.exemplar(exemplar);
        }
        self.out.push('\n');
    }

    fn exemplar(&mut self, exemplar: &Exemplar) {
        let length = |(name, value): (&str, &str)| {
            name.chars().count().saturating_add(value.chars().count())
        };
        if exemplar.labels.iter().map(length).fold(0, usize::saturating_add) > MAX_EXEMPLAR {
            return;
        }
        self.out.push_str(" # {");
        labels(&mut self.out, &exemplar.labels, self.escaping);
        self.out.push_str("} ");
        number(&mut self.out, exemplar.value);
        if let Some(time) = exemplar.time {
            self.out.push(' ');
            number(&mut self.out, time);
        }
    }

    fn histogram(&mut self, histogram: &Histogram, point: &Point<'_>) {
        let [sum, count] = match self.family.kind {
            Kind::GaugeHistogram => ["_gsum", "_gcount"],
            _ => ["_sum", "_count"],
        };
        let mut lower = f64::NEG_INFINITY;
        for bucket in &histogram.buckets {
            self.head("_bucket", Some(("le", bucket.bound)));
            let within =
                |exemplar: &&Exemplar| exemplar.value > lower && exemplar.value <= bucket.bound;
            let exemplar = point.exemplars.iter().rfind(within);
            self.tail(bucket.count, point.time, exemplar);
            lower = bucket.bound;
        }
        if lower < f64::INFINITY {
            self.head("_bucket", Some(("le", f64::INFINITY)));
            self.tail(histogram.count(), point.time, None);
        }
        if let Some(value) = histogram.sum {
            self.head(sum, None);
            self.tail(value, point.time, None);
        }
        self.head(count, None);
        self.tail(histogram.count(), point.time, None);
    }

    fn summary(&mut self, summary: &Summary, time: Option<i64>) {
        for (quantile, value) in &summary.quantiles {
            self.head("", Some(("quantile", *quantile)));
            self.tail(*value, time, None);
        }
        for (suffix, value) in [("_sum", summary.sum), ("_count", summary.count)] {
            if let Some(value) = value {
                self.head(suffix, None);
                self.tail(value, time, None);
            }
        }
    }

    fn point_labels(&mut self, of: &Labels) {
        self.labels.clear();
        labels(&mut self.labels, of, self.escaping);
    }
}

impl Sink for TextWriter {
    fn family(&mut self, family: &Family<'_>) -> bool {
        self.close();
        let suffix = match family.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            _ => "",
        };
        let base = family.name.strip_suffix(suffix).filter(|base| !base.is_empty());
        // What has not the name that OpenMetrics asks for cannot be of that kind there.
        let (base, suffix, kind) = match (self.open_metrics, base, family.kind) {
            (true, Some(base), kind) => (base, suffix, kind),
            (true, None, Kind::Info) => (family.name, "", Kind::Gauge),
            (true, None, _) => (family.name, "", Kind::Unknown),
            (false, _, kind) => (family.name, "", kind),
        };
        self.family.base.clear();
        self.escaping.escape(base, &mut self.family.base);
        (self.family.suffix, self.family.kind) = (suffix, kind);
        let name = hash(&self.family.base);
        if let Some(held) = &mut self.held {
            let Some(kind) = held.open(name, kind, suffix) else { return false };
            self.family.kind = kind;
        }
        if !self.known.insert(name) {
            return true;
        }
        let kind = match kind {
            _ if self.open_metrics => kind.name(),
            Kind::Info | Kind::StateSet => "gauge",
            Kind::Unknown | Kind::GaugeHistogram => "untyped",
            kind => kind.name(),
        };
        if !family.help.is_empty() {
            self.metadata("HELP", family.help);
        }
        self.metadata("TYPE", kind);
        if self.open_metrics && !family.unit.is_empty() && self.family.base.ends_with(family.unit) {
            self.metadata("UNIT", family.unit);
        }
        true
    }

    fn point(&mut self, point: &Point<'_>) {
        self.point_labels(point.labels);
        match point.value {
            Value::Number(value) => {
                let of_counter = self.family.kind == Kind::Counter;
                let exemplar = point.exemplars.last().filter(|_| of_counter);
                self.head("", None);
                self.tail(value, point.time, exemplar);
            }
            Value::Histogram(histogram) => self.histogram(histogram, point),
            Value::Summary(summary) => self.summary(summary, point.time),
        }
    }

    fn end(&mut self) {
        self.close();
    }
}

//! `io.prometheus.client.MetricFamily`, each with its length before it.

use ursa_otlp::wire::{Fields, Value as Wire};

use super::{MAX_BUCKETS, MAX_FAMILIES, MAX_LABELS, MAX_MESSAGE, ParseError, Problem, bounded};
use crate::{
    Bucket, Exemplar, Family, Histogram, Kind, Labels, Native, Point, Sink, Summary, Value,
};

/// What was read of one source.
#[derive(Debug, Default)]
pub(super) struct Protobuf {
    /// What came of a family that is not complete.
    begun: Vec<u8>,
    families: u64,
    point: Scratch,
}

/// Memory that is used for point after point.
#[derive(Debug, Default)]
struct Scratch {
    labels: Labels,
    histogram: Histogram,
    summary: Summary,
    exemplars: Vec<Exemplar>,
}

impl Protobuf {
    pub(super) fn feed(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<(), ParseError> {
        let mut rest = bytes;
        let kept = std::mem::take(&mut self.begun);
        let joined;
        if !kept.is_empty() {
            joined = [kept.as_slice(), bytes].concat();
            rest = &joined;
        }
        loop {
            match message(rest) {
                Ok(Some((family, after))) => {
                    self.families = self.families.saturating_add(1);
                    let read = self.point.family(self.families, family, sink);
                    read.map_err(|problem| self.error(problem))?;
                    rest = after;
                }
                Ok(None) => break,
                Err(problem) => {
                    self.families = self.families.saturating_add(1);
                    return Err(self.error(problem));
                }
            }
        }
        self.begun = rest.to_vec();
        Ok(())
    }

    pub(super) fn finish(mut self, _: &mut impl Sink) -> Result<(), ParseError> {
        if self.begun.is_empty() {
            return Ok(());
        }
        self.families = self.families.saturating_add(1);
        Err(self.error(Problem::Truncated))
    }

    fn error(&self, problem: Problem) -> ParseError {
        ParseError::Message { family: self.families, problem }
    }
}

/// A message, and what comes after it.
type Message<'a> = (&'a [u8], &'a [u8]);

/// The first whole message.
fn message(bytes: &[u8]) -> Result<Option<Message<'_>>, Problem> {
    let mut length = 0_usize;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        length |=
            usize::from(byte & 0x7f).wrapping_shl(u32::try_from(at).unwrap_or(0).saturating_mul(7));
        if *byte < 0x80 {
            if length > MAX_MESSAGE {
                return Err(Problem::TooLong);
            }
            let rest = bytes.get(at.saturating_add(1)..).unwrap_or_default();
            return Ok(rest.split_at_checked(length));
        }
    }
    if bytes.len() >= 5 { Err(Problem::TooLong) } else { Ok(None) }
}

/// The fields of a message. What is not one ends it with an error.
fn fields(message: &[u8]) -> impl Iterator<Item = Result<(u32, Wire<'_>), Problem>> {
    let fields = Fields::new(message);
    fields
        .map(|field| field.map(|field| (field.number, field.value)).map_err(|_| Problem::Malformed))
}

fn text(bytes: &[u8]) -> Result<&str, Problem> {
    str::from_utf8(bytes).map_err(|_| Problem::Text)
}

impl Scratch {
    fn family(&mut self, number: u64, message: &[u8], sink: &mut impl Sink) -> Result<(), Problem> {
        let (mut name, mut help, mut unit, mut kind) = ("", "", "", Kind::Counter);
        for field in fields(message) {
            match field? {
                (1, Wire::Bytes(bytes)) => name = text(bytes)?,
                (2, Wire::Bytes(bytes)) => help = text(bytes)?,
                (3, Wire::Varint(number)) => kind = kind_of(number)?,
                (5, Wire::Bytes(bytes)) => unit = text(bytes)?,
                _ => {}
            }
        }
        if name.is_empty() {
            return Err(Problem::Name);
        }
        bounded(usize::try_from(number).unwrap_or(usize::MAX), MAX_FAMILIES, Problem::Families)?;
        if !sink.family(&Family { name, kind, help, unit }) {
            return Ok(());
        }
        let read = fields(message).try_for_each(|field| match field? {
            (4, Wire::Bytes(metric)) => self.metric(metric, sink),
            _ => Ok(()),
        });
        sink.end();
        read
    }

    fn metric(&mut self, message: &[u8], sink: &mut impl Sink) -> Result<(), Problem> {
        self.labels.clear();
        self.exemplars.clear();
        let (mut time, mut created, mut number) = (None, None, 0.0);
        let mut form = Form::Number;
        for field in fields(message) {
            match field? {
                (1, Wire::Bytes(pair)) => label(pair, &mut self.labels)?,
                (2 | 5, Wire::Bytes(simple)) => number = simple_value(simple)?,
                (3, Wire::Bytes(counter)) => {
                    (number, created) = self.counter(counter)?;
                }
                (4, Wire::Bytes(summary)) => {
                    form = Form::Summary;
                    created = self.summary(summary)?;
                }
                (6, Wire::Varint(milliseconds)) => time = Some(milliseconds.cast_signed()),
                (7, Wire::Bytes(histogram)) => {
                    form = Form::Histogram;
                    created = self.histogram(histogram)?;
                }
                _ => {}
            }
        }
        let value = match form {
            Form::Number => Value::Number(number),
            Form::Histogram => Value::Histogram(&self.histogram),
            Form::Summary => Value::Summary(&self.summary),
        };
        let (labels, exemplars) = (&self.labels, &*self.exemplars);
        sink.point(&Point { labels, value, time, created, exemplars });
        Ok(())
    }

    fn counter(&mut self, message: &[u8]) -> Result<(f64, Option<f64>), Problem> {
        let (mut number, mut created) = (0.0, None);
        for field in fields(message) {
            match field? {
                (1, Wire::Fixed64(bits)) => number = f64::from_bits(bits),
                (2, Wire::Bytes(exemplar)) => self.exemplars.push(read_exemplar(exemplar, None)?),
                (3, Wire::Bytes(time)) => created = Some(timestamp(time)?),
                _ => {}
            }
        }
        Ok((number, created))
    }

    fn summary(&mut self, message: &[u8]) -> Result<Option<f64>, Problem> {
        self.summary.quantiles.clear();
        let (mut count, mut sum, mut created) = (0.0, 0.0, None);
        for field in fields(message) {
            match field? {
                (1, Wire::Varint(number)) => count = number as f64,
                (2, Wire::Fixed64(bits)) => sum = f64::from_bits(bits),
                (3, Wire::Bytes(quantile)) => {
                    bounded(self.summary.quantiles.len(), MAX_BUCKETS, Problem::Buckets)?;
                    self.summary.quantiles.push(two_numbers(quantile)?);
                }
                (4, Wire::Bytes(time)) => created = Some(timestamp(time)?),
                _ => {}
            }
        }
        (self.summary.count, self.summary.sum) = (Some(count), Some(sum));
        Ok(created)
    }

    fn histogram(&mut self, message: &[u8]) -> Result<Option<f64>, Problem> {
        self.histogram.clear();
        let (mut count, mut sum, mut created) = (0.0, 0.0, None);
        let mut native = Native::default();
        let (mut positive, mut negative) = (Spans::default(), Spans::default());
        let mut is_native = false;
        for field in fields(message) {
            match field? {
                (1, Wire::Varint(number)) => count = number as f64,
                (4, Wire::Fixed64(bits)) if bits != 0 => count = f64::from_bits(bits),
                (2, Wire::Fixed64(bits)) => sum = f64::from_bits(bits),
                (3, Wire::Bytes(bucket)) => {
                    bounded(self.histogram.buckets.len(), MAX_BUCKETS, Problem::Buckets)?;
                    let bucket = self.bucket(bucket)?;
                    self.histogram.buckets.push(bucket);
                }
                (5, Wire::Varint(number)) => {
                    is_native = true;
                    native.schema = i32::try_from(zigzag(number)).map_err(|_| Problem::Number)?;
                }
                (6, Wire::Fixed64(bits)) => native.zero_threshold = f64::from_bits(bits),
                (7, Wire::Varint(number)) => native.zero_count = number as f64,
                (8, Wire::Fixed64(bits)) if bits != 0 => native.zero_count = f64::from_bits(bits),
                (9, Wire::Bytes(span)) => negative.span(span)?,
                (10, value) => negative.deltas(value)?,
                (11, value) => negative.counts(value)?,
                (12, Wire::Bytes(span)) => positive.span(span)?,
                (13, value) => positive.deltas(value)?,
                (14, value) => positive.counts(value)?,
                (15, Wire::Bytes(time)) => created = Some(timestamp(time)?),
                (16, Wire::Bytes(exemplar)) => {
                    bounded(self.exemplars.len(), MAX_BUCKETS, Problem::Buckets)?;
                    self.exemplars.push(read_exemplar(exemplar, None)?);
                }
                _ => {}
            }
        }
        let buckets = &mut self.histogram.buckets;
        buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
        buckets.dedup_by(|a, b| a.bound.total_cmp(&b.bound).is_eq());
        // The last one goes without saying.
        if buckets.last().is_some_and(|last| last.bound < f64::INFINITY) {
            buckets.push(Bucket { bound: f64::INFINITY, count });
        }
        native.positive = positive.buckets()?;
        native.negative = negative.buckets()?;
        // A classic one has no schema, or a schema of 0 and nothing else.
        let says = !positive.spans.is_empty()
            || !negative.spans.is_empty()
            || native.zero_threshold != 0.0;
        self.histogram.native = (is_native && says).then_some(native);
        (self.histogram.count, self.histogram.sum) = (Some(count), Some(sum));
        Ok(created)
    }

    fn bucket(&mut self, message: &[u8]) -> Result<Bucket, Problem> {
        let mut bucket = Bucket { bound: 0.0, count: 0.0 };
        let mut exemplar = None;
        for field in fields(message) {
            match field? {
                (1, Wire::Varint(number)) => bucket.count = number as f64,
                (4, Wire::Fixed64(bits)) if bits != 0 => bucket.count = f64::from_bits(bits),
                (2, Wire::Fixed64(bits)) => bucket.bound = f64::from_bits(bits),
                (3, Wire::Bytes(message)) => exemplar = Some(message),
                _ => {}
            }
        }
        if bucket.bound.is_nan() {
            return Err(Problem::Bound);
        }
        if let Some(exemplar) = exemplar {
            bounded(self.exemplars.len(), MAX_BUCKETS, Problem::Buckets)?;
            self.exemplars.push(read_exemplar(exemplar, Some(bucket.bound))?);
        }
        Ok(bucket)
    }
}

enum Form {
    Number,
    Histogram,
    Summary,
}

fn kind_of(number: u64) -> Result<Kind, Problem> {
    Ok(match number {
        0 => Kind::Counter,
        1 => Kind::Gauge,
        2 => Kind::Summary,
        3 => Kind::Unknown,
        4 => Kind::Histogram,
        5 => Kind::GaugeHistogram,
        _ => return Err(Problem::Kind),
    })
}

fn label(message: &[u8], labels: &mut Labels) -> Result<(), Problem> {
    let (mut name, mut value) = ("", "");
    for field in fields(message) {
        match field? {
            (1, Wire::Bytes(bytes)) => name = text(bytes)?,
            (2, Wire::Bytes(bytes)) => value = text(bytes)?,
            _ => {}
        }
    }
    if name.is_empty() {
        return Err(Problem::Malformed);
    }
    bounded(labels.len(), MAX_LABELS, Problem::Labels)?;
    labels.push(name, value);
    Ok(())
}

fn simple_value(message: &[u8]) -> Result<f64, Problem> {
    Ok(two_numbers(message)?.0)
}

/// Fields 1 and 2 as numbers.
fn two_numbers(message: &[u8]) -> Result<(f64, f64), Problem> {
    let mut numbers = (0.0, 0.0);
    for field in fields(message) {
        match field? {
            (1, Wire::Fixed64(bits)) => numbers.0 = f64::from_bits(bits),
            (2, Wire::Fixed64(bits)) => numbers.1 = f64::from_bits(bits),
            _ => {}
        }
    }
    Ok(numbers)
}

fn read_exemplar(message: &[u8], bound: Option<f64>) -> Result<Exemplar, Problem> {
    let mut exemplar = Exemplar { bound, labels: Labels::new(), value: 0.0, time: None };
    for field in fields(message) {
        match field? {
            (1, Wire::Bytes(pair)) => label(pair, &mut exemplar.labels)?,
            (2, Wire::Fixed64(bits)) => exemplar.value = f64::from_bits(bits),
            (3, Wire::Bytes(time)) => exemplar.time = Some(timestamp(time)?),
            _ => {}
        }
    }
    Ok(exemplar)
}

/// `google.protobuf.Timestamp` in seconds.
fn timestamp(message: &[u8]) -> Result<f64, Problem> {
    let (mut seconds, mut nanos) = (0_u64, 0_u64);
    for field in fields(message) {
        match field? {
            (1, Wire::Varint(number)) => seconds = number,
            (2, Wire::Varint(number)) => nanos = number,
            _ => {}
        }
    }
    Ok(seconds.cast_signed() as f64 + nanos.cast_signed() as f64 / 1e9)
}

fn zigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ (number & 1).cast_signed().wrapping_neg()
}

/// One side of a native histogram as it stands in the message.
#[derive(Debug, Default)]
struct Spans {
    /// Gap before, and how many buckets follow one another.
    spans: Vec<(i32, u32)>,
    values: Vec<f64>,
}

impl Spans {
    fn span(&mut self, message: &[u8]) -> Result<(), Problem> {
        let mut span = (0, 0);
        for field in fields(message) {
            match field? {
                (1, Wire::Varint(number)) => {
                    span.0 = i32::try_from(zigzag(number)).map_err(|_| Problem::Number)?;
                }
                (2, Wire::Varint(number)) => {
                    span.1 = u32::try_from(number).map_err(|_| Problem::Number)?;
                }
                _ => {}
            }
        }
        bounded(self.spans.len(), MAX_BUCKETS, Problem::Buckets)?;
        self.spans.push(span);
        Ok(())
    }

    /// Each bucket less the one before.
    fn deltas(&mut self, value: Wire<'_>) -> Result<(), Problem> {
        let mut add = |number: u64| {
            bounded(self.values.len(), MAX_BUCKETS, Problem::Buckets)?;
            let before = self.values.last().copied().unwrap_or_default();
            self.values.push(before + zigzag(number) as f64);
            Ok(())
        };
        match value {
            Wire::Varint(number) => add(number),
            Wire::Bytes(packed) => varints(packed, add),
            _ => Err(Problem::Malformed),
        }
    }

    /// Each bucket as it is.
    fn counts(&mut self, value: Wire<'_>) -> Result<(), Problem> {
        let mut add = |bits: u64| {
            bounded(self.values.len(), MAX_BUCKETS, Problem::Buckets)?;
            self.values.push(f64::from_bits(bits));
            Ok(())
        };
        match value {
            Wire::Fixed64(bits) => add(bits),
            Wire::Bytes(packed) => {
                let (numbers, rest) = packed.as_chunks::<8>();
                numbers.iter().try_for_each(|bits| add(u64::from_le_bytes(*bits)))?;
                if rest.is_empty() { Ok(()) } else { Err(Problem::Malformed) }
            }
            _ => Err(Problem::Malformed),
        }
    }

    /// Buckets that are not empty.
    fn buckets(&self) -> Result<Vec<(i32, f64)>, Problem> {
        let mut values = self.values.iter();
        let mut buckets = Vec::with_capacity(self.values.len());
        let mut next = 0_i32;
        'spans: for (gap, length) in &self.spans {
            next = next.checked_add(*gap).ok_or(Problem::Number)?;
            for _ in 0..*length {
                let Some(value) = values.next() else { break 'spans };
                if *value != 0.0 {
                    buckets.push((next, *value));
                }
                next = next.checked_add(1).ok_or(Problem::Number)?;
            }
        }
        // A gap that leads back would put buckets out of order.
        if !buckets.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(Problem::Malformed);
        }
        Ok(buckets)
    }
}

fn varints(packed: &[u8], mut each: impl FnMut(u64) -> Result<(), Problem>) -> Result<(), Problem> {
    let (mut number, mut shift) = (0_u64, 0_u32);
    for byte in packed {
        if shift > 63 {
            return Err(Problem::Malformed);
        }
        number |= u64::from(byte & 0x7f).wrapping_shl(shift);
        shift = shift.saturating_add(7);
        if *byte < 0x80 {
            each(number)?;
            (number, shift) = (0, 0);
        }
    }
    if shift == 0 { Ok(()) } else { Err(Problem::Truncated) }
}

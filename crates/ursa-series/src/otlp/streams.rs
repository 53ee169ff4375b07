//! What is remembered of each series from one request to the next: since when it counts, and for deltas what
//! it was at.

use std::borrow::Cow;
use std::collections::HashMap;

use ursa_model::pipeline::metrics::Temporality;

use super::native;
use crate::{Bucket, Histogram, KEEP, Native};

/// Series that are remembered. What is over is not sent as a delta, and counts from when it is sent.
pub const MAX_STREAMS: usize = 200_000;
/// Sources that are remembered.
const MAX_SOURCES: usize = 4_096;

/// From where series come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Source {
    /// Tells it from others.
    pub id: u64,
    /// Since when all of its counters count, in nanoseconds since 1970, if that is known.
    pub start: Option<u64>,
}

/// From when to when a value was counted, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) time: u64,
}

/// The series of one output that pushes.
#[derive(Debug)]
pub struct Streams {
    temporality: Temporality,
    collection: u32,
    streams: HashMap<u64, Stream>,
    /// When each source was last heard.
    sources: HashMap<u64, Heard>,
}

#[derive(Debug)]
struct Stream {
    start: u64,
    time: u64,
    seen: u32,
    last: Last,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    /// In this collection.
    now: u64,
    /// In the one before.
    before: Option<u64>,
    seen: u32,
}

/// What a series was at. Of cumulative ones the count alone.
#[derive(Debug)]
enum Last {
    Number(f64),
    Classic { sum: f64, count: f64, buckets: Box<[Bucket]> },
    Native { sum: f64, count: f64, native: Box<Native> },
}

impl Last {
    fn count(&self) -> f64 {
        match self {
            Self::Number(count) | Self::Classic { count, .. } | Self::Native { count, .. } => {
                *count
            }
        }
    }
}

/// What a point is to be sent as.
enum Step {
    /// As it is, counted from then on.
    Whole(u64),
    /// Less what was before, counted since then.
    Since(u64),
    /// Not at all: nobody knows since when it counts.
    Baseline,
}

impl Streams {
    /// Of an output that tells values so.
    pub fn new(temporality: Temporality) -> Self {
        Self { temporality, collection: 0, streams: HashMap::new(), sources: HashMap::new() }
    }

    /// How values are told.
    pub fn temporality(&self) -> Temporality {
        self.temporality
    }

    /// How many series are remembered; never more than [`MAX_STREAMS`].
    pub fn remembered(&self) -> usize {
        self.streams.len()
    }

    /// A counter's value as it is sent, and since when it counts. Nothing if it is not sent.
    pub(super) fn number(
        &mut self,
        series: u64,
        source: Source,
        time: u64,
        created: Option<f64>,
        value: f64,
    ) -> Option<(f64, u64)> {
        let before = self.streams.get(&series).map(|stream| stream.last.count());
        let sent = match self.step(series, source, time, created, value) {
            Step::Whole(start) => Some((value, start)),
            Step::Since(start) => {
                let delta = value - before.unwrap_or_default();
                (delta != 0.0).then_some((delta, start))
            }
            Step::Baseline => None,
        };
        self.remember(series, Last::Number(value));
        sent
    }

    /// A histogram as it is sent.
    pub(super) fn histogram<'h>(
        &mut self,
        series: u64,
        source: Source,
        time: u64,
        created: Option<f64>,
        histogram: &'h Histogram,
    ) -> Option<(Cow<'h, Histogram>, u64)> {
        let count = histogram.count();
        let since = match self.temporality {
            Temporality::Cumulative => None,
            Temporality::Delta => {
                self.streams.get(&series).and_then(|stream| stream.last.until(histogram))
            }
        };
        let step = self.step(series, source, time, created, count);
        let last = match (&self.temporality, &histogram.native) {
            (Temporality::Cumulative, _) => Last::Number(count),
            (Temporality::Delta, Some(native)) => Last::Native {
                sum: histogram.sum.unwrap_or_default(),
                count,
                native: Box::new(native.clone()),
            },
            (Temporality::Delta, None) => Last::Classic {
                sum: histogram.sum.unwrap_or_default(),
                count,
                buckets: histogram.buckets.as_slice().into(),
            },
        };
        self.remember(series, last);
        match step {
            Step::Baseline => None,
            Step::Whole(start) => Some((Cow::Borrowed(histogram), start)),
            Step::Since(start) => match since {
                Some(since) if since.count() == 0.0 => None,
                Some(since) => Some((Cow::Owned(since), start)),
                // Its buckets say that it began anew, though it counts more by now.
                None => Some((Cow::Borrowed(histogram), start)),
            },
        }
    }

    /// Since when a summary counts; it is always told as a whole.
    pub(super) fn summary(
        &mut self,
        series: u64,
        source: Source,
        time: u64,
        created: Option<f64>,
        count: f64,
    ) -> u64 {
        let step = self.step(series, source, time, created, count);
        self.remember(series, Last::Number(count));
        match step {
            Step::Whole(start) => start,
            Step::Since(_) | Step::Baseline => {
                self.streams.get(&series).map_or(time, |stream| stream.start)
            }
        }
    }

    /// Forgets series and sources that have not come for long.
    pub(super) fn next_collection(&mut self) {
        let now = self.collection;
        self.streams.retain(|_, stream| now.wrapping_sub(stream.seen) < KEEP);
        self.sources.retain(|_, heard| now.wrapping_sub(heard.seen) < KEEP);
        if self.streams.capacity() / 4 > self.streams.len() {
            self.streams.shrink_to_fit();
        }
        self.collection = now.wrapping_add(1);
    }

    /// How a point is sent of which so much was counted, and that the series is there.
    fn step(
        &mut self,
        series: u64,
        source: Source,
        time: u64,
        created: Option<f64>,
        count: f64,
    ) -> Step {
        let heard = self.hear(source.id, time);
        let created = created.map(nanoseconds);
        let is_delta = self.temporality == Temporality::Delta;
        let is_full = self.streams.len() >= MAX_STREAMS;
        if let Some(stream) = self.streams.get_mut(&series) {
            stream.seen = self.collection;
            let before = std::mem::replace(&mut stream.time, time);
            let began_anew = count < stream.last.count()
                || created.is_some_and(|created| created > before && created <= time);
            if began_anew {
                stream.start = created.or(source.start).unwrap_or_default().max(before);
                return Step::Whole(stream.start);
            }
            return if is_delta { Step::Since(before) } else { Step::Whole(stream.start) };
        }
        // It is new, and its source is not: it counts since the source was last looked at.
        let start = created.or(source.start.max(heard)).filter(|start| *start <= time);
        if is_full {
            return if is_delta { Step::Baseline } else { Step::Whole(time) };
        }
        let stream = Stream {
            start: start.unwrap_or(time),
            time,
            seen: self.collection,
            last: Last::Number(count),
        };
        self.streams.insert(series, stream);
        match start {
            None if is_delta => Step::Baseline,
            // Of an application that counted before it was first looked at.
            Some(start)
                if is_delta && source.start.is_none() && heard.is_none() && start < time =>
            {
                Step::Baseline
            }
            start => Step::Whole(start.unwrap_or(time)),
        }
    }

    fn remember(&mut self, series: u64, last: Last) {
        if let Some(stream) = self.streams.get_mut(&series) {
            stream.last = last;
        }
    }

    /// When the source was heard in the collection before this one.
    fn hear(&mut self, source: u64, time: u64) -> Option<u64> {
        let is_full = self.sources.len() >= MAX_SOURCES;
        match self.sources.get_mut(&source) {
            Some(heard) if heard.seen == self.collection => heard.before,
            Some(heard) => {
                heard.before = Some(std::mem::replace(&mut heard.now, time));
                heard.seen = self.collection;
                heard.before
            }
            None if is_full => None,
            None => {
                let heard = Heard { now: time, before: None, seen: self.collection };
                self.sources.insert(source, heard);
                None
            }
        }
    }
}

impl Last {
    /// What came to a histogram since; nothing if it began anew.
    fn until(&self, now: &Histogram) -> Option<Histogram> {
        match (self, &now.native) {
            (Self::Native { sum, count, native }, Some(of_now)) => Some(Histogram {
                buckets: Vec::new(),
                sum: now.sum.map(|now| now - sum),
                count: Some(now.count() - count),
                native: Some(native::since(of_now, native)?),
            }),
            (Self::Classic { sum, count, buckets }, None) => {
                let same = now.buckets.iter().map(|bucket| bucket.bound);
                if !same.eq(buckets.iter().map(|bucket| bucket.bound)) {
                    return None;
                }
                let pairs = now.buckets.iter().zip(buckets);
                let less = |(now, last): (&Bucket, &Bucket)| Bucket {
                    count: now.count - last.count,
                    ..*now
                };
                let buckets: Vec<Bucket> = pairs.map(less).collect();
                if buckets.iter().any(|bucket| bucket.count < 0.0) {
                    return None;
                }
                Some(Histogram {
                    buckets,
                    sum: now.sum.map(|now| now - sum),
                    count: Some(now.count() - count),
                    native: None,
                })
            }
            _ => None,
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times are of our age")]
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

//! Series that were too many, added up to one.

use std::collections::HashMap;

use super::KEEP;
use crate::{Bucket, Histogram, Summary, Value};

/// The sum of points of one family.
#[derive(Debug, Default)]
pub(super) struct Overflow {
    form: Form,
    /// The number; or sum, count, and then the buckets.
    parts: Vec<f64>,
    /// Of the buckets.
    bounds: Vec<f64>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Form {
    #[default]
    Number,
    Histogram,
    Summary,
}

impl Overflow {
    /// Adds a point. Quantiles and native buckets cannot be added up; nor can buckets with other bounds than
    /// those of the first.
    pub(super) fn add(&mut self, value: Value<'_>) {
        let is_first = self.parts.is_empty();
        match value {
            Value::Number(number) => self.add_parts([number]),
            Value::Histogram(histogram) => {
                self.form = Form::Histogram;
                let bounds = histogram.buckets.iter().map(|bucket| bucket.bound);
                if is_first {
                    self.bounds.extend(bounds);
                } else if !bounds.eq(self.bounds.iter().copied()) {
                    return;
                }
                let buckets = histogram.buckets.iter().map(|bucket| bucket.count);
                let parts = [histogram.sum.unwrap_or_default(), histogram.count()];
                self.add_parts(parts.into_iter().chain(buckets));
            }
            Value::Summary(summary) => {
                self.form = Form::Summary;
                let parts = [summary.sum, summary.count];
                self.add_parts(parts.map(Option::unwrap_or_default));
            }
        }
    }

    fn add_parts(&mut self, parts: impl IntoIterator<Item = f64>) {
        if self.parts.is_empty() {
            self.parts.extend(parts);
        } else {
            self.parts.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        }
    }

    pub(super) fn with_value(&self, tell: impl FnOnce(Value<'_>)) {
        let mut parts = self.parts.iter().copied();
        let mut next = || parts.next();
        match self.form {
            Form::Number => tell(Value::Number(next().unwrap_or_default())),
            Form::Summary => {
                let (sum, count) = (next(), next());
                tell(Value::Summary(&Summary { quantiles: Vec::new(), sum, count }));
            }
            Form::Histogram => {
                let (sum, count) = (next(), next());
                let buckets = self.bounds.iter().zip(parts);
                let buckets = buckets.map(|(&bound, count)| Bucket { bound, count });
                let buckets = buckets.collect();
                tell(Value::Histogram(&Histogram { buckets, sum, count, native: None }));
            }
        }
    }
}

/// What is remembered so that sums of what only grows only grow, although series come and go.
#[derive(Debug, Default)]
pub(super) struct Folded {
    collection: u32,
    families: HashMap<u64, Remembered>,
}

#[derive(Debug)]
struct Remembered {
    seen: u32,
    /// What was counted by series that are gone.
    gone: Vec<f64>,
    /// What those counted last that are there.
    last: Vec<f64>,
}

impl Folded {
    /// Adds what series counted that are gone.
    pub(super) fn keep_growing(&mut self, family: u64, overflow: &mut Overflow) {
        let parts = &mut overflow.parts;
        let known = self.families.entry(family).or_insert_with(|| Remembered {
            seen: 0,
            gone: vec![0.0; parts.len()],
            last: vec![0.0; parts.len()],
        });
        known.seen = self.collection;
        if known.last.len() != parts.len() {
            known.gone = vec![0.0; parts.len()];
            known.last = vec![0.0; parts.len()];
        }
        // What is less is what series counted that are gone, or begin anew.
        let before = known.gone.iter_mut().zip(&known.last).zip(&*parts);
        before.for_each(|((gone, last), now)| *gone += (last - now).max(0.0));
        known.last.clone_from(parts);
        parts.iter_mut().zip(&known.gone).for_each(|(part, gone)| *part += gone);
    }

    /// Forgets families without overflow.
    pub(super) fn next_collection(&mut self) {
        let now = self.collection;
        self.families.retain(|_, known| now.wrapping_sub(known.seen) < KEEP);
        self.collection = now.wrapping_add(1);
    }
}

//! Emission: the series of one process, and how they are written out.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Atomic, AtomicF64, AtomicU64, Collector, GenericCounter, GenericGauge};
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, Opts, TextEncoder};

use crate::kuma::Alias;
use crate::{Kind, Metric};

/// The media type of [`Registry::encode`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Series that one metric may have. What comes after shares one series, whose labels are all
/// [`FOLDED`].
pub const MAX_SERIES: usize = 4096;

/// Label value of the series that values beyond [`MAX_SERIES`] share.
pub const FOLDED: &str = "__other__";

/// A counter of whole things.
pub type Counter = GenericCounter<AtomicU64>;
/// A counter of seconds.
pub type SecondsCounter = GenericCounter<AtomicF64>;
/// A value that goes up and down.
pub type Gauge = GenericGauge<AtomicF64>;
/// Observations by size.
pub use prometheus::Histogram;

/// The metrics that one process (or one part of it) emits. Clones are the same registry.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    constant: BTreeMap<String, String>,
    prometheus: prometheus::Registry,
    counters: Families<Counter>,
    seconds: Families<SecondsCounter>,
    gauges: Families<Gauge>,
    histograms: Families<Histogram>,
}

type Families<S> = Mutex<BTreeMap<&'static str, Family<S>>>;

impl Registry {
    /// A registry whose every series carries `constant` labels (name, value).
    pub fn new(constant: &[(&str, &str)]) -> Self {
        let constant =
            constant.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self {
            inner: Arc::new(Inner {
                constant: constant.collect(),
                prometheus: prometheus::Registry::new(),
                counters: Families::default(),
                seconds: Families::default(),
                gauges: Families::default(),
                histograms: Families::default(),
            }),
        }
    }

    /// The series of a counter. Asking again gives the same ones.
    pub fn counter(&self, metric: &Metric) -> Family<Counter> {
        self.family(&self.inner.counters, metric)
    }

    /// The series of a counter that counts seconds.
    pub fn seconds_counter(&self, metric: &Metric) -> Family<SecondsCounter> {
        self.family(&self.inner.seconds, metric)
    }

    /// The series of a gauge.
    pub fn gauge(&self, metric: &Metric) -> Family<Gauge> {
        self.family(&self.inner.gauges, metric)
    }

    /// The series of a histogram.
    pub fn histogram(&self, metric: &Metric) -> Family<Histogram> {
        self.family(&self.inner.histograms, metric)
    }

    /// All series in Prometheus text format 0.0.4, sorted by name and labels.
    pub fn encode(&self) -> String {
        self.encode_with(&[])
    }

    /// The same with other names of some metrics beside them.
    pub fn encode_with(&self, aliases: &[Alias]) -> String {
        let mut families = self.inner.prometheus.gather();
        for alias in aliases {
            let at = families.iter().position(|family| family.name() == alias.of.name);
            let named = at.and_then(|at| families.get(at)).map(|family| renamed(family, alias));
            families.extend(named);
        }
        if !aliases.is_empty() {
            families.sort_by(|a, b| a.name().cmp(b.name()));
        }
        TextEncoder::new()
            .encode_to_string(&families)
            .unwrap_or_else(|error| format!("# {error}\n"))
    }

    fn family<S: Series>(&self, families: &Families<S>, metric: &Metric) -> Family<S> {
        let mut families = families.lock().unwrap_or_else(PoisonError::into_inner);
        let family = families.entry(metric.name).or_insert_with(|| Family {
            metric: *metric,
            constant: self.inner.constant.clone(),
            prometheus: self.inner.prometheus.clone(),
            series: Arc::default(),
        });
        if metric.labels.is_empty() {
            family.with(&[]);
        }
        family.clone()
    }
}

/// A family under another name, in another unit.
fn renamed(family: &MetricFamily, alias: &Alias) -> MetricFamily {
    let mut renamed = family.clone();
    renamed.set_name(alias.name.to_owned());
    if alias.of.kind == Kind::Histogram {
        for metric in renamed.mut_metric() {
            let mut histogram = metric.get_histogram().clone();
            histogram.set_sample_sum(histogram.get_sample_sum() * alias.scale);
            let mut buckets = histogram.get_bucket().to_vec();
            for bucket in &mut buckets {
                bucket.set_upper_bound(bucket.upper_bound() * alias.scale);
            }
            histogram.set_bucket(buckets);
            metric.set_histogram(histogram);
        }
    }
    renamed
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("constant", &self.inner.constant).finish_non_exhaustive()
    }
}

/// The series of one metric, one per combination of label values. Clones are the same family.
///
/// A metric without labels has its series, at 0, from the moment it is asked of the registry.
/// Series with labels appear at the first [`with`](Self::with); keep what it returns on hot paths.
#[derive(Clone)]
pub struct Family<S> {
    metric: Metric,
    constant: BTreeMap<String, String>,
    prometheus: prometheus::Registry,
    series: Arc<Mutex<BTreeMap<Vec<String>, S>>>,
}

impl<S: Series> Family<S> {
    /// The series with these label values, made at 0 if new. Values are in the order of
    /// [`Metric::labels`]; a missing one counts as empty, one too many is ignored.
    pub fn with(&self, values: &[&str]) -> S {
        debug_assert_eq!(values.len(), self.metric.labels.len(), "labels of {}", self.metric.name);
        let mut key = self.key(values);
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if series.len() >= MAX_SERIES && !series.contains_key(&key) {
            key.fill(FOLDED.to_owned());
        }
        if let Some(known) = series.get(&key) {
            return known.clone();
        }
        let labels = self.metric.labels.iter().map(|name| (*name).to_owned());
        let mut labels: HashMap<String, String> = labels.zip(key.iter().cloned()).collect();
        labels.extend(self.constant.clone());
        let new = S::make(&self.metric, labels);
        // Refused only where two label sets share a 64-bit hash: then it counts, unseen.
        let registered = self.prometheus.register(Box::new(new.clone()));
        debug_assert!(registered.is_ok(), "{}: {registered:?}", self.metric.name);
        series.insert(key, new.clone());
        new
    }

    /// Forgets a series, for example of a backend that is gone.
    pub fn remove(&self, values: &[&str]) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gone) = series.remove(&self.key(values)) {
            let unregistered = self.prometheus.unregister(Box::new(gone));
            debug_assert!(unregistered.is_ok(), "{}: {unregistered:?}", self.metric.name);
        }
    }

    fn key(&self, values: &[&str]) -> Vec<String> {
        let value = |at: usize| values.get(at).copied().unwrap_or_default().to_owned();
        (0..self.metric.labels.len()).map(value).collect()
    }
}

impl<S> fmt::Debug for Family<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("metric", &self.metric.name).finish_non_exhaustive()
    }
}

/// One kind of series; [`Counter`], [`SecondsCounter`], [`Gauge`] and [`Histogram`] are.
pub trait Series: Collector + Clone + sealed::Make + 'static {}

impl<S: Collector + Clone + sealed::Make + 'static> Series for S {}

mod sealed {
    use super::{
        Atomic, GenericCounter, GenericGauge, HashMap, Histogram, HistogramOpts, Metric, Opts,
    };

    const VALID: &str = "names, labels and buckets of the catalogue are valid";

    pub trait Make {
        fn make(metric: &Metric, labels: HashMap<String, String>) -> Self;
    }

    impl<A: Atomic> Make for GenericCounter<A> {
        fn make(metric: &Metric, labels: HashMap<String, String>) -> Self {
            Self::with_opts(Opts::new(metric.name, metric.help).const_labels(labels)).expect(VALID)
        }
    }

    impl<A: Atomic> Make for GenericGauge<A> {
        fn make(metric: &Metric, labels: HashMap<String, String>) -> Self {
            Self::with_opts(Opts::new(metric.name, metric.help).const_labels(labels)).expect(VALID)
        }
    }

    impl Make for Histogram {
        fn make(metric: &Metric, labels: HashMap<String, String>) -> Self {
            let options = HistogramOpts::new(metric.name, metric.help).const_labels(labels);
            Self::with_opts(options.buckets(metric.buckets.to_vec())).expect(VALID)
        }
    }
}

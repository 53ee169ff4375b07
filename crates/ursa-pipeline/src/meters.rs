//! The metrics of one backend and signal ([`ursa_metrics::pipeline`]).

use std::time::Duration;

use ursa_metrics::{Counter, Family, Gauge, Histogram, Registry, pipeline};

use crate::Signal;
use crate::export::Reason;
use crate::queue::Waiting;

/// Why items were lost for good: the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loss {
    /// There was no room, and another backend took them.
    QueueFull,
    /// The pipeline stopped, or the backend was removed, before they could be sent.
    Expired,
    /// The retry policy's attempts were used up.
    RetryExhausted,
    /// The backend will not have them.
    Rejected,
}

impl Loss {
    pub(crate) const ALL: [Self; 4] =
        [Self::QueueFull, Self::Expired, Self::RetryExhausted, Self::Rejected];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Expired => "expired",
            Self::RetryExhausted => "retry_exhausted",
            Self::Rejected => "rejected",
        }
    }
}

/// Every metric that a pipeline's backends share.
#[derive(Debug, Clone)]
pub(crate) struct Families {
    enqueued: Family<Counter>,
    sent: Family<Counter>,
    sent_bytes: Family<Counter>,
    failed: Family<Counter>,
    dropped: Family<Counter>,
    requests: Family<Counter>,
    seconds: Family<Histogram>,
    retries: Family<Counter>,
    queue_items: Family<Gauge>,
    queue_bytes: Family<Gauge>,
    queue_capacity: Family<Gauge>,
    queue_oldest: Family<Gauge>,
    up: Family<Gauge>,
}

impl Families {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            enqueued: registry.counter(&pipeline::ENQUEUED_ITEMS),
            sent: registry.counter(&pipeline::SENT_ITEMS),
            sent_bytes: registry.counter(&pipeline::SENT_BYTES),
            failed: registry.counter(&pipeline::SEND_FAILED_ITEMS),
            dropped: registry.counter(&pipeline::DROPPED_ITEMS),
            requests: registry.counter(&pipeline::REQUESTS),
            seconds: registry.histogram(&pipeline::REQUEST_SECONDS),
            retries: registry.counter(&pipeline::RETRIES),
            queue_items: registry.gauge(&pipeline::QUEUE_ITEMS),
            queue_bytes: registry.gauge(&pipeline::QUEUE_BYTES),
            queue_capacity: registry.gauge(&pipeline::QUEUE_CAPACITY_BYTES),
            queue_oldest: registry.gauge(&pipeline::QUEUE_OLDEST_SECONDS),
            up: registry.gauge(&pipeline::EXPORTER_UP),
        }
    }
}

/// The metrics of one backend and signal.
#[derive(Debug)]
pub(crate) struct Meters {
    families: Families,
    signal: &'static str,
    backend: String,
    enqueued: Counter,
    queue_items: Gauge,
    queue_bytes: Gauge,
    queue_capacity: Gauge,
    queue_oldest: Gauge,
    up: Gauge,
}

impl Meters {
    /// With gauges at their start and `up` at 1: nothing has failed yet.
    pub(crate) fn new(families: &Families, signal: Signal, backend: &str) -> Self {
        let labels = [signal.name(), backend];
        let meters = Self {
            enqueued: families.enqueued.with(&labels),
            queue_items: families.queue_items.with(&labels),
            queue_bytes: families.queue_bytes.with(&labels),
            queue_capacity: families.queue_capacity.with(&labels),
            queue_oldest: families.queue_oldest.with(&labels),
            up: families.up.with(&labels),
            families: families.clone(),
            signal: signal.name(),
            backend: backend.to_owned(),
        };
        meters.up(true);
        meters
    }

    /// Shows the counters of a protocol at 0 before anything is counted.
    pub(crate) fn announce(&self, protocol: &str) {
        let labels = self.labels(protocol);
        let (families, counters) = (&self.families, [labels[0], labels[1], labels[2]]);
        for family in [&families.sent, &families.sent_bytes, &families.retries] {
            family.with(&counters);
        }
        for loss in Loss::ALL {
            families.dropped.with(&self.with_reason(protocol, loss.name()));
        }
        for reason in Reason::ALL {
            families.failed.with(&self.with_reason(protocol, reason.name()));
        }
    }

    pub(crate) fn enqueued(&self, items: usize) {
        self.enqueued.inc_by(items as u64);
    }

    pub(crate) fn sent(&self, protocol: &str, items: usize, bytes: usize) {
        self.families.sent.with(&self.labels(protocol)).inc_by(items as u64);
        self.families.sent_bytes.with(&self.labels(protocol)).inc_by(bytes as u64);
    }

    pub(crate) fn failed(&self, protocol: &str, reason: Reason, items: usize) {
        let labels = self.with_reason(protocol, reason.name());
        self.families.failed.with(&labels).inc_by(items as u64);
    }

    pub(crate) fn dropped(&self, protocol: &str, loss: Loss, items: usize) {
        let labels = self.with_reason(protocol, loss.name());
        self.families.dropped.with(&labels).inc_by(items as u64);
    }

    pub(crate) fn request(&self, protocol: &str, code: &str, took: Duration) {
        self.families.requests.with(&self.with_reason(protocol, code)).inc();
        self.families.seconds.with(&self.labels(protocol)).observe(took.as_secs_f64());
    }

    pub(crate) fn retry(&self, protocol: &str) {
        self.families.retries.with(&self.labels(protocol)).inc();
    }

    pub(crate) fn queue(&self, waiting: &Waiting) {
        self.queue_items.set(waiting.items as f64);
        self.queue_bytes.set(waiting.bytes as f64);
        self.queue_capacity.set(waiting.capacity as f64);
        self.queue_oldest.set(waiting.oldest.unwrap_or_default().as_secs_f64());
    }

    pub(crate) fn up(&self, up: bool) {
        self.up.set(f64::from(u8::from(up)));
    }

    /// Forgets the gauges of a backend that is gone. Counters stay.
    pub(crate) fn forget(&self) {
        let labels = [self.signal, self.backend.as_str()];
        let families = &self.families;
        for family in [
            &families.queue_items,
            &families.queue_bytes,
            &families.queue_capacity,
            &families.queue_oldest,
            &families.up,
        ] {
            family.remove(&labels);
        }
    }

    fn labels<'a>(&'a self, protocol: &'a str) -> [&'a str; 3] {
        [self.signal, &self.backend, protocol]
    }

    fn with_reason<'a>(&'a self, protocol: &'a str, last: &'a str) -> [&'a str; 4] {
        [self.signal, &self.backend, protocol, last]
    }
}

//! The metrics of one backend and signal ([`ursa_metrics::pipeline`]).
//!
//! What the ledger counts is shown from its statements, never counted a second time: so the metrics
//! balance as the ledger does. It is shown after each batch and once a second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ursa_metrics::{Counter, Family, Gauge, Histogram, Registry, pipeline};

use crate::Signal;
use crate::export::Reason;
use crate::ledger::{Loss, Statement};

/// Every metric that a pipeline's backends share.
#[derive(Debug, Clone)]
pub(crate) struct Families {
    enqueued: Family<Counter>,
    recovered: Family<Counter>,
    filtered: Family<Counter>,
    merged: Family<Counter>,
    sent: Family<Counter>,
    sent_bytes: Family<Counter>,
    failed: Family<Counter>,
    dropped: Family<Counter>,
    requests: Family<Counter>,
    seconds: Family<Histogram>,
    retries: Family<Counter>,
    gauges: [Family<Gauge>; 8],
}

impl Families {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            enqueued: registry.counter(&pipeline::ENQUEUED_ITEMS),
            recovered: registry.counter(&pipeline::RECOVERED_ITEMS),
            filtered: registry.counter(&pipeline::FILTERED_ITEMS),
            merged: registry.counter(&pipeline::MERGED_ITEMS),
            sent: registry.counter(&pipeline::SENT_ITEMS),
            sent_bytes: registry.counter(&pipeline::SENT_BYTES),
            failed: registry.counter(&pipeline::SEND_FAILED_ITEMS),
            dropped: registry.counter(&pipeline::DROPPED_ITEMS),
            requests: registry.counter(&pipeline::REQUESTS),
            seconds: registry.histogram(&pipeline::REQUEST_SECONDS),
            retries: registry.counter(&pipeline::RETRIES),
            gauges: [
                &pipeline::QUEUE_ITEMS,
                &pipeline::QUEUE_BYTES,
                &pipeline::QUEUE_CAPACITY_BYTES,
                &pipeline::QUEUE_OLDEST_SECONDS,
                &pipeline::IN_FLIGHT_ITEMS,
                &pipeline::UNACCOUNTED_ITEMS,
                &pipeline::EXPORTER_UP,
                &pipeline::CIRCUIT_OPEN,
            ]
            .map(|metric| registry.gauge(metric)),
        }
    }
}

/// The metrics of one backend and signal.
#[derive(Debug)]
pub(crate) struct Meters {
    families: Families,
    signal: &'static str,
    backend: Arc<str>,
    enqueued: Counter,
    recovered: Counter,
    merged: Counter,
    queue_items: Gauge,
    queue_bytes: Gauge,
    queue_capacity: Gauge,
    queue_oldest: Gauge,
    in_flight: Gauge,
    unaccounted: Gauge,
    up: Gauge,
    circuit_open: Gauge,
    shown: Mutex<Shown>,
}

/// Counts of the last statement that was shown.
#[derive(Debug, Default)]
struct Shown {
    enqueued: u64,
    recovered: u64,
    merged: u64,
    delivered: u64,
    dropped: BTreeMap<String, u64>,
    filtered: BTreeMap<String, u64>,
}

/// The metrics of one backend and signal that carry what is spoken to it.
#[derive(Debug)]
pub(crate) struct ProtocolMeters {
    families: Families,
    labels: [Arc<str>; 3],
    sent: Counter,
    sent_bytes: Counter,
    retries: Counter,
    seconds: Histogram,
    dropped: [Counter; Loss::ALL.len()],
    failed: [Counter; Reason::ALL.len()],
    /// Requests that succeeded, which have one code.
    succeeded: Counter,
}

impl Meters {
    /// With gauges at their start and `up` at 1: nothing has failed yet. Of what is found on disk so
    /// many items were counted before, by this process.
    pub(crate) fn new(
        families: &Families,
        signal: Signal,
        backend: &Arc<str>,
        counted: u64,
    ) -> Self {
        let labels = [signal.name(), backend];
        let gauges = families.gauges.each_ref().map(|family| family.with(&labels));
        let [
            queue_items,
            queue_bytes,
            queue_capacity,
            queue_oldest,
            in_flight,
            unaccounted,
            up,
            circuit_open,
        ] = gauges;
        up.set(1.0);
        Self {
            enqueued: families.enqueued.with(&labels),
            recovered: families.recovered.with(&labels),
            merged: families.merged.with(&labels),
            queue_items,
            queue_bytes,
            queue_capacity,
            queue_oldest,
            in_flight,
            unaccounted,
            up,
            circuit_open,
            shown: Mutex::new(Shown { recovered: counted, ..Shown::default() }),
            families: families.clone(),
            signal: signal.name(),
            backend: Arc::clone(backend),
        }
    }

    /// Those of a protocol, at 0 before anything is counted.
    pub(crate) fn of_protocol(&self, protocol: &'static str) -> ProtocolMeters {
        let families = &self.families;
        let labels = [self.signal, &*self.backend, protocol];
        let reason = |reason: &'static str| [self.signal, &*self.backend, protocol, reason];
        let code = if protocol == "grpc" { "0" } else { "200" };
        ProtocolMeters {
            sent: families.sent.with(&labels),
            sent_bytes: families.sent_bytes.with(&labels),
            retries: families.retries.with(&labels),
            seconds: families.seconds.with(&labels),
            dropped: Loss::ALL.map(|loss| families.dropped.with(&reason(loss.name()))),
            failed: Reason::ALL.map(|why| families.failed.with(&reason(why.name()))),
            succeeded: families.requests.with(&reason(code)),
            labels: labels.map(Into::into),
            families: families.clone(),
        }
    }

    /// Shows what the ledger and the queue say.
    pub(crate) fn show(&self, statement: &Statement, protocol: &ProtocolMeters) {
        let Statement { counts, total, .. } = statement;
        self.queue_items.set((counts.waiting_items + counts.in_flight_items) as f64);
        self.queue_bytes.set(counts.stored_bytes as f64);
        self.queue_capacity.set(counts.capacity as f64);
        self.queue_oldest.set(counts.oldest.unwrap_or_default().as_secs_f64());
        self.in_flight.set(total.in_flight as f64);
        self.unaccounted.set(total.difference as f64);
        let filtered: u64 = total.filtered.values().sum();
        let enqueued = total.received.saturating_sub(total.recovered + filtered + total.merged);
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have shown a later statement meanwhile; then there is nothing to add.
        let more = |counter: &Counter, shown: &mut u64, now: u64| {
            if now > *shown {
                counter.inc_by(now - *shown);
                *shown = now;
            }
        };
        more(&self.enqueued, &mut shown.enqueued, enqueued);
        more(&self.recovered, &mut shown.recovered, total.recovered);
        more(&self.merged, &mut shown.merged, total.merged);
        more(&protocol.sent, &mut shown.delivered, total.delivered);
        for (loss, counter) in Loss::ALL.into_iter().zip(&protocol.dropped) {
            if let Some(lost) = total.dropped.get(loss.name()) {
                more(counter, shown.dropped.entry(loss.name().to_owned()).or_default(), *lost);
            }
        }
        for (rule, items) in &total.filtered {
            let before = shown.filtered.entry(rule.clone()).or_default();
            if items > before {
                let family = &self.families.filtered;
                more(&family.with(&[self.signal, &self.backend, rule]), before, *items);
            }
        }
    }

    pub(crate) fn up(&self, up: bool) {
        self.up.set(f64::from(u8::from(up)));
    }

    pub(crate) fn circuit_open(&self, open: bool) {
        self.circuit_open.set(f64::from(u8::from(open)));
    }

    /// Forgets the gauges of a backend that is gone. Counters stay.
    pub(crate) fn forget(&self) {
        for family in &self.families.gauges {
            family.remove(&[self.signal, &*self.backend]);
        }
    }
}

impl ProtocolMeters {
    pub(crate) fn sent_bytes(&self, bytes: usize) {
        self.sent_bytes.inc_by(bytes as u64);
    }

    pub(crate) fn failed(&self, reason: Reason, items: usize) {
        let at = Reason::ALL.iter().position(|known| *known == reason);
        if let Some(counter) = at.and_then(|at| self.failed.get(at)) {
            counter.inc_by(items as u64);
        }
    }

    /// An attempt that succeeded.
    pub(crate) fn succeeded(&self, took: Duration) {
        self.succeeded.inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// An attempt that failed with that code.
    pub(crate) fn answered(&self, code: &str, took: Duration) {
        let [signal, backend, protocol] = &self.labels;
        self.families.requests.with(&[signal, backend, protocol, code]).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn retry(&self) {
        self.retries.inc();
    }
}

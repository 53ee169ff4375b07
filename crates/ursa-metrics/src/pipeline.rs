//! What a telemetry pipeline emits. An agent's registry carries `mesh`, `zone`, `dataplane`. The
//! control plane, which only receives, has the metrics of [`RECEIVERS`].
//!
//! They obey conservation at every quiet moment. Per signal, accepted = enqueued + filtered + merged,
//! for each backend; per backend, enqueued + recovered = sent + dropped + queued. An item is counted in
//! `sent` or `dropped` once, at its final outcome; `send_failed` counts attempts.

use crate::Metric;

/// Items taken. `signal` is `traces`, `metrics` or `logs`.
pub const ACCEPTED_ITEMS: Metric = Metric::counter(
    "ursa_pipeline_accepted_items_total",
    &["signal", "receiver"],
    "Items taken by a receiver.",
);
/// Items turned away; the sender keeps them.
pub const REFUSED_ITEMS: Metric = Metric::counter(
    "ursa_pipeline_refused_items_total",
    &["signal", "receiver"],
    "Items that a receiver turned away.",
);
/// What the processors let through, per backend.
pub const ENQUEUED_ITEMS: Metric = Metric::counter(
    "ursa_pipeline_enqueued_items_total",
    &["signal", "backend"],
    "Items put into a backend's queue.",
);
/// Found on disk: taken by an earlier process.
pub const RECOVERED_ITEMS: Metric = Metric::counter(
    "ursa_pipeline_recovered_items_total",
    &["signal", "backend"],
    "Items found in the backend's queue on disk that an earlier process took.",
);
/// What the processors took out, per backend. `rule` is the filter's name.
pub const FILTERED_ITEMS: Metric = Metric::counter(
    "ursa_pipeline_filtered_items_total",
    &["signal", "backend", "rule"],
    "Items that a filter took out.",
);
/// What the processors made part of other items, per backend.
pub const MERGED_ITEMS: Metric = Metric::counter(
    "ursa_pipeline_merged_items_total",
    &["signal", "backend"],
    "Items that became part of others.",
);
/// Items acknowledged by the backend.
pub const SENT_ITEMS: Metric = Metric::counter(
    "ursa_pipeline_sent_items_total",
    &["signal", "backend", "protocol"],
    "Items acknowledged by the backend.",
);
/// Bytes acknowledged by the backend, before compression.
pub const SENT_BYTES: Metric = Metric::counter(
    "ursa_pipeline_sent_bytes_total",
    &["signal", "backend", "protocol"],
    "Bytes acknowledged by the backend, before compression.",
);
/// Items of failed attempts, retried or not. `reason` is `timeout`, `unavailable`, `unauthorized`,
/// `rejected`, `tls` or `too_large`.
pub const SEND_FAILED_ITEMS: Metric = Metric::counter(
    "ursa_pipeline_send_failed_items_total",
    &["signal", "backend", "protocol", "reason"],
    "Items of failed attempts, retried or not.",
);
/// Items lost for good. `reason` is `queue_full`, `expired`, `retry_exhausted`, `rejected` or `disk`.
pub const DROPPED_ITEMS: Metric = Metric::counter(
    "ursa_pipeline_dropped_items_total",
    &["signal", "backend", "protocol", "reason"],
    "Items lost for good.",
);
/// Attempts. `code` is the HTTP status or the gRPC code's number; empty without an answer.
pub const REQUESTS: Metric = Metric::counter(
    "ursa_pipeline_requests_total",
    &["signal", "backend", "protocol", "code"],
    "Attempts to send to the backend.",
);
/// How long attempts took.
pub const REQUEST_SECONDS: Metric = Metric::seconds(
    "ursa_pipeline_request_duration_seconds",
    &["signal", "backend", "protocol"],
    "Time that attempts to send to the backend took.",
);
/// Attempts after the first.
pub const RETRIES: Metric = Metric::counter(
    "ursa_pipeline_retries_total",
    &["signal", "backend", "protocol"],
    "Attempts to send again.",
);
/// Items waiting.
pub const QUEUE_ITEMS: Metric = Metric::gauge(
    "ursa_pipeline_queue_items",
    &["signal", "backend"],
    "Items waiting in the backend's queue.",
);
/// Bytes waiting.
pub const QUEUE_BYTES: Metric = Metric::gauge(
    "ursa_pipeline_queue_bytes",
    &["signal", "backend"],
    "Bytes waiting in the backend's queue.",
);
/// Bytes that may wait.
pub const QUEUE_CAPACITY_BYTES: Metric = Metric::gauge(
    "ursa_pipeline_queue_capacity_bytes",
    &["signal", "backend"],
    "Bytes that may wait in the backend's queue.",
);
/// Age of the item that waits longest; 0 when none does.
pub const QUEUE_OLDEST_SECONDS: Metric = Metric::gauge(
    "ursa_pipeline_queue_oldest_seconds",
    &["signal", "backend"],
    "Age of the item that waits longest in the backend's queue.",
);
/// Items being sent. They are queued, too.
pub const IN_FLIGHT_ITEMS: Metric = Metric::gauge(
    "ursa_pipeline_in_flight_items",
    &["signal", "backend"],
    "Items being sent to the backend.",
);
/// What the ledger cannot account for. Anything but 0 is a defect.
pub const UNACCOUNTED_ITEMS: Metric = Metric::gauge(
    "ursa_pipeline_unaccounted_items",
    &["signal", "backend"],
    "Items received less those delivered, queued, dropped, filtered and merged; always 0.",
);
/// 1 while the backend is left alone, and while one request tries whether it is back.
pub const CIRCUIT_OPEN: Metric = Metric::gauge(
    "ursa_pipeline_circuit_open",
    &["signal", "backend"],
    "1 while the backend's circuit breaker is not closed.",
);
/// 1 when the last request succeeded.
pub const EXPORTER_UP: Metric = Metric::gauge(
    "ursa_pipeline_exporter_up",
    &["signal", "backend"],
    "1 when the last request to the backend succeeded.",
);

/// What receivers emit.
pub const RECEIVERS: &[&Metric] = &[&ACCEPTED_ITEMS, &REFUSED_ITEMS, &MENDED_TEXTS];

/// What is emitted for backends.
pub const BACKENDS: &[&Metric] = &[
    &ENQUEUED_ITEMS,
    &SENT_ITEMS,
    &SENT_BYTES,
    &SEND_FAILED_ITEMS,
    &DROPPED_ITEMS,
    &REQUESTS,
    &REQUEST_SECONDS,
    &RETRIES,
    &QUEUE_ITEMS,
    &QUEUE_BYTES,
    &QUEUE_CAPACITY_BYTES,
    &QUEUE_OLDEST_SECONDS,
    &EXPORTER_UP,
    &RECOVERED_ITEMS,
    &MERGED_ITEMS,
    &IN_FLIGHT_ITEMS,
    &UNACCOUNTED_ITEMS,
    &CIRCUIT_OPEN,
];

/// Requests with texts that were not UTF-8; each byte that is no character became `?`.
pub const MENDED_TEXTS: Metric = Metric::counter(
    "ursa_pipeline_mended_texts_total",
    &["receiver"],
    "Requests with texts that were not UTF-8 and were mended.",
);

/// What is emitted once a rule dropped something.
pub const RULES: &[&Metric] = &[&FILTERED_ITEMS];

/// Series that left in the last collection of metrics, by the output with the most.
pub const SERIES: Metric = Metric::gauge(
    "ursa_pipeline_series",
    &[],
    "Series that left in the last collection of metrics, by the output with the most.",
);
/// Points beyond the cardinality limit. `metric` is the family's final name.
pub const SERIES_OVERFLOW: Metric = Metric::counter(
    "ursa_pipeline_series_overflow_total",
    &["metric"],
    "Points that became part of a family's overflow series.",
);
/// `application` is its name, else where it is; `envoy` is Envoy itself.
pub const SCRAPE_FAILURES: Metric = Metric::counter(
    "ursa_pipeline_scrape_failures_total",
    &["application"],
    "Collections in which an application, or Envoy, gave no metrics, or not all.",
);
/// `application` as in [`SCRAPE_FAILURES`].
pub const SCRAPE_SECONDS: Metric = Metric::seconds(
    "ursa_pipeline_scrape_duration_seconds",
    &["application"],
    "Time that an application, or Envoy, took to give its metrics.",
);

/// What is emitted once an agent collects metrics.
pub const COLLECTION: &[&Metric] = &[&SERIES, &SERIES_OVERFLOW, &SCRAPE_FAILURES, &SCRAPE_SECONDS];

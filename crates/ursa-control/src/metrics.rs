//! What the control plane counts about itself. Names are those of [`ursa_metrics::control`].

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ursa_envoy::resources::TYPES;
use ursa_metrics::kuma::Alias;
use ursa_metrics::{Counter, Family, Gauge, Histogram, Registry, SecondsCounter, Usage, control};
use ursa_model::kind::Kinds;

use crate::grpc::Calls;
use crate::states;
use crate::telemetry::Totals;
use crate::tokens::Refused;

/// The label `protocol` of everything about ADS.
const DELTA: &str = "delta";

/// What may become of a wish for a certificate.
const CERTIFICATE_RESULTS: [&str; 4] = ["issued", "refused", "limited", "failed"];
/// What becomes of what is kept.
const CACHED: [&str; 2] = ["hit", "miss"];
/// What works besides answering.
const COMPONENTS: [&str; 3] = ["planner", "monitoring", "metrics"];

/// The control plane's own metrics.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    /// Other names that are shown beside ours.
    aliases: &'static [Alias],
    streams: Gauge,
    responses: Family<Counter>,
    response_bytes: Family<Histogram>,
    requests: Family<Counter>,
    delivery: Histogram,
    generation: Family<Histogram>,
    generation_errors: Counter,
    snapshot: Family<Histogram>,
    pub(crate) events_dropped: Counter,
    auth_failures: Family<Counter>,
    certificates: Family<Counter>,
    certificate_seconds: Family<Histogram>,
    authorities: Family<Gauge>,
    pub(crate) soonest: Family<Gauge>,
    store: Family<Histogram>,
    conflicts: Family<Counter>,
    mesh_cache: Family<Counter>,
    matching_cache: Family<Counter>,
    components: Family<Histogram>,
    pub(crate) calls: Calls,
    pub(crate) services: Family<Gauge>,
    pub(crate) compliance: Family<Gauge>,
    /// The meshes that were shown last.
    meshes: Arc<Mutex<BTreeSet<String>>>,
    pub(crate) api_seconds: Family<Histogram>,
    pub(crate) api_bytes: Family<Histogram>,
    client_versions: Family<Gauge>,
    pub(crate) stale: Gauge,
    pub(crate) envoy_resources: Family<Gauge>,
    stored: Family<Gauge>,
    window: WindowMetrics,
    process: ProcessMetrics,
    /// Held while what others count is taken over, so that nothing counts twice.
    showing: Arc<Mutex<()>>,
}

/// What is counted about the window of recent telemetry, which counts for itself.
#[derive(Debug, Clone)]
struct WindowMetrics {
    spans: Counter,
    evicted: Counter,
    traces: Gauge,
    bytes: Gauge,
    capacity: Gauge,
}

/// What this process uses, which the system counts.
#[derive(Debug, Clone)]
struct ProcessMetrics {
    cpu: SecondsCounter,
    resident: Gauge,
    virtual_memory: Gauge,
    threads: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
}

/// What making one proxy's configuration came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generation {
    /// It differs from the one before.
    Changed,
    /// It came out as before.
    Same,
}

impl Metrics {
    /// With the counters at 0 whose labels are known, so that the first failure is a change.
    pub(crate) fn new(
        instance: &str,
        zone: &str,
        kinds: &Kinds,
        aliases: &'static [Alias],
    ) -> Self {
        let registry = Registry::new(&[("instance_id", instance), ("zone", zone)]);
        registry.gauge(&control::INFO).with(&["Ursa", env!("CARGO_PKG_VERSION"), "zone"]).set(1.0);
        registry.gauge(&control::LEADER).with(&[]).set(1.0);
        let metrics = Self {
            aliases,
            streams: registry.gauge(&control::XDS_STREAMS_ACTIVE).with(&[DELTA, "v3"]),
            responses: registry.counter(&control::XDS_RESPONSES_SENT),
            response_bytes: registry.histogram(&control::XDS_RESPONSES_SENT_BYTES),
            requests: registry.counter(&control::XDS_REQUESTS_RECEIVED),
            delivery: registry.histogram(&control::XDS_DELIVERY_SECONDS).with(&[DELTA]),
            generation: registry.histogram(&control::XDS_GENERATION_SECONDS),
            generation_errors: registry.counter(&control::XDS_GENERATION_ERRORS).with(&[]),
            snapshot: registry.histogram(&control::SNAPSHOT_SECONDS),
            events_dropped: registry.counter(&control::EVENTS_DROPPED).with(&[]),
            auth_failures: registry.counter(&control::AUTH_FAILURES),
            certificates: registry.counter(&control::CERT_GENERATION),
            certificate_seconds: registry.histogram(&control::CERT_GENERATION_SECONDS),
            authorities: registry.gauge(&control::CA_EXPIRATION),
            soonest: registry.gauge(&control::CERT_EXPIRATION),
            store: registry.histogram(&control::STORE_OPERATION_SECONDS),
            conflicts: registry.counter(&control::STORE_CONFLICTS),
            mesh_cache: registry.counter(&control::MESH_CACHE),
            matching_cache: registry.counter(&control::POLICY_MATCHING_CACHE),
            components: registry.histogram(&control::COMPONENT_RUN_SECONDS),
            calls: Calls::new(&registry),
            services: registry.gauge(&control::SERVICES),
            compliance: registry.gauge(&control::COMPLIANCE_PROXIES),
            meshes: Arc::default(),
            api_seconds: registry.histogram(&control::API_REQUEST_SECONDS),
            api_bytes: registry.histogram(&control::API_RESPONSE_BYTES),
            client_versions: registry.gauge(&control::XDS_CLIENT_VERSIONS),
            stale: registry.gauge(&control::XDS_PROXIES_STALE).with(&[]),
            envoy_resources: registry.gauge(&control::XDS_SNAPSHOT_RESOURCES),
            stored: registry.gauge(&control::RESOURCES_COUNT),
            window: WindowMetrics {
                spans: registry.counter(&control::TELEMETRY_SPANS).with(&[]),
                evicted: registry.counter(&control::TELEMETRY_EVICTED_TRACES).with(&[]),
                traces: registry.gauge(&control::TELEMETRY_TRACES).with(&[]),
                bytes: registry.gauge(&control::TELEMETRY_BYTES).with(&[]),
                capacity: registry.gauge(&control::TELEMETRY_CAPACITY_BYTES).with(&[]),
            },
            process: ProcessMetrics {
                cpu: registry.seconds_counter(&control::PROCESS_CPU_SECONDS).with(&[]),
                resident: registry.gauge(&control::PROCESS_RESIDENT_MEMORY_BYTES).with(&[]),
                virtual_memory: registry.gauge(&control::PROCESS_VIRTUAL_MEMORY_BYTES).with(&[]),
                threads: registry.gauge(&control::PROCESS_THREADS).with(&[]),
                open_fds: registry.gauge(&control::PROCESS_OPEN_FDS).with(&[]),
                max_fds: registry.gauge(&control::PROCESS_MAX_FDS).with(&[]),
            },
            showing: Arc::default(),
            registry: registry.clone(),
        };
        for type_url in TYPES {
            metrics.responses.with(&[type_url, DELTA]);
            metrics.requests.with(&[type_url, DELTA, "ACK", ""]);
            metrics.requests.with(&[type_url, DELTA, "NACK", "rejected"]);
        }
        for kind in Refused::KINDS {
            metrics.auth_failures.with(&[kind]);
        }
        for kind in kinds.iter() {
            metrics.conflicts.with(&[kind.name]);
            metrics.stored.with(&[kind.name]);
        }
        for result in CACHED {
            metrics.mesh_cache.with(&[result]);
            metrics.matching_cache.with(&[result]);
        }
        for component in COMPONENTS {
            metrics.components.with(&[component]);
        }
        for proxy in ["sidecar", "gateway"] {
            for result in ["changed", "generated"] {
                metrics.generation.with(&[proxy, result]);
            }
        }
        let started = registry.gauge(&control::PROCESS_START_TIME_SECONDS).with(&[]);
        started.set(Usage::started(std::process::id()).unwrap_or_default());
        metrics
    }

    pub(crate) fn stream_opened(&self, envoy: &str) {
        self.streams.inc();
        self.client_versions.with(&[envoy]).inc();
    }

    pub(crate) fn stream_closed(&self, envoy: &str) {
        self.streams.dec();
        self.client_versions.with(&[envoy]).dec();
    }

    pub(crate) fn response_sent(&self, type_url: &str, bytes: usize) {
        self.responses.with(&[type_url, DELTA]).inc();
        self.response_bytes.with(&[type_url, DELTA]).observe(bytes as f64);
    }

    pub(crate) fn subscribed(&self, type_url: &str) {
        self.requests.with(&[type_url, DELTA, "", ""]).inc();
    }

    pub(crate) fn acknowledged(&self, type_url: &str, after: Duration) {
        self.requests.with(&[type_url, DELTA, "ACK", ""]).inc();
        self.delivery.observe(after.as_secs_f64());
    }

    pub(crate) fn refused(&self, type_url: &str) {
        self.requests.with(&[type_url, DELTA, "NACK", "rejected"]).inc();
    }

    pub(crate) fn generated(&self, gateway: bool, what: Generation, took: Duration) {
        let proxy = if gateway { "gateway" } else { "sidecar" };
        let result = match what {
            Generation::Changed => "changed",
            Generation::Same => "generated",
        };
        self.generation.with(&[proxy, result]).observe(took.as_secs_f64());
    }

    pub(crate) fn generation_failed(&self) {
        self.generation_errors.inc();
    }

    pub(crate) fn snapshot_made(&self, mesh: &str, took: Duration) {
        self.mesh_cache.with(&["miss"]).inc();
        self.snapshot.with(&[mesh]).observe(took.as_secs_f64());
    }

    /// So many meshes were left as they were by a change.
    pub(crate) fn snapshots_kept(&self, meshes: usize) {
        self.mesh_cache.with(&["hit"]).inc_by(meshes as u64);
    }

    /// A change of its mesh was held against a connected proxy.
    pub(crate) fn matched(&self, touched: bool) {
        let [hit, miss] = CACHED;
        self.matching_cache.with(&[if touched { miss } else { hit }]).inc();
    }

    pub(crate) fn component_ran(&self, component: &str, took: Duration) {
        self.components.with(&[component]).observe(took.as_secs_f64());
    }

    /// A resource of a kind was stored, or was not, and now is, or is not.
    pub(crate) fn stored(&self, kind: &str, before: bool, after: bool) {
        match (before, after) {
            (false, true) => self.stored.with(&[kind]).inc(),
            (true, false) => self.stored.with(&[kind]).dec(),
            _ => {}
        }
    }

    /// These meshes are shown from now on, and no others.
    pub(crate) fn meshes_are<'a>(&self, meshes: impl Iterator<Item = &'a str>) {
        let meshes: BTreeSet<String> = meshes.map(str::to_owned).collect();
        let mut shown = self.meshes.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in shown.difference(&meshes) {
            states::forget(self, gone);
        }
        *shown = meshes;
    }

    pub(crate) fn turned_away(&self, kind: &str) {
        self.auth_failures.with(&[kind]).inc();
    }

    /// A mesh has an authority, until `end`.
    pub(crate) fn authority_held(&self, mesh: &str, backend: &str, end: i64) {
        for result in CERTIFICATE_RESULTS {
            self.certificates.with(&[mesh, result]);
        }
        self.authorities.with(&[mesh, backend]).set(end as f64);
    }

    /// A mesh has no authorities any more.
    pub(crate) fn mesh_gone(&self, mesh: &str) {
        self.soonest.remove(&[mesh]);
    }

    pub(crate) fn authority_gone(&self, mesh: &str, backend: &str) {
        self.authorities.remove(&[mesh, backend]);
    }

    /// A certificate was asked for; `result` is one of [`CERTIFICATE_RESULTS`].
    pub(crate) fn certificate_asked(&self, mesh: &str, result: &str) {
        self.certificates.with(&[mesh, result]).inc();
    }

    pub(crate) fn certificate_issued(&self, mesh: &str, took: Duration) {
        self.certificate_seconds.with(&[mesh]).observe(took.as_secs_f64());
    }

    pub(crate) fn store_used(&self, operation: &str, kind: &str, took: Duration) {
        self.store.with(&[operation, kind]).observe(took.as_secs_f64());
    }

    /// All metrics as text, with what the window and the system have counted until now.
    pub(crate) fn show(&self, totals: &Totals) -> String {
        let _showing = self.showing.lock().unwrap_or_else(PoisonError::into_inner);
        let window = &self.window;
        window.spans.inc_by(totals.spans_received.saturating_sub(window.spans.get()));
        window.evicted.inc_by(totals.evicted_traces.saturating_sub(window.evicted.get()));
        window.traces.set(totals.traces_held as f64);
        window.bytes.set(totals.bytes_held as f64);
        window.capacity.set(totals.bytes_limit as f64);
        if let Some(usage) = Usage::own() {
            let process = &self.process;
            process.cpu.inc_by((usage.cpu - process.cpu.get()).max(0.0));
            process.resident.set(usage.resident);
            process.virtual_memory.set(usage.virtual_memory);
            process.threads.set(usage.threads);
            process.open_fds.set(usage.open_fds);
            process.max_fds.set(usage.max_fds);
        }
        self.registry.encode_with(self.aliases)
    }

    pub(crate) fn conflict(&self, kind: &str) {
        self.conflicts.with(&[kind]).inc();
    }
}

//! What the agent emits about itself and its Envoy. Its registry carries `mesh`, `zone`,
//! `dataplane`.

use crate::Metric;

/// Who this is; always 1.
pub const INFO: Metric = Metric::gauge(
    "ursa_dp_info",
    &["version", "envoy_version"],
    "The agent and the Envoy that run; always 1.",
);
/// CPU time. `process` is `envoy` or `agent`.
pub const PROCESS_CPU_SECONDS: Metric = Metric::counter(
    "ursa_dp_process_cpu_seconds_total",
    &["process"],
    "User and system CPU time of the proxy's processes.",
);
/// Resident memory. `process` is `envoy` or `agent`.
pub const PROCESS_RESIDENT_MEMORY_BYTES: Metric = Metric::gauge(
    "ursa_dp_process_resident_memory_bytes",
    &["process"],
    "Resident memory of the proxy's processes.",
);
/// Open file descriptors. `process` is `envoy` or `agent`.
pub const PROCESS_OPEN_FDS: Metric = Metric::gauge(
    "ursa_dp_process_open_fds",
    &["process"],
    "Open file descriptors of the proxy's processes.",
);
/// What the processes may use of the machine: of their container, where they have one.
pub const CPU_LIMIT_CORES: Metric = Metric::gauge(
    "ursa_dp_cpu_limit_cores",
    &[],
    "Cores that the proxy's processes may use: of their container, else of the machine.",
);
/// The same of memory.
pub const MEMORY_LIMIT_BYTES: Metric = Metric::gauge(
    "ursa_dp_memory_limit_bytes",
    &[],
    "Memory that the proxy's processes may use: of their container, else of the machine.",
);
/// Times that Envoy ended unasked and was started again.
pub const ENVOY_RESTARTS: Metric = Metric::counter(
    "ursa_dp_envoy_restarts_total",
    &[],
    "Times that Envoy ended unasked and was started again.",
);
/// 1 while Envoy says that it is live.
pub const ENVOY_READY: Metric =
    Metric::gauge("ursa_dp_envoy_ready", &[], "1 while Envoy says that it is live.");
/// 1 while the stream to the control plane is open.
pub const CONTROL_PLANE_CONNECTED: Metric = Metric::gauge(
    "ursa_dp_control_plane_connected",
    &[],
    "1 while the stream to the control plane is open.",
);
/// Attempts to open a stream. `result` is `connected`, `refused` (credentials) or `unavailable`.
pub const CONTROL_PLANE_CONNECTS: Metric = Metric::counter(
    "ursa_dp_control_plane_connects_total",
    &["result"],
    "Attempts to open a stream to the control plane.",
);
/// Answers to configurations. `confirmation` is `ACK` or `NACK`.
pub const CONFIGURATIONS: Metric = Metric::counter(
    "ursa_dp_configurations_total",
    &["type_url", "confirmation"],
    "Configurations that were acknowledged or refused.",
);
/// The end of a certificate. `kind` is `identity` (the proxy's own) or `ca` (the authority that signed it). Absent
/// while mTLS is off.
pub const CERT_EXPIRATION: Metric = Metric::gauge(
    "ursa_dp_cert_expiration_timestamp_seconds",
    &["kind"],
    "When the certificate expires, in seconds since 1970.",
);
/// How long a certificate is valid in all; labels as above.
pub const CERT_LIFETIME: Metric = Metric::gauge(
    "ursa_dp_cert_lifetime_seconds",
    &["kind"],
    "How long the certificate is valid in all.",
);
/// Certificates that were asked for. `result` is `issued`, `refused` or `unavailable`.
pub const CERT_REQUESTS: Metric = Metric::counter(
    "ursa_dp_cert_requests_total",
    &["result"],
    "Certificates that the agent asked for, by what became of it.",
);

/// All of this module.
pub const METRICS: &[&Metric] = &[
    &INFO,
    &PROCESS_CPU_SECONDS,
    &PROCESS_RESIDENT_MEMORY_BYTES,
    &PROCESS_OPEN_FDS,
    &CPU_LIMIT_CORES,
    &MEMORY_LIMIT_BYTES,
    &ENVOY_RESTARTS,
    &ENVOY_READY,
    &CONTROL_PLANE_CONNECTED,
    &CONTROL_PLANE_CONNECTS,
    &CONFIGURATIONS,
    &CERT_REQUESTS,
];

/// Of proxies with a certificate of their mesh.
pub const CERTIFICATES: &[&Metric] = &[&CERT_EXPIRATION, &CERT_LIFETIME];

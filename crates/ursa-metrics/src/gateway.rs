//! What a gateway emits about itself.

use crate::Metric;

/// Who this is; always 1.
pub const INFO: Metric =
    Metric::gauge("ursa_gateway_info", &["version"], "The gateway that runs; always 1.");
/// CPU time.
pub const PROCESS_CPU_SECONDS: Metric = Metric::counter(
    "ursa_gateway_process_cpu_seconds_total",
    &[],
    "User and system CPU time of the gateway.",
);
/// Resident memory.
pub const PROCESS_RESIDENT_MEMORY_BYTES: Metric = Metric::gauge(
    "ursa_gateway_process_resident_memory_bytes",
    &[],
    "Resident memory of the gateway.",
);
/// Open file descriptors.
pub const PROCESS_OPEN_FDS: Metric =
    Metric::gauge("ursa_gateway_process_open_fds", &[], "Open file descriptors of the gateway.");
/// Times that the gateway file was read again. `result` is `applied` or `refused`.
pub const RELOADS: Metric = Metric::counter(
    "ursa_gateway_reloads_total",
    &["result"],
    "Times that the gateway file was read again.",
);

/// All of this module.
pub const METRICS: &[&Metric] =
    &[&INFO, &PROCESS_CPU_SECONDS, &PROCESS_RESIDENT_MEMORY_BYTES, &PROCESS_OPEN_FDS, &RELOADS];

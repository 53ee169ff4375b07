//! What the control plane emits. Names are Kuma's where it has one, in final Prometheus form.

use crate::Metric;

/// Who this is; always 1.
pub const INFO: Metric = Metric::gauge(
    "cp_info",
    &["product", "version", "mode"],
    "The control plane that runs; always 1.",
);
/// 1 on the instance that leads.
pub const LEADER: Metric = Metric::gauge("leader", &[], "1 on the instance that leads.");

/// Open ADS streams. `protocol` is `delta`, `version` is `v3`.
pub const XDS_STREAMS_ACTIVE: Metric =
    Metric::gauge("xds_streams_active", &["protocol", "version"], "Open ADS streams.");
/// Discovery responses sent.
pub const XDS_RESPONSES_SENT: Metric = Metric::counter(
    "xds_responses_sent_total",
    &["type_url", "protocol"],
    "Discovery responses sent.",
);
/// Sizes of discovery responses.
pub const XDS_RESPONSES_SENT_BYTES: Metric = Metric::bytes(
    "xds_responses_sent_bytes",
    &["type_url", "protocol"],
    "Sizes of discovery responses sent.",
);
/// Discovery requests received. `confirmation` is `ACK`, `NACK` or empty for a subscription;
/// `error_type` is `rejected` with a NACK, else empty.
pub const XDS_REQUESTS_RECEIVED: Metric = Metric::counter(
    "xds_requests_received_total",
    &["type_url", "protocol", "confirmation", "error_type"],
    "Discovery requests received.",
);
/// Making one proxy's configuration. `proxy_type` is `sidecar` or `gateway`; `result` is `changed` or
/// `generated` (but as before). Proxies that a change does not touch are not counted: nothing is made
/// for them.
pub const XDS_GENERATION_SECONDS: Metric = Metric::seconds(
    "xds_generation_seconds",
    &["proxy_type", "result"],
    "Time to make one proxy's configuration.",
);
/// Configurations that could not be made.
pub const XDS_GENERATION_ERRORS: Metric =
    Metric::counter("xds_generation_errors_total", &[], "Configurations that could not be made.");
/// From the change of a proxy's configuration to the ACK of each response that carries it, with the
/// time that it waited for answers to earlier ones.
pub const XDS_DELIVERY_SECONDS: Metric = Metric::seconds(
    "xds_delivery_seconds",
    &["protocol"],
    "Time from the change of a proxy's configuration to its acknowledgement.",
);
/// Connected proxies by the version that the node reports.
pub const XDS_CLIENT_VERSIONS: Metric = Metric::gauge(
    "xds_client_versions",
    &["client_version"],
    "Connected proxies by their Envoy's version.",
);
/// Proxies that have not acknowledged their newest configuration.
pub const XDS_PROXIES_STALE: Metric = Metric::gauge(
    "xds_proxies_stale",
    &[],
    "Connected proxies that have not acknowledged their newest configuration.",
);
/// Resources in the connected proxies' configurations.
pub const XDS_SNAPSHOT_RESOURCES: Metric = Metric::gauge(
    "xds_snapshot_resources",
    &["resource_type"],
    "Envoy resources in the connected proxies' configurations.",
);
/// Making the next snapshot of a mesh.
pub const SNAPSHOT_SECONDS: Metric = Metric::seconds(
    "ursa_cp_snapshot_seconds",
    &["mesh"],
    "Time to make the next snapshot of a mesh.",
);

/// Store calls. `operation` is `get`, `list` or `write`; `resource_type` is empty for several.
pub const STORE_OPERATION_SECONDS: Metric = Metric::seconds(
    "store_operation_seconds",
    &["operation", "resource_type"],
    "Time that operations on the store took.",
);
/// Writes refused because somebody else had changed the resource.
pub const STORE_CONFLICTS: Metric = Metric::counter(
    "store_conflicts_total",
    &["resource_type"],
    "Writes refused because the resource had changed meanwhile.",
);
/// Times that the watcher of the store fell behind and listed again.
pub const EVENTS_DROPPED: Metric = Metric::counter(
    "events_dropped_total",
    &[],
    "Times that a consumer of store events fell behind and listed again.",
);
/// Resources in the store.
pub const RESOURCES_COUNT: Metric =
    Metric::gauge("resources_count", &["resource_type"], "Resources in the store.");

/// Snapshots of meshes, at each change that was taken in. `result` is `hit` (kept, since the change is of another
/// mesh) or `miss` (made anew).
pub const MESH_CACHE: Metric = Metric::counter(
    "mesh_cache_total",
    &["result"],
    "Snapshots of meshes that a change left as they were, or made anew.",
);
/// What the policies say of connected proxies, at each change of their mesh. `result` is `hit` (kept, since the change
/// does not touch the proxy) or `miss` (matched and generated anew).
pub const POLICY_MATCHING_CACHE: Metric = Metric::counter(
    "policy_matching_cache_total",
    &["result"],
    "Connected proxies that a change of their mesh did not touch, or whose policies were matched anew.",
);
/// Runs of what the control plane does besides answering. `component` is `planner` (a batch of changes taken in),
/// `monitoring` (assignments made for a Prometheus) or `metrics` (states gathered for `/metrics`).
pub const COMPONENT_RUN_SECONDS: Metric = Metric::seconds(
    "component_run_seconds",
    &["component"],
    "Time that one run of a component took.",
);

/// Calls of gRPC that began. `grpc_type` is `unary` or `bidi_stream`; all three are `unknown` of what is not served.
pub const GRPC_STARTED: Metric = Metric::counter(
    "grpc_server_started_total",
    &["grpc_type", "grpc_service", "grpc_method"],
    "Calls of gRPC that began.",
);
/// Calls of gRPC that ended. `grpc_code` is the name of its status, `Canceled` also where the caller went away.
pub const GRPC_HANDLED: Metric = Metric::counter(
    "grpc_server_handled_total",
    &["grpc_type", "grpc_service", "grpc_method", "grpc_code"],
    "Calls of gRPC that ended, by their status.",
);
/// Messages of calls received.
pub const GRPC_RECEIVED: Metric = Metric::counter(
    "grpc_server_msg_received_total",
    &["grpc_type", "grpc_service", "grpc_method"],
    "Messages received in calls of gRPC.",
);
/// Messages of calls sent.
pub const GRPC_SENT: Metric = Metric::counter(
    "grpc_server_msg_sent_total",
    &["grpc_type", "grpc_service", "grpc_method"],
    "Messages sent in calls of gRPC.",
);
/// How long calls lasted; an agent's stream lasts as long as the agent.
pub const GRPC_HANDLING_SECONDS: Metric = Metric::seconds(
    "grpc_server_handling_seconds",
    &["grpc_type", "grpc_service", "grpc_method"],
    "Time from a call's begin to its end.",
);

/// Services that a connected proxy serves. `mtls` is what the weakest of its inbounds demands: `strict`, `permissive`
/// or `disabled`.
pub const SERVICES: Metric = Metric::gauge(
    "ursa_cp_services",
    &["mesh", "mtls"],
    "Services with a connected proxy, by the mTLS that their inbounds demand.",
);
/// Connected proxies by what should hold for each. `check` is `mtls_strict` (every inbound demands mTLS),
/// `permission_present` (a MeshTrafficPermission decides about every inbound), `config_acked` (its newest configuration is
/// acknowledged), `telemetry_on` (some of its telemetry goes to a backend, or is served to Prometheus) or `cert_valid` (it
/// holds a certificate that has not ended); `state` is `ok` or `violating`.
pub const COMPLIANCE_PROXIES: Metric = Metric::gauge(
    "ursa_cp_compliance_proxies",
    &["mesh", "check", "state"],
    "Connected proxies by what should hold for each.",
);

/// REST requests. `handler` is the route's pattern, never the path, or `none`; `method` is one of
/// HTTP's, or `other`.
pub const API_REQUEST_SECONDS: Metric = Metric::seconds(
    "api_server_http_request_duration_seconds",
    &["code", "handler", "method"],
    "Time that API requests took.",
);
/// Sizes of REST responses.
pub const API_RESPONSE_BYTES: Metric = Metric::bytes(
    "api_server_http_response_size_bytes",
    &["code", "handler", "method"],
    "Sizes of API responses.",
);
/// Refused credentials. `kind` is `missing`, `malformed`, `signature`, `expired` or `identity`.
pub const AUTH_FAILURES: Metric = Metric::counter(
    "ursa_cp_auth_failures_total",
    &["kind"],
    "Callers refused for their credentials.",
);

/// Certificates that proxies asked for. `result` is `issued`, `refused` (no Dataplane, mTLS off, not a request that is
/// taken), `limited` (too many at once) or `failed` (the authority cannot sign).
pub const CERT_GENERATION: Metric = Metric::counter(
    "cert_generation_total",
    &["mesh", "result"],
    "Certificates that proxies asked for, by what became of it.",
);
/// Signing one certificate.
pub const CERT_GENERATION_SECONDS: Metric =
    Metric::seconds("cert_generation_seconds", &["mesh"], "Time to issue a proxy's certificate.");
/// The end of an authority.
pub const CA_EXPIRATION: Metric = Metric::gauge(
    "ursa_cp_ca_expiration_timestamp_seconds",
    &["mesh", "backend"],
    "When the authority's certificate expires, in seconds since 1970.",
);
/// The soonest end of a certificate that a proxy of the mesh holds. Absent where none holds one.
pub const CERT_EXPIRATION: Metric = Metric::gauge(
    "xds_cert_expiration_timestamp_seconds",
    &["mesh"],
    "When the first of the certificates expires that proxies hold, in seconds since 1970.",
);

/// Spans taken into the window of recent telemetry.
pub const TELEMETRY_SPANS: Metric = Metric::counter(
    "ursa_cp_telemetry_spans_total",
    &[],
    "Spans taken into the window of recent telemetry.",
);
/// Traces in the window.
pub const TELEMETRY_TRACES: Metric =
    Metric::gauge("ursa_cp_telemetry_traces", &[], "Traces in the window of recent telemetry.");
/// Traces that left the window to make room.
pub const TELEMETRY_EVICTED_TRACES: Metric = Metric::counter(
    "ursa_cp_telemetry_evicted_traces_total",
    &[],
    "Traces that left the window of recent telemetry to make room.",
);
/// Bytes that the window holds.
pub const TELEMETRY_BYTES: Metric =
    Metric::gauge("ursa_cp_telemetry_bytes", &[], "Bytes held by the window of recent telemetry.");
/// Bytes that the window may hold.
pub const TELEMETRY_CAPACITY_BYTES: Metric = Metric::gauge(
    "ursa_cp_telemetry_capacity_bytes",
    &[],
    "Bytes that the window of recent telemetry may hold.",
);

/// CPU time of this process.
pub const PROCESS_CPU_SECONDS: Metric =
    Metric::counter("process_cpu_seconds_total", &[], "User and system CPU time of this process.");
/// Resident memory of this process.
pub const PROCESS_RESIDENT_MEMORY_BYTES: Metric =
    Metric::gauge("process_resident_memory_bytes", &[], "Resident memory of this process.");
/// Open file descriptors of this process.
pub const PROCESS_OPEN_FDS: Metric =
    Metric::gauge("process_open_fds", &[], "Open file descriptors of this process.");

/// Most file descriptors of this process.
pub const PROCESS_MAX_FDS: Metric =
    Metric::gauge("process_max_fds", &[], "Most file descriptors that this process may open.");
/// Virtual memory of this process.
pub const PROCESS_VIRTUAL_MEMORY_BYTES: Metric =
    Metric::gauge("process_virtual_memory_bytes", &[], "Virtual memory of this process.");
/// Threads of this process.
pub const PROCESS_THREADS: Metric =
    Metric::gauge("process_threads", &[], "Threads of this process.");
/// When this process started.
pub const PROCESS_START_TIME_SECONDS: Metric = Metric::gauge(
    "process_start_time_seconds",
    &[],
    "When this process started, in seconds since 1970.",
);

/// Spans of the control plane itself. `result` is `recorded` (given to its pipeline) or `dropped` (too many at once).
pub const OWN_SPANS: Metric =
    Metric::counter("ursa_cp_own_spans_total", &["result"], "Spans of the control plane itself.");

/// Of a control plane that traces itself; with [`pipeline::BACKENDS`](crate::pipeline::BACKENDS).
pub const TRACING: &[&Metric] = &[&OWN_SPANS];

/// All of this module that every control plane emits.
pub const METRICS: &[&Metric] = &[
    &INFO,
    &LEADER,
    &XDS_STREAMS_ACTIVE,
    &XDS_RESPONSES_SENT,
    &XDS_RESPONSES_SENT_BYTES,
    &XDS_REQUESTS_RECEIVED,
    &XDS_GENERATION_SECONDS,
    &XDS_GENERATION_ERRORS,
    &XDS_DELIVERY_SECONDS,
    &XDS_CLIENT_VERSIONS,
    &XDS_PROXIES_STALE,
    &XDS_SNAPSHOT_RESOURCES,
    &SNAPSHOT_SECONDS,
    &STORE_OPERATION_SECONDS,
    &STORE_CONFLICTS,
    &EVENTS_DROPPED,
    &RESOURCES_COUNT,
    &MESH_CACHE,
    &POLICY_MATCHING_CACHE,
    &COMPONENT_RUN_SECONDS,
    &GRPC_STARTED,
    &GRPC_HANDLED,
    &GRPC_RECEIVED,
    &GRPC_SENT,
    &GRPC_HANDLING_SECONDS,
    &SERVICES,
    &COMPLIANCE_PROXIES,
    &API_REQUEST_SECONDS,
    &API_RESPONSE_BYTES,
    &AUTH_FAILURES,
    &TELEMETRY_SPANS,
    &TELEMETRY_TRACES,
    &TELEMETRY_EVICTED_TRACES,
    &TELEMETRY_BYTES,
    &TELEMETRY_CAPACITY_BYTES,
    &PROCESS_CPU_SECONDS,
    &PROCESS_RESIDENT_MEMORY_BYTES,
    &PROCESS_OPEN_FDS,
    &PROCESS_MAX_FDS,
    &PROCESS_VIRTUAL_MEMORY_BYTES,
    &PROCESS_THREADS,
    &PROCESS_START_TIME_SECONDS,
];

/// Of meshes with mTLS.
pub const CERTIFICATES: &[&Metric] =
    &[&CERT_GENERATION, &CERT_GENERATION_SECONDS, &CA_EXPIRATION, &CERT_EXPIRATION];

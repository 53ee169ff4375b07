//! The catalogue of every metric that a part of Ursa emits, and the registry that emits them.
//!
//! A metric is a constant: its name, kind, labels, help and buckets stand once, here, in final
//! Prometheus form (`[a-z0-9_]`, counters end in `_total`, the unit is in the name). Emitters take
//! it from here, and so do dashboards and rules, so that a renamed metric fails to compile instead
//! of emptying a panel.
//!
//! ```
//! use ursa_metrics::{Registry, control};
//!
//! let registry = Registry::new(&[("zone", "east")]);
//! let failures = registry.counter(&control::AUTH_FAILURES);
//! failures.with(&["expired"]).inc();
//! assert!(registry.encode().contains(r#"ursa_cp_auth_failures_total{kind="expired",zone="east"} 1"#));
//! ```
//!
//! [`profile`] lists those of Envoy that are kept. [`Usage`] is what a process uses, which every part says of itself, and
//! [`Limits`] what it may use.
//!
//! Not here: where other values come from, and the endpoints that show them.

pub mod agent;
pub mod control;
pub mod gateway;
pub mod kuma;
mod limits;
mod metric;
pub mod pipeline;
pub mod profile;
mod registry;
mod usage;

pub use limits::Limits;
pub use metric::{BYTES_BUCKETS, Kind, Metric, SECONDS_BUCKETS};
pub use registry::{
    CONTENT_TYPE, Counter, FOLDED, Family, Gauge, Histogram, MAX_SERIES, Registry, SecondsCounter,
};
pub use usage::Usage;

/// Every metric.
pub const CATALOGUE: &[&[&Metric]] = &[
    control::METRICS,
    control::CERTIFICATES,
    control::TRACING,
    agent::METRICS,
    agent::CERTIFICATES,
    gateway::METRICS,
    pipeline::RECEIVERS,
    pipeline::BACKENDS,
    pipeline::RULES,
    pipeline::COLLECTION,
];

/// What a control plane shows; of meshes with mTLS also [`control::CERTIFICATES`], and one that traces itself
/// [`control::TRACING`] and [`pipeline::BACKENDS`].
pub const CONTROL_PLANE: &[&[&Metric]] = &[control::METRICS, pipeline::RECEIVERS];

/// What an agent shows; [`pipeline::RULES`], [`pipeline::COLLECTION`] and [`agent::CERTIFICATES`], too, once there is
/// something of them.
pub const AGENT: &[&[&Metric]] = &[agent::METRICS, pipeline::RECEIVERS, pipeline::BACKENDS];

/// What a gateway shows; [`pipeline::RULES`], too, once there is something of them.
pub const GATEWAY: &[&[&Metric]] = &[gateway::METRICS, pipeline::RECEIVERS, pipeline::BACKENDS];

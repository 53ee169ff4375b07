//! Spans of OTLP for translators: read without being decoded, written field by field.
//!
//! Not here: any other format.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod dropped;
mod groups;
mod read;
mod write;

pub(crate) use dropped::Dropped;
pub(crate) use groups::{Groups, Resource, Scope};
pub(crate) use read::{Any, Message, Shared, Span, for_each_span};
pub(crate) use write::{any_field, attribute, bytes, fixed32, fixed64, text, varint};

/// `Span.kind`.
pub(crate) mod kind {
    pub(crate) const INTERNAL: u64 = 1;
    pub(crate) const SERVER: u64 = 2;
    pub(crate) const CLIENT: u64 = 3;
    pub(crate) const PRODUCER: u64 = 4;
    pub(crate) const CONSUMER: u64 = 5;
}

/// `Status.code`.
pub(crate) mod status {
    pub(crate) const OK: u64 = 1;
    pub(crate) const ERROR: u64 = 2;
}

/// Names of attributes that more than one format needs.
pub(crate) mod names {
    pub(crate) const SERVICE_NAME: &str = "service.name";
    pub(crate) const SERVICE_VERSION: &str = "service.version";
    pub(crate) const ENVIRONMENT: &str = "deployment.environment.name";
    /// Before semantic conventions 1.27.
    pub(crate) const OLD_ENVIRONMENT: &str = "deployment.environment";
    /// What stands for a service without a name (OpenTelemetry, "Resource SDK").
    pub(crate) const UNKNOWN_SERVICE: &str = "unknown_service";
    pub(crate) const SCOPE_NAME: &str = "otel.scope.name";
    pub(crate) const SCOPE_VERSION: &str = "otel.scope.version";
    pub(crate) const STATUS_CODE: &str = "otel.status_code";
    pub(crate) const DROPPED_ATTRIBUTES: &str = "otel.dropped_attributes_count";
    pub(crate) const DROPPED_EVENTS: &str = "otel.dropped_events_count";
    pub(crate) const DROPPED_LINKS: &str = "otel.dropped_links_count";
    pub(crate) const TRACE_STATE: &str = "w3c.tracestate";
}

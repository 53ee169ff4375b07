//! The way to a backend behind a network.

use ursa_otlp::datadog::Services;
use ursa_otlp::zipkin::TraceIds;

use super::client::Client;

/// Where requests go, and by what.
#[derive(Debug)]
pub(super) struct Way {
    /// `host:port` and path, for people.
    pub(super) endpoint: String,
    /// Of requests over HTTP.
    pub(super) path: String,
    pub(super) client: Client,
}

/// What is spoken there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Speech {
    Grpc,
    Http,
    /// In protobuf, or else in JSON.
    Zipkin {
        proto: bool,
        ids: TraceIds,
    },
    Datadog {
        services: Services,
    },
}

impl Speech {
    /// The value of the label `protocol`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Zipkin { .. } => "zipkin",
            Self::Datadog { .. } => "datadog",
        }
    }
}

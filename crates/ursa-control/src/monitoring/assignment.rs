//! Kuma's `kuma.observability.v1.MonitoringAssignment`, one for each proxy.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryResponse;
use envoy_types::pb::google::protobuf::Any;
use prost::Message as _;
use serde_json::{Value, json};

use super::Target;
use crate::authority::hex;

/// The type.
pub(super) const TYPE: &str = "type.googleapis.com/kuma.observability.v1.MonitoringAssignment";
/// Bytes of the digest of all assignments that are their version.
const VERSION_BYTES: usize = 16;

/// What a Prometheus is told.
#[derive(Debug)]
pub(super) struct Assignments {
    /// Another one whenever anything changes.
    pub(super) version: String,
    assignments: Vec<Assignment>,
}

/// Targets of one service, of which each proxy is one.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Assignment {
    #[prost(string, tag = "2")]
    pub(super) mesh: String,
    #[prost(string, tag = "3")]
    pub(super) service: String,
    #[prost(message, repeated, tag = "4")]
    pub(super) targets: Vec<AssignedTarget>,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(super) labels: BTreeMap<String, String>,
}

/// One proxy.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AssignedTarget {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) scheme: String,
    #[prost(string, tag = "3")]
    pub(super) address: String,
    #[prost(string, tag = "4")]
    pub(super) metrics_path: String,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(super) labels: BTreeMap<String, String>,
}

impl Assignments {
    pub(super) fn of(targets: &[Target]) -> Self {
        let assignments: Vec<_> = targets.iter().map(assignment).collect();
        let mut digest = Context::new(&SHA256);
        for assignment in &assignments {
            digest.update(&assignment.encode_length_delimited_to_vec());
        }
        let digest = digest.finish();
        let version = hex(digest.as_ref().get(..VERSION_BYTES).unwrap_or_default());
        Self { version, assignments }
    }

    /// As gRPC tells it.
    pub(super) fn response(&self) -> DiscoveryResponse {
        let resource =
            |it: &Assignment| Any { type_url: TYPE.to_owned(), value: it.encode_to_vec() };
        DiscoveryResponse {
            version_info: self.version.clone(),
            resources: self.assignments.iter().map(resource).collect(),
            type_url: TYPE.to_owned(),
            nonce: self.version.clone(),
            ..DiscoveryResponse::default()
        }
    }

    /// The same in JSON, with the names of the fields as Kuma writes them.
    pub(super) fn json(&self) -> Value {
        json!({
            "version_info": self.version,
            "resources": self.assignments.iter().map(Assignment::json).collect::<Vec<_>>(),
            "type_url": TYPE,
            "nonce": self.version,
        })
    }
}

impl Assignment {
    fn json(&self) -> Value {
        let target = |target: &AssignedTarget| {
            json!({
                "name": target.name,
                "scheme": target.scheme,
                "address": target.address,
                "metrics_path": target.metrics_path,
                "labels": target.labels,
            })
        };
        json!({
            "@type": TYPE,
            "mesh": self.mesh,
            "service": self.service,
            "targets": self.targets.iter().map(target).collect::<Vec<_>>(),
            "labels": self.labels,
        })
    }
}

fn assignment(target: &Target) -> Assignment {
    Assignment {
        mesh: target.id.mesh.clone(),
        service: target.service.clone(),
        targets: vec![AssignedTarget {
            name: target.id.name.clone(),
            scheme: target.scheme.to_owned(),
            address: target.address.clone(),
            metrics_path: target.path.clone(),
            labels: target.labels.clone(),
        }],
        labels: BTreeMap::new(),
    }
}

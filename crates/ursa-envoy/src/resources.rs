//! The picture of a proxy as Envoy resources.

use std::collections::BTreeMap;

use envoy_types::pb::google::protobuf::Any;

use crate::proxy::{ClusterKind, ListenerKind, ProxyConfig};
use crate::{cluster, listener, parts, route};

/// Type URL of clusters (CDS).
pub const CDS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
/// Type URL of endpoints (EDS).
pub const EDS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
/// Type URL of listeners (LDS).
pub const LDS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
/// Type URL of routes (RDS).
pub const RDS: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
/// Type URL of what the agent does with telemetry: one resource named `pipeline`, whose value is a
/// [`ursa_model::pipeline::PipelineConfig`] as JSON. For the agent; never relayed to Envoy.
pub const PIPELINE: &str = "type.googleapis.com/ursa.agent.v1.Pipeline";
/// Type URL of secrets: named as the secret, the value is its bytes. For the agent; made by the
/// control plane, not by [`resources`].
pub const SECRET: &str = "type.googleapis.com/ursa.agent.v1.Secret";
/// Type URL of what certificate the agent is to get: one resource named `identity`, whose value is a
/// [`ursa_model::identity::Identity`] as JSON. Not there: mTLS is off. For the agent; made by the control plane, not
/// by [`resources`].
pub const IDENTITY: &str = "type.googleapis.com/ursa.agent.v1.Identity";

/// The one resource of type [`IDENTITY`].
pub const IDENTITY_NAME: &str = "identity";
/// The one resource of type [`PIPELINE`].
pub const PIPELINE_NAME: &str = "pipeline";

/// All types in the order in which additions are sent, so that what is referred to comes first.
/// Removals go the other way.
pub const TYPES: [&str; 7] = [CDS, EDS, LDS, RDS, SECRET, IDENTITY, PIPELINE];

/// Everything one proxy is sent: type URL → name → resource.
pub type Resources = BTreeMap<&'static str, BTreeMap<String, Resource>>;

/// One resource as it travels.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Changes exactly when the content does.
    pub version: String,
    /// The message and its type.
    pub body: Any,
}

impl Resource {
    /// A resource whose version is a hash of its content.
    pub fn new(body: Any) -> Self {
        Self { version: content_hash(&body.value), body }
    }
}

/// Everything `proxy` is sent, except secrets and its identity. Pure: the same picture gives the same bytes and
/// versions, in whatever order endpoints were learned.
#[expect(clippy::missing_panics_doc, reason = "a pipeline is made of what JSON is made of")]
pub fn resources(proxy: &ProxyConfig) -> Resources {
    let mut resources = Resources::new();
    let mut add = |kind: &'static str, name: &str, body: Any| {
        resources.entry(kind).or_default().insert(name.to_owned(), Resource::new(body));
    };
    for cluster in &proxy.clusters {
        add(CDS, &cluster.name, parts::any(&cluster::cluster(cluster, proxy.mesh_tls.as_ref())));
        if let ClusterKind::Eds { endpoints } = &cluster.kind {
            let assignment = cluster::load_assignment(cluster, endpoints);
            add(EDS, &cluster.name, parts::any(&assignment));
        }
    }
    for listener in &proxy.listeners {
        add(
            LDS,
            &listener.name,
            parts::any(&listener::listener(listener, proxy.mesh_tls.as_ref())),
        );
    }
    for listener in &proxy.listeners {
        let ListenerKind::Http(http) = &listener.kind else { continue };
        let routes = route::route_configuration(http, listener.permissions.as_ref());
        add(RDS, &http.routes.name, parts::any(&routes));
    }
    let pipeline =
        serde_json::to_vec(&proxy.pipeline).expect("strings, numbers, lists and maps are JSON");
    add(PIPELINE, PIPELINE_NAME, Any { type_url: PIPELINE.to_owned(), value: pipeline });
    resources
}

/// FNV-1a, 128 bit. Tells contents apart and says the same in every build, which is all a version
/// must; it hides nothing, so a secret's version must not be made with it.
fn content_hash(bytes: &[u8]) -> String {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash =
        bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME));
    format!("{hash:032x}")
}

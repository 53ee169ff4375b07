//! Dataplane: one proxy, what it stands in front of, and what it reaches.

use std::collections::BTreeMap;

use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kind::{Kind, Scope, no_rewrite};
use crate::names;
use crate::report::Cursor;
use crate::suggest;

/// The tag that names the service of an inbound or of a gateway.
pub const SERVICE_TAG: &str = "kuma.io/service";
/// The label of a Dataplane that names its workload, as Kuma 3 has it.
pub const WORKLOAD_LABEL: &str = "kuma.io/workload";
/// The tag that names the protocol of an inbound.
pub const PROTOCOL_TAG: &str = "kuma.io/protocol";

/// A data plane proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dataplane {
    /// Addresses and ports.
    pub networking: Networking,
    /// Metrics of Kuma 1. No effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Value>,
    /// Virtual probes. No effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<Value>,
    /// Features of Envoy. No effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envoy: Option<Value>,
}

/// Addresses and ports of a proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Networking {
    /// Where the proxy is reached; inbounds listen there unless they say otherwise. An IP address; of a proxy without inbounds a DNS name will do.
    pub address: String,
    /// Where it is reached from elsewhere, when that differs. As `address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertised_address: Option<String>,
    /// What the proxy stands in front of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inbound: Vec<Inbound>,
    /// What the workload reaches through the proxy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbound: Vec<Outbound>,
    /// Set on gateways; these have no inbound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
    /// Envoy's admin interface. The agent keeps it on a Unix socket, so a port has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<Admin>,
    /// Redirection by iptables. No effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transparent_proxying: Option<Value>,
}

/// One port that the proxy stands in front of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Inbound {
    /// Port that the proxy listens on.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// IP address that the proxy listens on. Default: the proxy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Port of the workload. Default: `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub service_port: Option<u16>,
    /// IP address of the workload. Default 127.0.0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_address: Option<String>,
    /// Name of the port, for `sectionName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Tags that policies select by; `kuma.io/service` names the service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Whether the inbound takes traffic. Default `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<InboundState>,
    /// Protocol; wins over the tag `kuma.io/protocol`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Health as told from outside. No effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Value>,
    /// Probing of the workload. No effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_probe: Option<Value>,
}

/// Whether an inbound takes traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InboundState {
    /// It does.
    Ready,
    /// Not yet, or not any more.
    NotReady,
    /// Never; policies still select it.
    Ignored,
}

/// One port on which the workload reaches another service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-also" = [{"anyOf": [
    {"required": ["backendRef"], "properties": {"backendRef": {"type": "object"}}},
    of_a_service(),
]}]))]
pub struct Outbound {
    /// Port that the proxy listens on.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// IP address that the proxy listens on. Default 127.0.0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The service by tags; `kuma.io/service` is needed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The service by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<OutboundRef>,
}

/// A reference to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutboundRef {
    /// The kind of the service.
    pub kind: OutboundKind,
    /// Its name.
    pub name: String,
    /// Its port. Default: its only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
}

/// The kinds of services that an outbound may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OutboundKind {
    /// A service of the mesh.
    MeshService,
}

/// The schema of what has the tag of a service.
fn of_a_service() -> serde_json::Value {
    let tags = serde_json::json!({
        "type": "object",
        "required": ["kuma.io/service"], "properties": {"kuma.io/service": {"type": "string"}},
    });
    serde_json::json!({"required": ["tags"], "properties": {"tags": tags}})
}

/// What makes a proxy a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-also" = [of_a_service()]))]
pub struct Gateway {
    /// Default `DELEGATED`.
    #[serde(rename = "type", default)]
    pub kind: GatewayKind,
    /// Tags that policies select by; `kuma.io/service` is needed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// Kinds of gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum GatewayKind {
    /// A gateway of another make; the proxy stands behind it.
    #[default]
    Delegated,
    /// The proxy itself. No effect yet.
    Builtin,
}

/// Envoy's admin interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Admin {
    /// Port on loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
}

/// What an inbound speaks, as far as it matters to the proxy.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Bytes.
    #[default]
    Tcp,
    /// HTTP/1.1.
    Http,
    /// HTTP/2.
    Http2,
    /// gRPC, on HTTP/2.
    Grpc,
}

/// Names of protocols. Those that Kuma knows and the proxy takes for bytes are among them.
const PROTOCOLS: [(&str, Protocol); 6] = [
    ("tcp", Protocol::Tcp),
    ("http", Protocol::Http),
    ("http2", Protocol::Http2),
    ("grpc", Protocol::Grpc),
    ("kafka", Protocol::Tcp),
    ("tls", Protocol::Tcp),
];

impl Protocol {
    /// The protocol of that name.
    pub fn named(name: &str) -> Option<Self> {
        PROTOCOLS.iter().find(|(known, _)| *known == name).map(|(_, protocol)| *protocol)
    }

    /// Whether requests are seen, and so traced.
    pub fn is_http(self) -> bool {
        self != Self::Tcp
    }
}

impl Inbound {
    /// What it speaks; TCP unless said otherwise.
    pub fn protocol(&self) -> Protocol {
        let name = self.protocol.as_ref().or_else(|| self.tags.get(PROTOCOL_TAG));
        name.and_then(|name| Protocol::named(name)).unwrap_or_default()
    }

    /// Its service, if it has a name.
    pub fn service(&self) -> Option<&str> {
        self.tags.get(SERVICE_TAG).map(String::as_str)
    }

    /// Port of the workload.
    pub fn service_port(&self) -> u16 {
        self.service_port.unwrap_or(self.port)
    }

    /// Address of the workload.
    pub fn service_address(&self) -> &str {
        self.service_address.as_deref().unwrap_or("127.0.0.1")
    }

    /// Whether it may be sent traffic.
    pub fn is_ready(&self) -> bool {
        self.state.unwrap_or(InboundState::Ready) == InboundState::Ready
    }
}

impl Outbound {
    /// Address that the proxy listens on.
    pub fn address(&self) -> &str {
        self.address.as_deref().unwrap_or("127.0.0.1")
    }

    /// The service it leads to.
    pub fn service(&self) -> Option<&str> {
        let by_name = self.backend_ref.as_ref().map(|reference| reference.name.as_str());
        by_name.or_else(|| self.tags.get(SERVICE_TAG).map(String::as_str))
    }
}

impl Dataplane {
    /// The service that the proxy stands for: that of its first inbound or of the gateway, else the workload that the
    /// Dataplane's `labels` name ([`WORKLOAD_LABEL`]), else `name`, the Dataplane's own.
    pub fn service<'a>(&'a self, labels: &'a BTreeMap<String, String>, name: &'a str) -> &'a str {
        let inbound = self.networking.inbound.iter().find_map(Inbound::service);
        let gateway =
            || self.networking.gateway.as_ref()?.tags.get(SERVICE_TAG).map(String::as_str);
        let workload = || labels.get(WORKLOAD_LABEL).map(String::as_str);
        let workload = || workload().filter(|workload| !workload.is_empty());
        inbound.or_else(gateway).or_else(workload).unwrap_or(name)
    }

    /// The tags of each inbound, then of the gateway.
    pub fn tag_sets(&self) -> impl Iterator<Item = &BTreeMap<String, String>> {
        let inbounds = self.networking.inbound.iter().map(|inbound| &inbound.tags);
        inbounds.chain(self.networking.gateway.iter().map(|gateway| &gateway.tags))
    }

    /// Whether the proxy is a gateway.
    pub fn is_gateway(&self) -> bool {
        self.networking.gateway.is_some()
    }

    /// Where an inbound listens.
    pub fn inbound_address<'a>(&'a self, inbound: &'a Inbound) -> &'a str {
        inbound.address.as_deref().unwrap_or(&self.networking.address)
    }

    /// Where other proxies reach this one.
    pub fn reachable_address(&self) -> &str {
        self.networking.advertised_address.as_deref().unwrap_or(&self.networking.address)
    }
}

/// The kind.
pub static KIND: Kind = Kind {
    name: "Dataplane",
    plural: "dataplanes",
    short: &["dp"],
    scope: Scope::Mesh,
    flat: true,
    policy: false,
    schema: || schema_for!(Dataplane),
    rewrite: no_rewrite,
    validate: |node, _, cursor| {
        if let Some(dataplane) = cursor.decode::<Dataplane>(node) {
            dataplane.validate(cursor);
        }
    },
};

impl Dataplane {
    /// Reports all that is wrong. The cursor stands on the resource's fields.
    pub fn validate(&self, cursor: &Cursor<'_>) {
        for field in ["metrics", "probes", "envoy", "networking.transparentProxying"] {
            cursor.at(field).warn_if_without_effect();
        }
        let cursor = cursor.at("networking");
        let networking = &self.networking;
        let has_inbounds = !networking.inbound.is_empty();
        validate_reachable(Some(&networking.address), has_inbounds, &cursor.at("address"));
        let advertised = networking.advertised_address.as_ref();
        validate_reachable(advertised, has_inbounds, &cursor.at("advertisedAddress"));
        if networking.admin.as_ref().is_some_and(|admin| admin.port.is_some()) {
            cursor
                .at("admin.port")
                .warn("has no effect: the agent keeps Envoy's admin interface on a Unix socket");
        }
        if let Some(gateway) = &networking.gateway {
            validate_gateway(gateway, &cursor.at("gateway"));
            if !networking.inbound.is_empty() {
                cursor
                    .at("inbound")
                    .refuse("a gateway has no inbound; remove `inbound` or `gateway`");
            }
        }
        for (index, inbound) in networking.inbound.iter().enumerate() {
            validate_inbound(inbound, &cursor.at("inbound").index(index));
        }
        for (index, outbound) in networking.outbound.iter().enumerate() {
            validate_outbound(outbound, &cursor.at("outbound").index(index));
        }
        self.validate_ports(&cursor);
    }

    /// Two listeners cannot share one address and port, nor can the workload sit where its proxy listens.
    fn validate_ports(&self, cursor: &Cursor<'_>) {
        let mut taken = BTreeMap::new();
        let inbounds = self.networking.inbound.iter().enumerate();
        for (index, inbound) in inbounds {
            let listens = (self.inbound_address(inbound), inbound.port);
            let cursor = cursor.at("inbound").index(index);
            if listens == (inbound.service_address(), inbound.service_port()) {
                cursor.refuse_with_hint(
                    "proxy and workload would listen on the same address and port",
                    "give the workload a `servicePort` or a `serviceAddress` of its own",
                );
            }
            refuse_taken(&mut taken, listens, format!("inbound[{index}]"), &cursor);
        }
        for (index, outbound) in self.networking.outbound.iter().enumerate() {
            let listens = (outbound.address(), outbound.port);
            refuse_taken(
                &mut taken,
                listens,
                format!("outbound[{index}]"),
                &cursor.at("outbound").index(index),
            );
        }
    }
}

fn refuse_taken<'a>(
    taken: &mut BTreeMap<(&'a str, u16), String>,
    listens: (&'a str, u16),
    owner: String,
    cursor: &Cursor<'_>,
) {
    if let Some(first) = taken.get(&listens) {
        cursor
            .at("port")
            .refuse(format!("{}:{} is taken by {first} already", listens.0, listens.1));
    } else {
        taken.insert(listens, owner);
    }
}

fn validate_gateway(gateway: &Gateway, cursor: &Cursor<'_>) {
    if gateway.kind == GatewayKind::Builtin {
        cursor.at("type").warn("BUILTIN has no effect yet; the proxy gets no listener");
    }
    names::validate_tags(&gateway.tags, &cursor.at("tags"));
    if !gateway.tags.contains_key(SERVICE_TAG) {
        cursor.at("tags").refuse(format!("a gateway needs the tag `{SERVICE_TAG}`"));
    }
}

fn validate_inbound(inbound: &Inbound, cursor: &Cursor<'_>) {
    validate_ip(inbound.address.as_ref(), &cursor.at("address"));
    if let Some(address) = &inbound.address {
        refuse_unspecified(address, &cursor.at("address"));
    }
    validate_ip(inbound.service_address.as_ref(), &cursor.at("serviceAddress"));
    names::validate_tags(&inbound.tags, &cursor.at("tags"));
    validate_protocol(inbound.protocol.as_ref(), &cursor.at("protocol"));
    validate_protocol(inbound.tags.get(PROTOCOL_TAG), &cursor.at("tags").key(PROTOCOL_TAG));
    cursor.at("health").warn_if_without_effect();
    cursor.at("serviceProbe").warn_if_without_effect();
}

fn validate_outbound(outbound: &Outbound, cursor: &Cursor<'_>) {
    validate_ip(outbound.address.as_ref(), &cursor.at("address"));
    names::validate_tags(&outbound.tags, &cursor.at("tags"));
    match (&outbound.backend_ref, outbound.tags.get(SERVICE_TAG)) {
        (None, None) => cursor.refuse(format!("needs a `backendRef` or the tag `{SERVICE_TAG}`")),
        (Some(_), _) if !outbound.tags.is_empty() => {
            cursor.at("tags").refuse("`tags` and `backendRef` exclude each other; keep one");
        }
        (Some(reference), _) => {
            names::validate_resource_name(&reference.name, &cursor.at("backendRef.name"));
        }
        (None, Some(_)) => {}
    }
}

/// Where a proxy is reached. Envoy takes IP addresses only, so a name will do only where there is no inbound.
fn validate_reachable(address: Option<&String>, has_inbounds: bool, cursor: &Cursor<'_>) {
    let Some(address) = address else { return };
    if names::is_ip(address) {
        refuse_unspecified(address, cursor);
    } else if address.starts_with('[') || !names::is_host(address) {
        cursor.refuse("is neither an IP address nor a DNS name");
    } else if has_inbounds {
        cursor.refuse_with_hint(
            "DNS names are not looked up yet, and the inbounds are reached here",
            "write the IP address",
        );
    }
}

fn validate_ip(address: Option<&String>, cursor: &Cursor<'_>) {
    if address.is_some_and(|address| !names::is_ip(address)) {
        cursor.refuse("must be an IP address");
    }
}

fn refuse_unspecified(address: &str, cursor: &Cursor<'_>) {
    if address == "0.0.0.0" || address == "::" {
        cursor.refuse("must be an address that others can reach, not the one that stands for all");
    }
}

fn validate_protocol(name: Option<&String>, cursor: &Cursor<'_>) {
    let Some(name) = name else { return };
    if Protocol::named(name).is_none() {
        let known = PROTOCOLS.map(|(known, _)| known);
        let hint =
            suggest::nearest(name, known).map(|nearest| format!("did you mean `{nearest}`?"));
        let message = format!("`{name}` is not a protocol; known are {}", known.join(", "));
        match hint {
            Some(hint) => cursor.refuse_with_hint(message, hint),
            None => cursor.refuse(message),
        }
    }
}

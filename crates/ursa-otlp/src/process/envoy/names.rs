//! The names of the conventions that Envoy's tags are given, and the names for what has no convention.

/// Room for the longest name and its head.
pub(in crate::process) const NAME_BYTES: usize = 32;

/// A name that is given here.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::process) struct Name {
    pub(in crate::process) text: &'static [u8],
    /// Its bit among those that a span has.
    pub(super) bit: u64,
    /// The field `KeyValue.key` that says it, and zeroes.
    pub(in crate::process) field: [u8; NAME_BYTES],
}

impl Name {
    const fn new(text: &'static [u8], bit: u32) -> Self {
        let mut field = [0; NAME_BYTES];
        let (head, rest) = field.split_at_mut(2);
        head.copy_from_slice(&[0x0a, text.len().to_le_bytes()[0]]);
        rest.split_at_mut(text.len()).0.copy_from_slice(text);
        Self { text, bit: 1 << bit, field }
    }

    /// Bytes of the field that says it.
    pub(in crate::process) fn field_length(&self) -> usize {
        self.text.len().wrapping_add(2)
    }
}

macro_rules! names {
    ($($constant:ident = $text:literal,)*) => {
        names!(@ 0, $($constant = $text,)*);
        /// Every name.
        pub(in crate::process) const NAMES: &[&Name] = &[$(&$constant,)*];
    };
    (@ $bit:expr, $constant:ident = $text:literal, $($rest:tt)*) => {
        pub(super) static $constant: Name = Name::new($text, $bit);
        names!(@ $bit + 1, $($rest)*);
    };
    (@ $bit:expr,) => {};
}

names! {
    CLIENT_ADDRESS = b"client.address",
    ERROR_TYPE = b"error.type",
    METHOD = b"http.request.method",
    METHOD_ORIGINAL = b"http.request.method_original",
    REQUEST_SIZE = b"http.request.body.size",
    RESEND_COUNT = b"http.request.resend_count",
    RESPONSE_SIZE = b"http.response.body.size",
    STATUS_CODE = b"http.response.status_code",
    PEER_ADDRESS = b"network.peer.address",
    PEER_PORT = b"network.peer.port",
    PROTOCOL_NAME = b"network.protocol.name",
    PROTOCOL_VERSION = b"network.protocol.version",
    GRPC_STATUS = b"rpc.grpc.status_code",
    RPC_METHOD = b"rpc.method",
    RPC_SERVICE = b"rpc.service",
    RPC_SYSTEM = b"rpc.system",
    SERVER_ADDRESS = b"server.address",
    SERVER_PORT = b"server.port",
    URL_FULL = b"url.full",
    URL_PATH = b"url.path",
    URL_QUERY = b"url.query",
    URL_SCHEME = b"url.scheme",
    USER_AGENT = b"user_agent.original",
    OWN_COMPONENT = b"envoy.component",
    OWN_CLIENT_TRACE_ID = b"envoy.client_trace_id",
    OWN_DOWNSTREAM_CLUSTER = b"envoy.downstream_cluster",
    OWN_ERROR_REASON = b"envoy.error.reason",
    OWN_GRPC_AUTHORITY = b"envoy.grpc.authority",
    OWN_GRPC_CONTENT_TYPE = b"envoy.grpc.content_type",
    OWN_GRPC_MESSAGE = b"envoy.grpc.message",
    OWN_GRPC_PATH = b"envoy.grpc.path",
    OWN_GRPC_TIMEOUT = b"envoy.grpc.timeout",
    OWN_NODE_ID = b"envoy.node_id",
    OWN_REQUEST_ID = b"envoy.request_id",
    OWN_RESPONSE_FLAGS = b"envoy.response_flags",
    OWN_STATUS = b"envoy.status",
    OWN_UPSTREAM_ADDRESS = b"envoy.upstream_address",
    OWN_UPSTREAM_CLUSTER = b"envoy.upstream_cluster",
    OWN_UPSTREAM_CLUSTER_NAME = b"envoy.upstream_cluster.name",
    OWN_ZONE = b"envoy.zone",
}

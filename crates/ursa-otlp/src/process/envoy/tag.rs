//! What each of Envoy's tags is, and what becomes of it.

use super::given::{Becomes, Given, New};
use super::names::{
    CLIENT_ADDRESS, ERROR_TYPE, GRPC_STATUS, METHOD, METHOD_ORIGINAL, NAMES, Name,
    OWN_CLIENT_TRACE_ID, OWN_COMPONENT, OWN_DOWNSTREAM_CLUSTER, OWN_ERROR_REASON,
    OWN_GRPC_AUTHORITY, OWN_GRPC_CONTENT_TYPE, OWN_GRPC_MESSAGE, OWN_GRPC_PATH, OWN_GRPC_TIMEOUT,
    OWN_NODE_ID, OWN_REQUEST_ID, OWN_RESPONSE_FLAGS, OWN_STATUS, OWN_UPSTREAM_ADDRESS,
    OWN_UPSTREAM_CLUSTER, OWN_UPSTREAM_CLUSTER_NAME, OWN_ZONE, PEER_ADDRESS, PEER_PORT,
    PROTOCOL_NAME, PROTOCOL_VERSION, REQUEST_SIZE, RESEND_COUNT, RESPONSE_SIZE, RPC_METHOD,
    RPC_SERVICE, RPC_SYSTEM, STATUS_CODE, URL_FULL, USER_AGENT,
};
use super::said::Said;
use super::url::{Url, host_and_port, service_and_method};

/// What a key of a span's means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::process) enum Tag {
    Component,
    Error,
    Flags,
    GrpcPath,
    GrpcStatus,
    Method,
    Peer,
    Protocol,
    Route,
    Status,
    Url,
    UserAgent,
    /// Becomes a number of this name.
    Number(&'static Name),
    /// Has no convention.
    Own(&'static Name),
    /// Is a name of the conventions, or one that is given here.
    Given(u64),
}

/// What a key means here. It is asked for every attribute.
#[inline(always)]
pub(in crate::process) fn tag(key: &[u8]) -> Option<Tag> {
    use Tag::{Number, Own};
    let tag = match key.len() {
        4 if key == b"zone" => Own(&OWN_ZONE),
        5 if key == b"error" => Tag::Error,
        6 if key == b"status" => Own(&OWN_STATUS),
        7 if key == b"node_id" => Own(&OWN_NODE_ID),
        8 if key == b"http.url" => Tag::Url,
        9 => match key {
            b"component" => Tag::Component,
            b"grpc.path" => Tag::GrpcPath,
            _ => return given(key),
        },
        10 => match key {
            b"user_agent" => Tag::UserAgent,
            b"http.route" => Tag::Route,
            _ => return given(key),
        },
        11 => match key {
            b"http.method" => Tag::Method,
            b"retry.count" => Number(&RESEND_COUNT),
            _ => return given(key),
        },
        12 => match key {
            b"peer.address" => Tag::Peer,
            b"request_size" => Number(&REQUEST_SIZE),
            b"grpc.timeout" => Own(&OWN_GRPC_TIMEOUT),
            b"grpc.message" => Own(&OWN_GRPC_MESSAGE),
            b"error.reason" => Own(&OWN_ERROR_REASON),
            _ => return None,
        },
        13 => match key {
            b"response_size" => Number(&RESPONSE_SIZE),
            b"http.protocol" => Tag::Protocol,
            _ => return None,
        },
        14 => match key {
            b"response_flags" => Tag::Flags,
            b"grpc.authority" => Own(&OWN_GRPC_AUTHORITY),
            _ => return given(key),
        },
        16 => match key {
            b"http.status_code" => Tag::Status,
            b"grpc.status_code" => Tag::GrpcStatus,
            b"upstream_cluster" => Own(&OWN_UPSTREAM_CLUSTER),
            b"upstream_address" => Own(&OWN_UPSTREAM_ADDRESS),
            _ => return given(key),
        },
        17 => match key {
            b"guid:x-request-id" => Own(&OWN_REQUEST_ID),
            b"grpc.content_type" => Own(&OWN_GRPC_CONTENT_TYPE),
            _ => return given(key),
        },
        18 if key == b"downstream_cluster" => Own(&OWN_DOWNSTREAM_CLUSTER),
        21 if key == b"upstream_cluster.name" => Own(&OWN_UPSTREAM_CLUSTER_NAME),
        22 if key == b"guid:x-client-trace-id" => Own(&OWN_CLIENT_TRACE_ID),
        _ => return given(key),
    };
    Some(tag)
}

fn given(key: &[u8]) -> Option<Tag> {
    if !matches!(key.first(), Some(b'c' | b'e' | b'h' | b'n' | b'r' | b's' | b'u')) {
        return None;
    }
    let name = NAMES.iter().find(|name| name.text.len() == key.len() && name.text == key)?;
    Some(Tag::Given(name.bit))
}

impl Tag {
    /// Whether it decides on what [`Tag::Error`] becomes.
    pub(in crate::process) fn tells_error(self) -> bool {
        matches!(self, Self::Status | Self::GrpcStatus | Self::Flags)
    }

    /// What becomes of an attribute of a span of Envoy's. `text`: its value, if that is text;
    /// `server`: the span is a server's.
    #[expect(clippy::inline_always, reason = "most of it is one of a few lines")]
    #[inline(always)]
    pub(in crate::process) fn convert<'t>(
        self,
        text: Option<&'t [u8]>,
        said: &Said<'t>,
        server: bool,
        given: &mut Given<'t>,
    ) -> Becomes<'t> {
        match self {
            Self::Given(_) | Self::Route => Becomes::Same,
            Self::Component => given.rename(&OWN_COMPONENT),
            Self::Flags => given.rename(&OWN_RESPONSE_FLAGS),
            Self::Own(name) => given.rename(name),
            Self::Number(name) => given.number(name, text),
            Self::Method if said.method.is_empty() || said.knows_method() => given.rename(&METHOD),
            Self::Method => {
                let becomes = given.rename(&METHOD_ORIGINAL);
                if let Becomes::Named(_) = becomes {
                    given.add(&METHOD, New::Text(b"_OTHER"));
                }
                becomes
            }
            // There was no response.
            Self::Status if text == Some(b"0") => Becomes::Gone,
            Self::Status => given.number(&STATUS_CODE, text),
            Self::UserAgent if text == Some(b"-") => Becomes::Gone,
            Self::UserAgent => given.rename(&USER_AGENT),
            Self::Protocol => protocol(text, given),
            Self::Peer => peer(text, server, given),
            Self::GrpcStatus => {
                let becomes = given.number(&GRPC_STATUS, text);
                given.add(&RPC_SYSTEM, New::Text(b"grpc"));
                becomes
            }
            Self::GrpcPath => grpc_path(text, given),
            Self::Url => url(text, server, given),
            Self::Error if text == Some(b"true") => {
                given.replace(&ERROR_TYPE, New::Text(said.error_type())).0
            }
            Self::Error => Becomes::Same,
        }
    }
}

#[inline(never)]
fn protocol<'t>(text: Option<&'t [u8]>, given: &mut Given<'t>) -> Becomes<'t> {
    let Some([b'H', b'T', b'T', b'P', b'/', version @ ..]) = text else { return Becomes::Same };
    let (becomes, renamed) = given.replace(&PROTOCOL_VERSION, New::Text(version));
    if renamed {
        given.add(&PROTOCOL_NAME, New::Text(b"http"));
    }
    becomes
}

#[inline(never)]
fn peer<'t>(text: Option<&'t [u8]>, server: bool, given: &mut Given<'t>) -> Becomes<'t> {
    let Some(text) = text else { return given.rename(&PEER_ADDRESS) };
    let (address, port) = match host_and_port(text) {
        Some((address, port)) => (address, Some(port)),
        None => (text, None),
    };
    let (becomes, renamed) = given.replace(&PEER_ADDRESS, New::Text(address));
    if !renamed {
        return becomes;
    }
    if let Some(port) = port {
        given.add(&PEER_PORT, New::Int(port));
    }
    if server {
        given.add_part(&CLIENT_ADDRESS, address);
    }
    becomes
}

#[inline(never)]
fn grpc_path<'t>(text: Option<&'t [u8]>, given: &mut Given<'t>) -> Becomes<'t> {
    let Some((service, method)) = text.and_then(service_and_method) else {
        return given.rename(&OWN_GRPC_PATH);
    };
    let (becomes, renamed) = given.replace(&RPC_METHOD, New::Text(method));
    if renamed {
        given.add(&RPC_SERVICE, New::Text(service));
    }
    given.add(&RPC_SYSTEM, New::Text(b"grpc"));
    becomes
}

#[inline(never)]
fn url<'t>(text: Option<&'t [u8]>, server: bool, given: &mut Given<'t>) -> Becomes<'t> {
    match text.and_then(Url::of) {
        Some(url) => url.give(server, given),
        None => given.rename(&URL_FULL),
    }
}

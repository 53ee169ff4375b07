//! Envoy's span tags in the names and types of OpenTelemetry's semantic conventions.
//!
//! Envoy 1.40, `source/common/tracing`: `HttpTracerUtility`, `TracingTagValues`. Every tag is text
//! there, and a span of Envoy's own has `component: proxy`. Conventions 1.37: HTTP, RPC, URL,
//! network, error.

use std::borrow::Cow;

use ursa_model::pipeline::processor::{SemanticConventions, SpanKind};

use super::list::{Attribute, List, State, Value};

/// Which conventions these are.
pub(super) const SCHEMA_URL: &[u8] = b"https://opentelemetry.io/schemas/1.37.0";
/// `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;
/// Methods of RFC 9110 and RFC 5789; others are `_OTHER`.
const METHODS: [&[u8]; 9] =
    [b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"PATCH", b"OPTIONS", b"CONNECT", b"TRACE"];

/// What a span says besides its attributes.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) name: Cow<'a, [u8]>,
    pub(super) kind: i32,
    pub(super) status: i32,
}

/// What becomes of Envoy's tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    Component,
    Error,
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

/// A name that is given here, and its bit among those that a span has.
#[derive(Debug, PartialEq, Eq)]
struct Name(&'static [u8], u64);

macro_rules! names {
    ($($constant:ident = $text:literal,)*) => {
        names!(@ 0, $($constant = $text,)*);
        /// Every name.
        const NAMES: &[&Name] = &[$(&$constant,)*];
    };
    (@ $bit:expr, $constant:ident = $text:literal, $($rest:tt)*) => {
        static $constant: Name = Name($text, 1 << $bit);
        names!(@ $bit + 1, $($rest)*);
    };
    (@ $bit:expr,) => {};
}

names! {
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

/// What a key means here.
#[inline]
fn tag(key: &[u8]) -> Option<Tag> {
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
            b"response_flags" => Own(&OWN_RESPONSE_FLAGS),
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
    if !matches!(key.first(), Some(b'e' | b'h' | b'n' | b'r' | b's' | b'u')) {
        return None;
    }
    let name = NAMES.iter().find(|name| name.0.len() == key.len() && name.0 == key)?;
    Some(Tag::Given(name.1))
}

/// The processor `semanticConventions: {from: envoy}`.
#[derive(Debug, Clone)]
pub(super) struct Conventions {
    span_names: bool,
}

/// Names given to one span.
struct Given {
    bits: u64,
}

impl Given {
    /// Whether the name is still free; from now on it is not.
    fn take(&mut self, name: &Name) -> bool {
        let free = self.bits & name.1 == 0;
        self.bits |= name.1;
        free
    }

    /// Adds an attribute, unless it is there.
    fn add<'a>(
        &mut self,
        list: &mut Vec<(&'a [u8], Value<'a>)>,
        name: &'static Name,
        value: Value<'a>,
    ) {
        if self.take(name) {
            list.push((name.0, value));
        }
    }

    /// Renames an attribute, unless the name is there; then it stays as it is.
    fn rename(&mut self, attribute: &mut Attribute<'_>, name: &'static Name) -> bool {
        let free = self.take(name);
        if free {
            attribute.rename(name.0);
        }
        free
    }

    /// Renames it and makes it a number; what is no number stays as it is.
    fn number(&mut self, attribute: &mut Attribute<'_>, name: &'static Name, made: &[Vec<u8>]) {
        match attribute.value.text(made) {
            None => {
                self.rename(attribute, name);
            }
            Some(text) => {
                if let Some(number) = number(text)
                    && self.rename(attribute, name)
                {
                    attribute.put(Value::Int(number));
                }
            }
        }
    }
}

impl Conventions {
    pub(super) fn new(spec: &SemanticConventions) -> Self {
        Self { span_names: spec.span_names.unwrap_or(true) }
    }

    /// Renames what a span of Envoy's says. Gives whether it was one.
    pub(super) fn apply<'a>(&self, list: &mut List<'a>, facts: &mut Facts<'a>) -> bool {
        let is_proxy = |attribute: &Attribute<'_>| {
            attribute.key == b"component" && list.text(attribute) == Some(b"proxy")
        };
        if !list.present().any(is_proxy) {
            return false;
        }
        let mut given = Given { bits: 0 };
        let mut failed = false;
        const NONE: Cow<'_, [u8]> = Cow::Borrowed(&[]);
        let [mut method, mut route, mut rpc] = [NONE; 3];
        let [mut status, mut grpc_status, mut flags] = [NONE; 3];
        let mut tags = [None; 48];
        // Attributes beyond these stay as they are; Envoy writes some twenty.
        for (attribute, place) in list.all.iter().zip(&mut tags) {
            if attribute.state == State::Removed {
                continue;
            }
            *place = tag(attribute.key);
            let text = || attribute.value.kept_text(&list.made).unwrap_or_default();
            match place {
                Some(Tag::Given(bit)) => given.bits |= *bit,
                Some(Tag::Method) => method = text(),
                Some(Tag::Route) => route = text(),
                Some(Tag::GrpcPath) => rpc = text(),
                Some(Tag::Status) => status = text(),
                Some(Tag::GrpcStatus) => grpc_status = text(),
                Some(Tag::Own(name)) if **name == OWN_RESPONSE_FLAGS => flags = text(),
                Some(Tag::Error) => failed |= *text() == *b"true",
                _ => {}
            }
        }
        for attribute in list.all.iter().skip(tags.len()) {
            if let Some(Tag::Given(bit)) = tag(attribute.key) {
                given.bits |= bit;
            }
        }
        let mut added = std::mem::take(&mut list.pending);
        for (attribute, tag) in list.all.iter_mut().zip(tags) {
            let Some(tag) = tag else { continue };
            match tag {
                Tag::Given(_) | Tag::Route => {}
                Tag::Component => {
                    given.rename(attribute, &OWN_COMPONENT);
                }
                Tag::Own(name) => {
                    given.rename(attribute, name);
                }
                Tag::Number(name) => given.number(attribute, name, &list.made),
                Tag::Method => {
                    if !METHODS.contains(&&*method) && !method.is_empty() {
                        if given.rename(attribute, &METHOD_ORIGINAL) {
                            given.add(&mut added, &METHOD, Value::Text(b"_OTHER"));
                        }
                    } else {
                        given.rename(attribute, &METHOD);
                    }
                }
                Tag::Status => match attribute.value.text(&list.made) {
                    // There was no response.
                    Some(b"0") => attribute.remove(),
                    _ => given.number(attribute, &STATUS_CODE, &list.made),
                },
                Tag::UserAgent => match attribute.value.text(&list.made) {
                    Some(b"-") => attribute.remove(),
                    _ => {
                        given.rename(attribute, &USER_AGENT);
                    }
                },
                Tag::Protocol => {
                    if let Some([b'H', b'T', b'T', b'P', b'/', version @ ..]) =
                        attribute.value.lasting_text()
                        && given.rename(attribute, &PROTOCOL_VERSION)
                    {
                        attribute.put(Value::Text(version));
                        given.add(&mut added, &PROTOCOL_NAME, Value::Text(b"http"));
                    }
                }
                Tag::Peer => {
                    if given.rename(attribute, &PEER_ADDRESS) {
                        let found = match attribute.value.kept_text(&list.made) {
                            Some(Cow::Borrowed(text)) => host_and_port(text)
                                .map(|(address, port)| (Cow::Borrowed(address), port)),
                            Some(Cow::Owned(text)) => host_and_port(&text)
                                .map(|(address, port)| (Cow::Owned(address.to_owned()), port)),
                            None => None,
                        };
                        if let Some((address, port)) = found {
                            attribute.put(Value::of(address, &mut list.made));
                            given.add(&mut added, &PEER_PORT, Value::Int(port));
                        }
                    }
                }
                Tag::GrpcStatus => {
                    given.number(attribute, &GRPC_STATUS, &list.made);
                    given.add(&mut added, &RPC_SYSTEM, Value::Text(b"grpc"));
                }
                Tag::GrpcPath => match service_and_method(attribute.value.lasting_text()) {
                    Some((service, method)) => {
                        if given.rename(attribute, &RPC_METHOD) {
                            attribute.put(Value::Text(method));
                            given.add(&mut added, &RPC_SERVICE, Value::Text(service));
                        }
                        given.add(&mut added, &RPC_SYSTEM, Value::Text(b"grpc"));
                    }
                    None => {
                        given.rename(attribute, &OWN_GRPC_PATH);
                    }
                },
                Tag::Url => {
                    let server = facts.kind == SpanKind::Server.number();
                    let parts = match attribute.value.kept_text(&list.made) {
                        Some(Cow::Borrowed(text)) => Url::of(text).map(|url| url.map(Value::Text)),
                        Some(Cow::Owned(text)) => Url::of(&text).map(|url| {
                            url.map(|part| Value::of(part.to_vec().into(), &mut list.made))
                        }),
                        None => None,
                    };
                    match parts {
                        Some(parts) => parts.give(attribute, server, &mut given, &mut added),
                        None => {
                            given.rename(attribute, &URL_FULL);
                        }
                    }
                }
                Tag::Error => {
                    if attribute.value.text(&list.made) == Some(b"true")
                        && given.rename(attribute, &ERROR_TYPE)
                    {
                        let error = error_type(&grpc_status, &status, &flags).clone();
                        attribute.put(Value::of(error, &mut list.made));
                    }
                }
            }
        }
        for (key, value) in added.drain(..) {
            list.add(key, value);
        }
        list.pending = added;
        list.changed = true;
        if failed && facts.status == 0 {
            facts.status = ERROR;
        }
        if self.span_names && is_default_name(&facts.name) {
            if service_and_method(Some(&rpc)).is_some() {
                facts.name = match rpc {
                    Cow::Borrowed(rpc) => Cow::Borrowed(rpc.get(1..).unwrap_or_default()),
                    Cow::Owned(mut rpc) => Cow::Owned(rpc.split_off(1)),
                };
            } else if !method.is_empty() {
                let known = METHODS.contains(&&*method);
                let method = if known { method } else { Cow::Borrowed(&b"HTTP"[..]) };
                facts.name = if route.is_empty() {
                    method
                } else {
                    [&*method, b" ", &*route].concat().into()
                };
            }
        }
        true
    }
}

/// A URL, taken apart.
struct Url<T> {
    scheme: Option<T>,
    path: T,
    query: Option<T>,
    host: Option<T>,
    port: Option<i64>,
}

impl<'t> Url<&'t [u8]> {
    /// Who is named before the host is left out.
    fn of(text: &'t [u8]) -> Option<Self> {
        let (scheme, rest) = split_at(text, b"://")?;
        let path = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
        let (authority, path) = rest.split_at(path.unwrap_or(rest.len()));
        let user = authority.iter().rposition(|byte| *byte == b'@');
        let host = user.and_then(|at| authority.get(at.saturating_add(1)..)).unwrap_or(authority);
        let query = path.iter().position(|byte| *byte == b'?');
        let (path, query) = path.split_at(query.unwrap_or(path.len()));
        let (host, port) = match host_and_port(host) {
            Some((host, port)) => (host, Some(port)),
            None => (host, None),
        };
        let some = |part: &'t [u8]| Some(part).filter(|part| !part.is_empty());
        let query = query.get(1..).and_then(some);
        Some(Self { scheme: some(scheme), path, query, host: some(host), port })
    }

    fn map<T>(self, mut value: impl FnMut(&'t [u8]) -> T) -> Url<T> {
        Url {
            scheme: self.scheme.map(&mut value),
            path: value(self.path),
            query: self.query.map(&mut value),
            host: self.host.map(&mut value),
            port: self.port,
        }
    }
}

impl<'a> Url<Value<'a>> {
    /// `http.url`: for a server its parts, for others the whole; for both whom it names.
    fn give(
        self,
        attribute: &mut Attribute<'a>,
        server: bool,
        given: &mut Given,
        added: &mut Vec<(&'a [u8], Value<'a>)>,
    ) {
        if !server {
            given.rename(attribute, &URL_FULL);
        } else if given.rename(attribute, &URL_PATH) {
            attribute.put(self.path);
            for (name, part) in [(&URL_QUERY, self.query), (&URL_SCHEME, self.scheme)] {
                if let Some(part) = part {
                    given.add(added, name, part);
                }
            }
        }
        if let Some(host) = self.host {
            given.add(added, &SERVER_ADDRESS, host);
        }
        if let Some(port) = self.port {
            given.add(added, &SERVER_PORT, Value::Int(port));
        }
    }
}

/// `error.type`: a class of errors, few in number.
fn error_type<'t, 'a>(
    grpc_status: &'t Cow<'a, [u8]>,
    status: &'t Cow<'a, [u8]>,
    flags: &'t Cow<'a, [u8]>,
) -> &'t Cow<'a, [u8]> {
    const OTHER: &Cow<'static, [u8]> = &Cow::Borrowed(b"_OTHER");
    match (&**grpc_status, &**status, &**flags) {
        ([_, ..], _, _) if **grpc_status != *b"0" => grpc_status,
        (_, [b'4' | b'5', ..], _) => status,
        (_, _, [] | [b'-']) => OTHER,
        _ => flags,
    }
}

/// Names that Envoy gives when nobody named the operation.
fn is_default_name(name: &[u8]) -> bool {
    matches!(name, b"ingress" | b"egress") || name.starts_with(b"egress ")
}

/// `/package.Service/Method`.
fn service_and_method(path: Option<&[u8]>) -> Option<(&[u8], &[u8])> {
    let [b'/', path @ ..] = path? else { return None };
    let (service, method) = split_at(path, b"/")?;
    let whole = !service.is_empty() && !method.is_empty();
    (whole && !method.iter().any(|byte| matches!(byte, b'/' | b'?'))).then_some((service, method))
}

/// `host:port`, `1.2.3.4:80`, `[::1]:80`. An IPv6 address without brackets has no port.
fn host_and_port(authority: &[u8]) -> Option<(&[u8], i64)> {
    let colon = authority.iter().rposition(|byte| *byte == b':')?;
    let (host, port) = authority.split_at(colon);
    let [b':', port @ ..] = port else { return None };
    let port = number(port).filter(|port| *port <= i64::from(u16::MAX))?;
    match host {
        [b'[', host @ .., b']'] => Some((host, port)),
        _ if host.is_empty() || host.contains(&b':') => None,
        _ => Some((host, port)),
    }
}

fn split_at<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(mark.len()).position(|window| window == mark)?;
    let (before, after) = text.split_at(at);
    Some((before, after.get(mark.len()..)?))
}

/// A number of digits only.
fn number(text: &[u8]) -> Option<i64> {
    if !text.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

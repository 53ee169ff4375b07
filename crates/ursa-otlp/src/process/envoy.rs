//! Envoy's span tags in the names and types of OpenTelemetry's semantic conventions.
//!
//! Envoy 1.40, `source/common/tracing`: `HttpTracerUtility`, `TracingTagValues`. Every tag is text
//! there, and a span of Envoy's own has `component: proxy`. Conventions 1.37: HTTP, RPC, URL,
//! network, error.

use std::borrow::Cow;

use ursa_model::pipeline::processor::{SemanticConventions, SpanKind};

use super::list::{List, State, Value};

/// Which conventions these are.
pub(super) const SCHEMA_URL: &[u8] = b"https://opentelemetry.io/schemas/1.37.0";
/// `STATUS_CODE_ERROR`.
pub(super) const ERROR: i32 = 2;
/// Attributes of a span that are converted; those beyond stay.
pub(super) const MOST_TAGS: usize = 48;
/// What a span says besides its attributes.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) name: Cow<'a, [u8]>,
    pub(super) kind: i32,
    pub(super) status: i32,
}

/// What a key of a span's means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
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

/// Room for the longest name and its head.
pub(super) const NAME_BYTES: usize = 32;

/// A name that is given here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) text: &'static [u8],
    /// Its bit among those that a span has.
    bit: u64,
    /// The field `KeyValue.key` that says it, and zeroes.
    pub(super) field: [u8; NAME_BYTES],
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
    pub(super) fn field_length(&self) -> usize {
        self.text.len().wrapping_add(2)
    }
}

macro_rules! names {
    ($($constant:ident = $text:literal,)*) => {
        names!(@ 0, $($constant = $text,)*);
        /// Every name.
        pub(super) const NAMES: &[&Name] = &[$(&$constant,)*];
    };
    (@ $bit:expr, $constant:ident = $text:literal, $($rest:tt)*) => {
        static $constant: Name = Name::new($text, $bit);
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

/// What a key means here. It is asked for every attribute.
#[inline(always)]
pub(super) fn tag(key: &[u8]) -> Option<Tag> {
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

/// The processor `semanticConventions: {from: envoy}`.
#[derive(Debug, Clone)]
pub(super) struct Conventions {
    span_names: bool,
}

/// What becomes of an attribute.
#[derive(Debug, Clone, Copy)]
pub(super) enum Becomes<'t> {
    /// It stays as it is.
    Same,
    /// It is taken off.
    Gone,
    /// It has another name, and the value that it had.
    Named(&'static Name),
    /// It has another name and another value.
    Valued(&'static Name, New<'t>),
}

/// A value that is given here.
#[derive(Debug, Clone, Copy)]
pub(super) enum New<'t> {
    Text(&'t [u8]),
    Int(i64),
}

/// Attributes that one span can be given: a bit more than [`Tag`]s give.
const MOST_ADDED: usize = 12;

/// Names given to one span, and the attributes that are added to it.
#[derive(Debug, Default)]
pub(super) struct Given<'t> {
    bits: u64,
    added: [Option<(&'static Name, New<'t>)>; MOST_ADDED],
    count: usize,
}

impl<'t> Given<'t> {
    pub(super) fn added(&self) -> impl Iterator<Item = (&'static Name, New<'t>)> {
        self.added.iter().take(self.count).copied().flatten()
    }

    /// Whether the name is still free; from now on it is not.
    pub(super) fn take(&mut self, name: &Name) -> bool {
        let free = self.bits & name.bit == 0;
        self.bits |= name.bit;
        free
    }

    /// Adds an attribute, unless it is there.
    fn add(&mut self, name: &'static Name, value: New<'t>) {
        if self.take(name)
            && let Some(place) = self.added.get_mut(self.count)
        {
            *place = Some((name, value));
            self.count = self.count.saturating_add(1);
        }
    }

    fn add_part(&mut self, name: &'static Name, part: &'t [u8]) {
        if !part.is_empty() {
            self.add(name, New::Text(part));
        }
    }

    /// Renames an attribute, unless the name is there; then it stays as it is.
    fn rename(&mut self, name: &'static Name) -> Becomes<'t> {
        if self.take(name) { Becomes::Named(name) } else { Becomes::Same }
    }

    /// Renames an attribute and gives it a value; false if the name is there.
    fn replace(&mut self, name: &'static Name, value: New<'t>) -> (Becomes<'t>, bool) {
        let free = self.take(name);
        (if free { Becomes::Valued(name, value) } else { Becomes::Same }, free)
    }

    /// Renames it and makes it a number; what is no number stays as it is.
    fn number(&mut self, name: &'static Name, text: Option<&[u8]>) -> Becomes<'t> {
        match text {
            None => self.rename(name),
            Some(text) => match number(text) {
                Some(number) => self.replace(name, New::Int(number)).0,
                None => Becomes::Same,
            },
        }
    }
}

/// What the tags of a span say that is needed for others of them. Of a tag that is there twice the
/// last one counts.
#[derive(Debug, Default)]
pub(super) struct Said<'t> {
    method: &'t [u8],
    route: &'t [u8],
    rpc: &'t [u8],
    status: &'t [u8],
    grpc_status: &'t [u8],
    flags: &'t [u8],
    pub(super) failed: bool,
}

impl<'t> Said<'t> {
    #[inline]
    pub(super) fn hear(&mut self, tag: Tag, text: Option<&'t [u8]>) {
        let text = text.unwrap_or_default();
        match tag {
            Tag::Method => self.method = text,
            Tag::Route => self.route = text,
            Tag::GrpcPath => self.rpc = text,
            Tag::Status => self.status = text,
            Tag::GrpcStatus => self.grpc_status = text,
            Tag::Flags => self.flags = text,
            Tag::Error => self.failed |= text == b"true",
            _ => {}
        }
    }

    /// Whether it is one of RFC 9110 or RFC 5789; others are `_OTHER`.
    fn knows_method(&self) -> bool {
        matches!(
            self.method,
            b"GET"
                | b"POST"
                | b"PUT"
                | b"HEAD"
                | b"DELETE"
                | b"PATCH"
                | b"OPTIONS"
                | b"CONNECT"
                | b"TRACE"
        )
    }

    /// Whether the request failed: by Envoy's word, or by the conventions' rules. Of HTTP that is a
    /// status of 5xx, and for who asked 4xx too; of gRPC what is the server's fault, and for who asked
    /// all that is not OK.
    fn fails(&self, server: bool) -> bool {
        let http = match self.status {
            [b'4', _, _] => !server,
            [b'5', _, _] => true,
            _ => false,
        };
        let grpc = match self.grpc_status {
            b"" | b"0" => false,
            // UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
            b"2" | b"4" | b"12" | b"13" | b"14" | b"15" => true,
            _ => !server,
        };
        self.failed || http || grpc
    }

    /// When all was heard: whether the request failed; then `error.type` says how.
    pub(super) fn conclude(&self, server: bool, given: &mut Given<'t>) -> bool {
        let fails = self.fails(server);
        if fails {
            given.add(&ERROR_TYPE, New::Text(self.error_type()));
        }
        fails
    }

    /// `error.type`: a class of errors, few in number.
    fn error_type(&self) -> &'t [u8] {
        match (self.grpc_status, self.status, self.flags) {
            ([_, ..], _, _) if self.grpc_status != b"0" => self.grpc_status,
            (_, [b'4' | b'5', ..], _) => self.status,
            (_, _, [] | [b'-']) => b"_OTHER",
            _ => self.flags,
        }
    }
}

impl Tag {
    /// Whether it decides on what [`Tag::Error`] becomes.
    pub(super) fn tells_error(self) -> bool {
        matches!(self, Self::Status | Self::GrpcStatus | Self::Flags)
    }

    /// What becomes of an attribute of a span of Envoy's. `text`: its value, if that is text;
    /// `server`: the span is a server's.
    #[expect(clippy::inline_always, reason = "most of it is one of a few lines")]
    #[inline(always)]
    pub(super) fn convert<'t>(
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

/// Whether Envoy made the span that has these attributes.
pub(super) fn made(list: &List<'_>) -> bool {
    list.present()
        .any(|attribute| attribute.key == b"component" && list.text(attribute) == Some(b"proxy"))
}

impl Conventions {
    pub(super) fn new(spec: &SemanticConventions) -> Self {
        Self { span_names: spec.span_names.unwrap_or(true) }
    }

    /// Renames what a span of Envoy's says. Gives whether it was one.
    pub(super) fn apply<'a>(&self, list: &mut List<'a>, facts: &mut Facts<'a>) -> bool {
        if !made(list) {
            return false;
        }
        if list.made.is_empty() {
            self.rename(list, &[], facts, |text, _| Value::Text(text));
        } else {
            let made = list.made.clone();
            self.rename(list, &made, facts, |text, made| Value::made(text.to_vec(), made));
        }
        true
    }

    /// `keep` makes a text that stands in the request or in `made`, a copy of what was made, a value.
    fn rename<'a: 't, 't>(
        &self,
        list: &mut List<'a>,
        made: &'t [Vec<u8>],
        facts: &mut Facts<'a>,
        keep: impl Fn(&'t [u8], &mut Vec<Vec<u8>>) -> Value<'a>,
    ) {
        let server = facts.kind == SpanKind::Server.number();
        let (mut given, mut said) = (Given::default(), Said::default());
        let mut tags = [None; MOST_TAGS];
        // Attributes beyond these stay as they are; Envoy writes some twenty.
        for (index, attribute) in list.all.iter().enumerate() {
            if attribute.state == State::Removed {
                continue;
            }
            let tag = tag(attribute.key);
            if let Some(Tag::Given(bit)) = tag {
                given.bits |= bit;
            }
            if let (Some(place), Some(tag)) = (tags.get_mut(index), tag) {
                said.hear(tag, attribute.value.text(made));
                *place = Some(tag);
            }
        }
        for (attribute, tag) in list.all.iter_mut().zip(tags) {
            let Some(tag) = tag else { continue };
            match tag.convert(attribute.value.text(made), &said, server, &mut given) {
                Becomes::Same => {}
                Becomes::Gone => attribute.remove(),
                Becomes::Named(name) => attribute.rename(name.text),
                Becomes::Valued(name, value) => {
                    attribute.rename(name.text);
                    attribute.put(match value {
                        New::Int(number) => Value::Int(number),
                        New::Text(text) => keep(text, &mut list.made),
                    });
                }
            }
        }
        if said.conclude(server, &mut given) && facts.status == 0 {
            facts.status = ERROR;
        }
        for (name, value) in given.added() {
            let value = match value {
                New::Int(number) => Value::Int(number),
                New::Text(text) => keep(text, &mut list.made),
            };
            list.add(name.text, value);
        }
        list.changed = true;
        if let Some(name) = self.name(&facts.name, &said) {
            facts.name = Cow::Owned(name.concat());
        }
    }

    /// The span's new name, in pieces; none if it keeps the one that it has.
    pub(super) fn name<'t>(&self, now: &[u8], said: &Said<'t>) -> Option<[&'t [u8]; 3]> {
        if !self.span_names || !is_default_name(now) {
            return None;
        }
        if service_and_method(said.rpc).is_some() {
            return Some([said.rpc.get(1..)?, b"", b""]);
        }
        if said.method.is_empty() {
            return None;
        }
        let method = if said.knows_method() { said.method } else { b"HTTP" };
        let space: &[u8] = if said.route.is_empty() { b"" } else { b" " };
        Some([method, space, said.route])
    }
}

/// A URL, taken apart. A part that is empty is not there, but for the path.
struct Url<'t> {
    scheme: &'t [u8],
    path: &'t [u8],
    query: &'t [u8],
    host: &'t [u8],
    port: Option<i64>,
}

impl<'t> Url<'t> {
    /// Who is named before the host is left out.
    fn of(text: &'t [u8]) -> Option<Self> {
        let (scheme, rest) = match text {
            [b'h', b't', b't', b'p', b':', b'/', b'/', rest @ ..] => (&b"http"[..], rest),
            _ => split_at(text, b"://")?,
        };
        let (mut user, mut end) = (0_usize, rest.len());
        for (at, byte) in rest.iter().enumerate() {
            match byte {
                b'/' | b'?' | b'#' => {
                    end = at;
                    break;
                }
                b'@' => user = at.wrapping_add(1),
                _ => {}
            }
        }
        let (authority, path) = rest.split_at_checked(end)?;
        let host = authority.get(user..)?;
        let query = path.iter().position(|byte| *byte == b'?');
        let (path, query) = path.split_at(query.unwrap_or(path.len()));
        let (host, port) = match host_and_port(host) {
            Some((host, port)) => (host, Some(port)),
            None => (host, None),
        };
        Some(Self { scheme, path, query: query.get(1..).unwrap_or_default(), host, port })
    }

    /// `http.url`: for a server its parts, for others the whole; for both whom it names.
    fn give(self, server: bool, given: &mut Given<'t>) -> Becomes<'t> {
        let becomes = if server {
            let (becomes, renamed) = given.replace(&URL_PATH, New::Text(self.path));
            if renamed {
                given.add_part(&URL_QUERY, self.query);
                given.add_part(&URL_SCHEME, self.scheme);
            }
            becomes
        } else {
            given.rename(&URL_FULL)
        };
        given.add_part(&SERVER_ADDRESS, self.host);
        if let Some(port) = self.port {
            given.add(&SERVER_PORT, New::Int(port));
        }
        becomes
    }
}

/// Names that Envoy gives when nobody named the operation.
fn is_default_name(name: &[u8]) -> bool {
    matches!(name, b"ingress" | b"egress") || name.starts_with(b"egress ")
}

/// `/package.Service/Method`.
fn service_and_method(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let [b'/', path @ ..] = path else { return None };
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
    let digits = Some(text).filter(|text| !text.is_empty())?;
    digits.iter().try_fold(0_i64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        let digit = Some(digit).filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(i64::from(digit))
    })
}

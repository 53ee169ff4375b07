//! OTLP's spans as Zipkin's.

use std::net::IpAddr;

use super::span::{Endpoint, Kind, Number, Port, Span, SpanId, Text, TraceId};
use super::to_otlp::{DEBUG, EndpointNames, LINK, LOCAL, PEER_SERVICE, REMOTE, SHARED};
use super::{ZipkinError, end, write};
use crate::spans::{self, Any, Shared, for_each_span, kind, names, status};

/// Attributes that name the other side, best first. "Remote endpoint" ranks them.
const PEER_NAMES: [&str; 7] = [
    "server.address",
    "net.peer.name",
    "server.socket.domain",
    "net.sock.peer.name",
    "peer.hostname",
    "peer.address",
    "db.name",
];
/// Attributes that hold the other side's address and port, best first.
const PEER_ADDRESSES: [(&str, &str); 3] = [
    (REMOTE.address, REMOTE.port),
    ("server.socket.address", "server.socket.port"),
    ("net.sock.peer.addr", "net.sock.peer.port"),
];

/// How much of a trace's id is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceIds {
    /// All 128 bits.
    Whole,
    /// The lower 64 bits, as tracers have it that know no more.
    Lower,
}

impl TraceIds {
    /// Whole ones, or else lower ones.
    pub fn of_128_bits(whole: bool) -> Self {
        if whole { Self::Whole } else { Self::Lower }
    }

    fn of(self, id: u128) -> u128 {
        match self {
            Self::Whole => id,
            Self::Lower => id & u128::from(u64::MAX),
        }
    }
}

/// An `ExportTraceServiceRequest` that was checked, as a list of v2 JSON, and how many spans that has.
/// Spans without valid ids, which Zipkin has no place for, are left out.
///
/// # Errors
/// The list would be longer than `limit` bytes: attributes of a resource are said again with each
/// of its spans.
pub fn from_otlp(
    request: &[u8],
    ids: TraceIds,
    limit: usize,
) -> Result<(Vec<u8>, usize), ZipkinError> {
    let mut out = Vec::new();
    let mut spans = 0_usize;
    for_each_span(request, |shared, span| {
        if let Some(span) = zipkin(shared, span, ids) {
            write(&mut out, &span);
            spans = spans.saturating_add(1);
        }
        if out.len() > limit { Err(ZipkinError::TooLarge { limit }) } else { Ok(()) }
    })?;
    Ok((end(out), spans))
}

/// None if the span has no ids.
fn zipkin<'a>(shared: &Shared<'a>, from: spans::Span<'a>, ids: TraceIds) -> Option<Span<'a>> {
    let trace_id = TraceId(ids.of(u128::from_be_bytes(from.trace_id)));
    let id = SpanId(u64::from_be_bytes(from.span_id));
    if trace_id.0 == 0 || id.0 == 0 {
        return None;
    }
    let mut span = Span::new(trace_id, id);
    let parent = u64::from_be_bytes(from.parent_span_id);
    span.parent_id = (parent != 0).then_some(SpanId(parent));
    span.name = (!from.name.is_empty()).then(|| from.name.into());
    span.kind = match from.kind {
        kind::CLIENT => Some(Kind::Client),
        kind::SERVER => Some(Kind::Server),
        kind::PRODUCER => Some(Kind::Producer),
        kind::CONSUMER => Some(Kind::Consumer),
        _ => None,
    };
    span.timestamp = micros(from.start);
    // Zipkin rounds up what is shorter than its unit; 0 is no duration.
    let duration = from.end.saturating_sub(from.start);
    span.duration = micros(if (1..1000).contains(&duration) { 1000 } else { duration });

    let mut attributes = shared.clone();
    attributes.extend(from.attributes());
    for (field, name) in [(&mut span.debug, DEBUG), (&mut span.shared, SHARED)] {
        if attributes.get(name) == Some(&Any::Bool(true)) {
            attributes.remove(name);
            *field = Some(true);
        }
    }
    let service = attributes.remove(names::SERVICE_NAME).map(Any::to_text);
    let service = service.filter(|name| !name.is_empty());
    let mut local = take_endpoint(&mut attributes, &LOCAL);
    local.service_name = Some(service.unwrap_or(names::UNKNOWN_SERVICE.into()).into());
    span.local_endpoint = Some(local);
    let remote = remote_endpoint(&mut attributes, span.kind);
    span.remote_endpoint = Some(remote).filter(|remote| !remote.is_empty());

    match from.status_code {
        status::OK => {
            attributes.insert(names::STATUS_CODE, Any::Text("OK"));
        }
        status::ERROR => {
            attributes.insert(names::STATUS_CODE, Any::Text("ERROR"));
            let said = matches!(attributes.get("error"), Some(Any::Bool(true) | Any::Text("true")));
            if !said || !from.status_message.is_empty() {
                attributes.insert("error", Any::Text(from.status_message));
            }
        }
        _ => {}
    }
    if matches!(attributes.get("error"), Some(Any::Bool(false) | Any::Text("false"))) {
        attributes.remove("error");
    }
    if !from.trace_state.is_empty() {
        attributes.insert(names::TRACE_STATE, Any::Text(from.trace_state));
    }
    attributes.extend(from.dropped().map(|(name, count)| (name, Any::Int(count.cast_signed()))));
    for (key, value) in attributes {
        span.tag(key, value.to_text());
    }
    for (number, link) in from.links().enumerate() {
        let trace = ids.of(u128::from_be_bytes(link.trace_id));
        let id = u64::from_be_bytes(link.span_id);
        let (state, attributes, dropped) = (link.trace_state, link.json(), link.dropped);
        span.tag(
            format!("{LINK}{number}"),
            format!("{trace:032x}|{id:016x}|{state}|{attributes}|{dropped}"),
        );
    }
    for event in from.events() {
        let value: Text<'a> = match event.json() {
            Some(attributes) => format!("\"{}\": {attributes}", event.name).into(),
            None => event.name.into(),
        };
        // Zipkin takes no annotation without a time.
        span.annotate(micros(event.time).unwrap_or(Number(1)), value);
    }
    Some(span)
}

fn micros(nanos: u64) -> Option<Number> {
    nanos.checked_div(1000).filter(|micros| *micros > 0).map(Number)
}

fn port(value: Option<&Any<'_>>) -> Option<Port> {
    let port = match value? {
        Any::Int(port) => u16::try_from(*port).ok(),
        Any::Text(port) => port.parse().ok(),
        _ => None,
    };
    port.filter(|port| *port > 0).map(Port)
}

fn address(value: Option<&Any<'_>>) -> Option<IpAddr> {
    match value? {
        Any::Text(address) => address.parse().ok(),
        _ => None,
    }
}

/// Address and port from the attributes that are theirs alone, which are taken out.
fn take_endpoint<'a>(attributes: &mut Shared<'a>, names: &EndpointNames) -> Endpoint<'a> {
    let mut endpoint = Endpoint::default();
    for name in [names.ipv6, names.address] {
        if let Some(address) = address(attributes.get(name)) {
            attributes.remove(name);
            endpoint.set_address(address);
        }
    }
    endpoint.port = port(attributes.get(names.port));
    if endpoint.port.is_some() {
        attributes.remove(names.port);
    }
    endpoint
}

/// The other side. Attributes that say more than an endpoint can hold stay tags, too.
fn remote_endpoint<'a>(attributes: &mut Shared<'a>, kind: Option<Kind>) -> Endpoint<'a> {
    let mut remote = take_endpoint(attributes, &REMOTE);
    if let Some(Any::Text(name)) = attributes.get(PEER_SERVICE).copied()
        && !name.is_empty()
    {
        attributes.remove(PEER_SERVICE);
        remote.service_name = Some(name.into());
    }
    // A server's own address is not the other side's.
    if !matches!(kind, Some(Kind::Client | Kind::Producer)) {
        return remote;
    }
    if remote.ipv4.is_none() && remote.ipv6.is_none() {
        let found = PEER_ADDRESSES.into_iter().find_map(|(name, port_name)| {
            Some((address(attributes.get(name))?, port(attributes.get(port_name))))
        });
        if let Some((address, port)) = found {
            remote.set_address(address);
            remote.port = remote.port.or(port);
        }
    }
    if remote.service_name.is_none() {
        let names = PEER_NAMES.into_iter().chain(PEER_ADDRESSES.map(|(address, _)| address));
        let mut named = names.filter_map(|name| match attributes.get(name).copied()? {
            Any::Text(text) if !text.is_empty() => Some((name, text)),
            _ => None,
        });
        if let Some((name, text)) = named.next() {
            remote.service_name = Some(text.into());
            if name == "server.address" && remote.port.is_none() {
                remote.port = port(attributes.get("server.port"));
            }
        }
    }
    remote
}

//! Zipkin's spans as OTLP.

use std::net::IpAddr;

use super::span::{Endpoint, Kind, Number, Span};
use super::{ZipkinError, spans};
use crate::spans::{
    Any, Groups, Resource, Scope, attribute, bytes, fixed64, kind, names, status, text, varint,
};
use crate::wire::fields::put_bytes;

/// Attributes for what has no place in OTLP.
pub(super) const DEBUG: &str = "zipkin.debug";
pub(super) const SHARED: &str = "zipkin.shared";
/// Tags that hold links, each with its number behind.
pub(super) const LINK: &str = "otlp.link.";
/// Fields of a link's tag.
const LINK_FIELDS: usize = 5;

/// The attributes that an endpoint becomes.
#[derive(Debug)]
pub(super) struct EndpointNames {
    pub(super) address: &'static str,
    pub(super) port: &'static str,
    /// The IPv6 address, when there is an IPv4 address too.
    pub(super) ipv6: &'static str,
}

pub(super) const LOCAL: EndpointNames = EndpointNames {
    address: "network.local.address",
    port: "network.local.port",
    ipv6: "zipkin.local.ipv6",
};
pub(super) const REMOTE: EndpointNames = EndpointNames {
    address: "network.peer.address",
    port: "network.peer.port",
    ipv6: "zipkin.remote.ipv6",
};
pub(super) const PEER_SERVICE: &str = "peer.service";

/// A list of v2 JSON as an `ExportTraceServiceRequest`, spans gathered by service.
///
/// # Errors
/// It is not such a list.
pub fn to_otlp(list: &[u8]) -> Result<Vec<u8>, ZipkinError> {
    let mut groups = Groups::default();
    let mut body = Vec::new();
    for span in spans(list)? {
        let (_, span) = span?;
        let mut scope = Scope::default();
        body.clear();
        write(&span, &mut scope, &mut body);
        let service = span.local_endpoint.as_ref().map(Endpoint::service).unwrap_or_default();
        let resource = Resource { service: service.to_owned(), ..Resource::default() };
        groups.add(resource, scope, &body);
    }
    Ok(groups.into_request())
}

/// Writes the fields of an OTLP span; what its tags say of the scope goes there.
fn write(span: &Span<'_>, scope: &mut Scope, out: &mut Vec<u8>) {
    let nanos = |micros: Option<Number>| micros.map_or(0, |Number(us)| us.saturating_mul(1000));
    bytes(out, 1, &span.trace_id.0.to_be_bytes());
    bytes(out, 2, &span.id.0.to_be_bytes());
    if let Some(parent) = span.parent_id.filter(|parent| parent.0 != 0 && *parent != span.id) {
        bytes(out, 4, &parent.0.to_be_bytes());
    }
    text(out, 5, span.name.as_ref().map(|name| &*name.0).unwrap_or_default());
    let kind = match span.kind {
        None => kind::INTERNAL,
        Some(Kind::Client) => kind::CLIENT,
        Some(Kind::Server) => kind::SERVER,
        Some(Kind::Producer) => kind::PRODUCER,
        Some(Kind::Consumer) => kind::CONSUMER,
    };
    varint(out, 6, kind);
    let start = nanos(span.timestamp);
    fixed64(out, 7, start);
    fixed64(out, 8, start.saturating_add(nanos(span.duration)));

    let mut outcome = Outcome::default();
    for (key, value) in span.tags() {
        let (key, value) = (&*key.0, &*value.0);
        let count = || value.parse::<u32>().unwrap_or(0).into();
        match key {
            names::SCOPE_NAME => value.clone_into(&mut scope.name),
            names::SCOPE_VERSION => value.clone_into(&mut scope.version),
            names::TRACE_STATE => text(out, 3, value),
            names::DROPPED_ATTRIBUTES => varint(out, 10, count()),
            names::DROPPED_EVENTS => varint(out, 12, count()),
            names::DROPPED_LINKS => varint(out, 14, count()),
            _ if outcome.take(key, value) => {}
            _ if key.starts_with(LINK) && link(value, out).is_some() => {}
            _ => attribute(out, 9, key, Any::Text(value)),
        }
    }
    outcome.write(out);
    for (key, flag) in [(DEBUG, span.debug), (SHARED, span.shared)] {
        if flag == Some(true) {
            attribute(out, 9, key, Any::Bool(true));
        }
    }
    let missing = |key: &str| span.tags().iter().all(|(tag, _)| tag.0 != key);
    for (endpoint, names) in [(&span.local_endpoint, LOCAL), (&span.remote_endpoint, REMOTE)] {
        if let Some(endpoint) = endpoint {
            write_endpoint(endpoint, &names, missing, out);
        }
    }
    let peer = span.remote_endpoint.as_ref().map(Endpoint::service).unwrap_or_default();
    if !peer.is_empty() && missing(PEER_SERVICE) {
        attribute(out, 9, PEER_SERVICE, Any::Text(peer));
    }

    let mut event = Vec::new();
    for annotation in span.annotations.iter().flatten() {
        event.clear();
        fixed64(&mut event, 1, nanos(Some(annotation.timestamp)));
        text(&mut event, 2, &annotation.value.0);
        put_bytes(out, 11, &event);
    }
}

fn write_endpoint(
    endpoint: &Endpoint<'_>,
    names: &EndpointNames,
    missing: impl Fn(&str) -> bool,
    out: &mut Vec<u8>,
) {
    let (v4, v6) = endpoint.addresses();
    if let Some(address) = v4.map(IpAddr::from).or(v6.map(IpAddr::from))
        && missing(names.address)
    {
        attribute(out, 9, names.address, Any::Text(&address.to_string()));
    }
    if let (Some(_), Some(v6)) = (v4, v6) {
        attribute(out, 9, names.ipv6, Any::Text(&v6.to_string()));
    }
    if let Some(port) = endpoint.port.filter(|port| port.0 != 0)
        && missing(names.port)
    {
        attribute(out, 9, names.port, Any::Int(port.0.into()));
    }
}

/// The status that tags tell. To Zipkin, a span with the tag `error` failed.
#[derive(Debug, Default)]
struct Outcome<'a> {
    code: u64,
    message: &'a str,
}

impl<'a> Outcome<'a> {
    /// Whether the tag was one of the status.
    fn take(&mut self, key: &str, value: &'a str) -> bool {
        match (key, value) {
            ("error", "false") => return false,
            // No words, so it stays the tag that it is.
            ("error", "true") => {
                self.code = status::ERROR;
                return false;
            }
            ("error", value) => {
                self.code = status::ERROR;
                self.message = value;
            }
            // An error is not taken back.
            (names::STATUS_CODE, "OK") => self.code = self.code.max(status::OK),
            (names::STATUS_CODE, "ERROR") => self.code = status::ERROR,
            _ => return false,
        }
        true
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut status = Vec::new();
        text(&mut status, 2, self.message);
        varint(&mut status, 3, self.code);
        bytes(out, 15, &status);
    }
}

/// Writes the link of a tag `trace|span|state|attributes|dropped`, or nothing if it is none.
fn link(value: &str, out: &mut Vec<u8>) -> Option<()> {
    let mut parts = value.splitn(LINK_FIELDS.saturating_sub(1), '|');
    let (trace, span, state) = (parts.next()?, parts.next()?, parts.next()?);
    // The attributes may hold the separator.
    let (attributes, dropped) = parts.next()?.rsplit_once('|')?;
    let id = |digits: &str, length: usize| {
        (digits.len() == length).then(|| u128::from_str_radix(digits, 16).ok()).flatten()
    };
    let attributes: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(attributes).ok()?;
    let mut link = Vec::new();
    bytes(&mut link, 1, &id(trace, 32)?.to_be_bytes());
    bytes(&mut link, 2, &u64::try_from(id(span, 16)?).ok()?.to_be_bytes());
    text(&mut link, 3, state);
    for (key, value) in &attributes {
        match value {
            serde_json::Value::String(text) => attribute(&mut link, 4, key, Any::Text(text)),
            serde_json::Value::Bool(truth) => attribute(&mut link, 4, key, Any::Bool(*truth)),
            serde_json::Value::Number(number) => {
                let any = match (number.as_i64(), number.as_f64()) {
                    (Some(whole), _) => Any::Int(whole),
                    (None, double) => Any::Double(double?),
                };
                attribute(&mut link, 4, key, any);
            }
            other => attribute(&mut link, 4, key, Any::Text(&other.to_string())),
        }
    }
    varint(&mut link, 5, dropped.parse::<u32>().ok()?.into());
    put_bytes(out, 13, &link);
    Some(())
}

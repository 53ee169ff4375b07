//! Zipkin's spans in protobuf (`zipkin.proto`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::span::{Annotation, Endpoint, Kind, Number, Port, Span, SpanId, Text, TraceId};
use super::{ZipkinError, end, spans, write};
use crate::spans::{bytes, fixed64, text, varint};
use crate::wire::fields::put_bytes;
use crate::wire::{Field, Fields, Value, WireError};

/// `Span.tags`, a map.
const TAGS: u32 = 11;

/// A `ListOfSpans` as a list of v2 JSON. Bytes of texts that are not UTF-8 become U+FFFD.
///
/// # Errors
/// It is not protobuf, or has a span that Zipkin would refuse.
pub fn from_proto(list: &[u8]) -> Result<Vec<u8>, ZipkinError> {
    let mut out = Vec::new();
    let mut index = 0_usize;
    for field in Fields::new(list) {
        if let Field { number: 1, value: Value::Bytes(body), .. } =
            field.map_err(ZipkinError::Proto)?
        {
            let span = read(body).map_err(|wrong| wrong.at(index))?;
            write(&mut out, &span);
            index = index.saturating_add(1);
        }
    }
    Ok(end(out))
}

/// A checked list of v2 JSON as a `ListOfSpans`.
///
/// # Errors
/// It is not such a list.
pub fn to_proto(list: &[u8]) -> Result<Vec<u8>, ZipkinError> {
    let mut out = Vec::new();
    let mut body = Vec::new();
    for span in spans(list)? {
        body.clear();
        put(&mut body, &span?.1);
        put_bytes(&mut out, 1, &body);
    }
    Ok(out)
}

/// What is wrong with a span.
enum Wrong {
    Wire(WireError),
    Words(&'static str),
}

impl Wrong {
    fn at(self, index: usize) -> ZipkinError {
        match self {
            Self::Wire(error) => ZipkinError::Proto(error),
            Self::Words(reason) => ZipkinError::Wrong { index, reason },
        }
    }
}

impl From<WireError> for Wrong {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

fn lossy(bytes: &[u8]) -> Text<'_> {
    String::from_utf8_lossy(bytes).into()
}

/// An id of 8 bytes; zero if there is none.
fn id(bytes: &[u8]) -> Result<u64, Wrong> {
    match bytes.try_into() {
        Ok(bytes) => Ok(u64::from_be_bytes(bytes)),
        Err(_) if bytes.is_empty() => Ok(0),
        Err(_) => Err(Wrong::Words("an id has not 8 bytes")),
    }
}

fn number(value: u64) -> Result<Option<Number>, Wrong> {
    if i64::try_from(value).is_err() {
        return Err(Wrong::Words("a time or duration is too large"));
    }
    Ok(Some(Number(value)).filter(|number| number.0 > 0))
}

fn read(body: &[u8]) -> Result<Span<'_>, Wrong> {
    let mut span = Span::new(TraceId(0), SpanId(0));
    for field in Fields::new(body) {
        let Field { number: field, value, .. } = field?;
        match (field, value) {
            (1, Value::Bytes(bytes)) => {
                span.trace_id = TraceId(match bytes.try_into() {
                    Ok(bytes) => u128::from_be_bytes(bytes),
                    Err(_) => id(bytes)
                        .map_err(|_| Wrong::Words("its trace id has neither 8 nor 16 bytes"))?
                        .into(),
                });
            }
            (2, Value::Bytes(bytes)) => {
                span.parent_id = Some(SpanId(id(bytes)?)).filter(|parent| parent.0 != 0);
            }
            (3, Value::Bytes(bytes)) => span.id = SpanId(id(bytes)?),
            (4, Value::Varint(kind)) => {
                span.kind = match kind {
                    1 => Some(Kind::Client),
                    2 => Some(Kind::Server),
                    3 => Some(Kind::Producer),
                    4 => Some(Kind::Consumer),
                    _ => None,
                }
            }
            (5, Value::Bytes(name)) => span.name = Some(lossy(name)),
            (6, Value::Fixed64(time)) => span.timestamp = number(time)?,
            (7, Value::Varint(duration)) => span.duration = number(duration)?,
            (8, Value::Bytes(body)) => span.local_endpoint = Some(endpoint(body)?),
            (9, Value::Bytes(body)) => span.remote_endpoint = Some(endpoint(body)?),
            (10, Value::Bytes(body)) => {
                let annotation = annotation(body)?;
                span.annotations.get_or_insert_default().push(annotation);
            }
            (TAGS, Value::Bytes(pair)) => {
                let (mut key, mut value) = (Text::from(""), Text::from(""));
                for field in Fields::new(pair) {
                    match field? {
                        Field { number: 1, value: Value::Bytes(text), .. } => key = lossy(text),
                        Field { number: 2, value: Value::Bytes(text), .. } => value = lossy(text),
                        _ => {}
                    }
                }
                span.tag(key, value);
            }
            (12, Value::Varint(truth)) => span.debug = (truth != 0).then_some(true),
            (13, Value::Varint(truth)) => span.shared = (truth != 0).then_some(true),
            (1..=13, _) => return Err(Wrong::Words("a field has the wrong type")),
            _ => {}
        }
    }
    if span.trace_id.0 == 0 || span.id.0 == 0 {
        return Err(Wrong::Words("its id or its trace id is missing or zero"));
    }
    Ok(span)
}

fn annotation(body: &[u8]) -> Result<Annotation<'_>, Wrong> {
    let mut annotation = Annotation { timestamp: Number(0), value: "".into() };
    for field in Fields::new(body) {
        match field? {
            Field { number: 1, value: Value::Fixed64(time), .. } => {
                annotation.timestamp = number(time)?.unwrap_or(Number(0));
            }
            Field { number: 2, value: Value::Bytes(text), .. } => annotation.value = lossy(text),
            _ => {}
        }
    }
    if annotation.timestamp.0 == 0 {
        return Err(Wrong::Words("an annotation has no time"));
    }
    Ok(annotation)
}

fn endpoint(body: &[u8]) -> Result<Endpoint<'_>, Wrong> {
    let mut endpoint = Endpoint::default();
    for field in Fields::new(body) {
        match field? {
            Field { number: 1, value: Value::Bytes(name), .. } => {
                endpoint.service_name = Some(lossy(name));
            }
            Field { number: 2, value: Value::Bytes(address), .. } => {
                let Ok(address) = <[u8; 4]>::try_from(address) else { continue };
                endpoint.set_address(Ipv4Addr::from(address).into());
            }
            Field { number: 3, value: Value::Bytes(address), .. } => {
                let Ok(address) = <[u8; 16]>::try_from(address) else { continue };
                endpoint.set_address(IpAddr::from(Ipv6Addr::from(address)));
            }
            Field { number: 4, value: Value::Varint(port), .. } => {
                let port = u16::try_from(port).map_err(|_| Wrong::Words("a port is none"))?;
                endpoint.port = (port != 0).then_some(Port(port));
            }
            _ => {}
        }
    }
    Ok(endpoint)
}

fn put(out: &mut Vec<u8>, span: &Span<'_>) {
    let trace_id = span.trace_id.0.to_be_bytes();
    match trace_id.split_first_chunk::<8>() {
        Some(([0, 0, 0, 0, 0, 0, 0, 0], low)) => bytes(out, 1, low),
        _ => bytes(out, 1, &trace_id),
    }
    if let Some(parent) = span.parent_id.filter(|parent| parent.0 != 0) {
        bytes(out, 2, &parent.0.to_be_bytes());
    }
    bytes(out, 3, &span.id.0.to_be_bytes());
    let kind = match span.kind {
        None => 0,
        Some(Kind::Client) => 1,
        Some(Kind::Server) => 2,
        Some(Kind::Producer) => 3,
        Some(Kind::Consumer) => 4,
    };
    varint(out, 4, kind);
    text(out, 5, span.name.as_ref().map(|name| &*name.0).unwrap_or_default());
    fixed64(out, 6, span.timestamp.map_or(0, |time| time.0));
    varint(out, 7, span.duration.map_or(0, |duration| duration.0));
    let mut body = Vec::new();
    for (number, endpoint) in [(8, &span.local_endpoint), (9, &span.remote_endpoint)] {
        let Some(endpoint) = endpoint else { continue };
        body.clear();
        text(&mut body, 1, endpoint.service());
        let (v4, v6) = endpoint.addresses();
        bytes(&mut body, 2, v4.map(|address| address.octets()).as_ref().map_or(&[], |o| o));
        bytes(&mut body, 3, v6.map(|address| address.octets()).as_ref().map_or(&[], |o| o));
        varint(&mut body, 4, endpoint.port.map_or(0, |port| port.0.into()));
        put_bytes(out, number, &body);
    }
    for annotation in span.annotations.iter().flatten() {
        body.clear();
        fixed64(&mut body, 1, annotation.timestamp.0);
        text(&mut body, 2, &annotation.value.0);
        put_bytes(out, 10, &body);
    }
    for (key, value) in span.tags() {
        body.clear();
        text(&mut body, 1, &key.0);
        text(&mut body, 2, &value.0);
        put_bytes(out, TAGS, &body);
    }
    varint(out, 12, span.debug.unwrap_or_default().into());
    varint(out, 13, span.shared.unwrap_or_default().into());
}

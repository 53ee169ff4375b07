//! A request of spans as borrowed views on its bytes. The request has passed
//! [`wire::check`](crate::wire::check()); of one that has not, what is malformed is left out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, Serializer};

use super::names;
use crate::wire::{Field, Fields, MAX_DEPTH, Value};

/// The fields of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a>(pub(crate) &'a [u8]);

impl<'a> Message<'a> {
    pub(crate) fn fields(self) -> impl Iterator<Item = Field<'a>> {
        Fields::new(self.0).map_while(Result::ok)
    }

    /// The messages of a repeated field, or the parts of one that was split.
    pub(crate) fn messages(self, number: u32) -> impl Iterator<Item = Message<'a>> {
        self.fields().filter(move |field| field.number == number).filter_map(|field| {
            match field.value {
                Value::Bytes(body) => Some(Message(body)),
                _ => None,
            }
        })
    }

    fn text(self, number: u32) -> &'a str {
        self.messages(number).last().map(|text| text_of(text.0)).unwrap_or_default()
    }
}

/// Text that has been checked.
pub(crate) fn text_of(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// An `AnyValue`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Any<'a> {
    Empty,
    Text(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(&'a [u8]),
    /// An `ArrayValue`.
    Array(Message<'a>),
    /// A `KeyValueList`.
    Map(Message<'a>),
}

impl<'a> Any<'a> {
    pub(crate) fn of(message: Message<'a>) -> Self {
        let value = message.fields().filter_map(|field| {
            Some(match (field.number, field.value) {
                (1, Value::Bytes(text)) => Self::Text(text_of(text)),
                (2, Value::Varint(truth)) => Self::Bool(truth != 0),
                (3, Value::Varint(number)) => Self::Int(number.cast_signed()),
                (4, Value::Fixed64(bits)) => Self::Double(f64::from_bits(bits)),
                (5, Value::Bytes(body)) => Self::Array(Message(body)),
                (6, Value::Bytes(body)) => Self::Map(Message(body)),
                (7, Value::Bytes(bytes)) => Self::Bytes(bytes),
                _ => return None,
            })
        });
        value.last().unwrap_or(Self::Empty)
    }

    /// As text: numbers and truth values as in JSON, bytes in Base64, the rest as JSON.
    pub(crate) fn to_text(self) -> Cow<'a, str> {
        match self {
            Self::Empty => Cow::Borrowed(""),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Bool(truth) => Cow::Borrowed(if truth { "true" } else { "false" }),
            Self::Int(number) => Cow::Owned(number.to_string()),
            Self::Double(number) => Cow::Owned(number.to_string()),
            Self::Bytes(bytes) => Cow::Owned(STANDARD.encode(bytes)),
            Self::Array(_) | Self::Map(_) => Cow::Owned(self.to_json()),
        }
    }

    pub(crate) fn to_json(self) -> String {
        serde_json::to_string(&Json { value: self, depth: 0 }).unwrap_or_default()
    }
}

/// Attributes as one JSON object.
pub(crate) fn json_object<'a>(of: impl Iterator<Item = (&'a str, Any<'a>)>) -> String {
    let map: BTreeMap<_, _> = of.map(|(key, value)| (key, Json { value, depth: 0 })).collect();
    serde_json::to_string(&map).unwrap_or_default()
}

struct Json<'a> {
    value: Any<'a>,
    depth: usize,
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let depth = self.depth.saturating_add(1);
        match self.value {
            Any::Empty => serializer.serialize_unit(),
            Any::Text(text) => serializer.serialize_str(text),
            Any::Bool(truth) => serializer.serialize_bool(truth),
            Any::Int(number) => serializer.serialize_i64(number),
            Any::Double(number) if number.is_finite() => serializer.serialize_f64(number),
            Any::Double(number) => serializer.collect_str(&number),
            Any::Bytes(bytes) => serializer.serialize_str(&STANDARD.encode(bytes)),
            Any::Array(_) | Any::Map(_) if depth > MAX_DEPTH => serializer.serialize_unit(),
            Any::Array(list) => serializer.collect_seq(
                list.messages(1).map(|message| Json { value: Any::of(message), depth }),
            ),
            Any::Map(map) => serializer
                .collect_map(attributes(map, 1).map(|(key, value)| (key, Json { value, depth }))),
        }
    }
}

/// The `KeyValue`s in the field `number` of `message`.
pub(crate) fn attributes(
    message: Message<'_>,
    number: u32,
) -> impl Iterator<Item = (&str, Any<'_>)> {
    message.messages(number).map(|pair| {
        let value = pair.messages(2).last().map_or(Any::Empty, Any::of);
        (pair.text(1), value)
    })
}

/// A `Span`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span<'a> {
    body: Message<'a>,
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    pub(crate) parent_span_id: [u8; 8],
    pub(crate) trace_state: &'a str,
    pub(crate) name: &'a str,
    pub(crate) kind: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) status_code: u64,
    pub(crate) status_message: &'a str,
    dropped: [u64; 3],
}

/// A `Span.Event`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event<'a> {
    body: Message<'a>,
    pub(crate) time: u64,
    pub(crate) name: &'a str,
}

/// A `Span.Link`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link<'a> {
    body: Message<'a>,
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    pub(crate) trace_state: &'a str,
    pub(crate) flags: u32,
    pub(crate) dropped: u64,
}

/// An id of that length; zeros for any other.
fn id<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}

impl<'a> Span<'a> {
    pub(crate) fn of(body: Message<'a>) -> Self {
        let mut span = Self {
            body,
            trace_id: [0; 16],
            span_id: [0; 8],
            parent_span_id: [0; 8],
            trace_state: "",
            name: "",
            kind: 0,
            start: 0,
            end: 0,
            status_code: 0,
            status_message: "",
            dropped: [0; 3],
        };
        for field in body.fields() {
            let [attributes, events, links] = &mut span.dropped;
            match (field.number, field.value) {
                (1, Value::Bytes(bytes)) => span.trace_id = id(bytes),
                (2, Value::Bytes(bytes)) => span.span_id = id(bytes),
                (3, Value::Bytes(bytes)) => span.trace_state = text_of(bytes),
                (4, Value::Bytes(bytes)) => span.parent_span_id = id(bytes),
                (5, Value::Bytes(bytes)) => span.name = text_of(bytes),
                (6, Value::Varint(kind)) => span.kind = kind,
                (7, Value::Fixed64(time)) => span.start = time,
                (8, Value::Fixed64(time)) => span.end = time,
                (10, Value::Varint(count)) => *attributes = count,
                (12, Value::Varint(count)) => *events = count,
                (14, Value::Varint(count)) => *links = count,
                (15, Value::Bytes(status)) => {
                    for field in Message(status).fields() {
                        match (field.number, field.value) {
                            (2, Value::Bytes(text)) => span.status_message = text_of(text),
                            (3, Value::Varint(code)) => span.status_code = code,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        span
    }

    pub(crate) fn attributes(self) -> impl Iterator<Item = (&'a str, Any<'a>)> {
        attributes(self.body, 9)
    }

    pub(crate) fn events(self) -> impl Iterator<Item = Event<'a>> {
        self.body.messages(11).map(|body| {
            let mut event = Event { body, time: 0, name: body.text(2) };
            for field in body.fields() {
                if let (1, Value::Fixed64(time)) = (field.number, field.value) {
                    event.time = time;
                }
            }
            event
        })
    }

    pub(crate) fn links(self) -> impl Iterator<Item = Link<'a>> {
        self.body.messages(13).map(|body| {
            let state = body.text(3);
            let mut link = Link {
                body,
                trace_id: [0; 16],
                span_id: [0; 8],
                trace_state: state,
                flags: 0,
                dropped: 0,
            };
            for field in body.fields() {
                match (field.number, field.value) {
                    (1, Value::Bytes(bytes)) => link.trace_id = id(bytes),
                    (2, Value::Bytes(bytes)) => link.span_id = id(bytes),
                    (5, Value::Varint(count)) => link.dropped = count,
                    (6, Value::Fixed32(flags)) => link.flags = flags,
                    _ => {}
                }
            }
            link
        })
    }

    /// How much was dropped before it was sent, under the names for formats without such fields.
    pub(crate) fn dropped(self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = [names::DROPPED_ATTRIBUTES, names::DROPPED_EVENTS, names::DROPPED_LINKS];
        names.into_iter().zip(self.dropped).filter(|(_, count)| *count > 0)
    }
}

impl<'a> Event<'a> {
    pub(crate) fn attributes(self) -> impl Iterator<Item = (&'a str, Any<'a>)> {
        attributes(self.body, 3)
    }

    /// The attributes as one JSON object; none without attributes.
    pub(crate) fn json(self) -> Option<String> {
        self.attributes().next()?;
        Some(json_object(self.attributes()))
    }
}

impl<'a> Link<'a> {
    pub(crate) fn attributes(self) -> impl Iterator<Item = (&'a str, Any<'a>)> {
        attributes(self.body, 4)
    }

    pub(crate) fn json(self) -> String {
        json_object(self.attributes())
    }
}

/// What spans of one resource and scope share.
pub(crate) type Shared<'a> = BTreeMap<&'a str, Any<'a>>;

/// Visits the spans of an `ExportTraceServiceRequest`, each with the attributes of its resource and
/// scope (and the scope's name and version under their names for other formats), until one fails.
pub(crate) fn for_each_span<'a, E>(
    request: &'a [u8],
    mut visit: impl FnMut(&Shared<'a>, Span<'a>) -> Result<(), E>,
) -> Result<(), E> {
    for resource_spans in Message(request).messages(1) {
        let resource = resource_spans.messages(1).flat_map(|resource| attributes(resource, 1));
        let resource: Shared<'a> = resource.collect();
        for scope_spans in resource_spans.messages(2) {
            let mut spans = scope_spans.messages(2).peekable();
            // A scope may take two bytes, and a copy of the resource as much as the whole request.
            if spans.peek().is_none() {
                continue;
            }
            let mut shared = resource.clone();
            for scope in scope_spans.messages(1) {
                shared.extend(attributes(scope, 3));
                for (name, text) in
                    [(names::SCOPE_NAME, scope.text(1)), (names::SCOPE_VERSION, scope.text(2))]
                {
                    if !text.is_empty() {
                        shared.insert(name, Any::Text(text));
                    }
                }
            }
            for span in spans {
                visit(&shared, Span::of(span))?;
            }
        }
    }
    Ok(())
}

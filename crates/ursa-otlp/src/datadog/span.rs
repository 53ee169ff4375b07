//! A span of the trace agent's API as a view on its bytes.

use std::borrow::Cow;

use super::DatadogError;
use super::msgpack::Reader;
use crate::spans::{names, status};

/// A span. Texts may hold anything; what is not UTF-8 is replaced when it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span<'a> {
    pub(super) service: &'a [u8],
    pub(super) name: &'a [u8],
    pub(super) resource: &'a [u8],
    pub(super) kind: &'a [u8],
    pub(super) trace_id: u64,
    pub(super) span_id: u64,
    pub(super) parent_id: u64,
    /// Nanoseconds since 1970.
    pub(super) start: i64,
    /// Nanoseconds.
    pub(super) duration: i64,
    pub(super) error: i64,
    meta: Items<'a>,
    metrics: Items<'a>,
    meta_struct: Items<'a>,
    links: Items<'a>,
    events: Items<'a>,
}

/// Values of a list or pairs of a map, walked over once already.
#[derive(Debug, Clone, Copy)]
struct Items<'a> {
    count: u32,
    reader: Reader<'a>,
}

impl<'a> Items<'a> {
    const NONE: Self = Self { count: 0, reader: Reader::new(&[]) };

    /// Checks each with `read`, which is then used to read them again.
    fn of<T>(
        count: u32,
        reader: &mut Reader<'a>,
        mut read: impl FnMut(&mut Reader<'a>) -> Result<T, DatadogError>,
    ) -> Result<Self, DatadogError> {
        let items = Self { count, reader: *reader };
        for _ in 0..count {
            read(reader)?;
        }
        Ok(items)
    }

    fn iter<T>(
        self,
        read: impl Fn(&mut Reader<'a>) -> Result<T, DatadogError>,
    ) -> impl Iterator<Item = T> {
        let mut reader = self.reader;
        (0..self.count).map_while(move |_| read(&mut reader).ok())
    }
}

/// Another span that this one refers to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link<'a> {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    pub(super) trace_state: &'a [u8],
    pub(super) flags: u32,
    attributes: Items<'a>,
}

/// Something that happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event<'a> {
    pub(super) time: u64,
    pub(super) name: &'a [u8],
    attributes: Items<'a>,
}

/// The value of an event's attribute.
#[derive(Debug, Clone, Copy)]
pub(super) enum EventValue<'a> {
    None,
    Text(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    List(List<'a>),
}

/// A list of values.
#[derive(Debug, Clone, Copy)]
pub(super) struct List<'a>(Items<'a>);

pub(super) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn text_pair<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], &'a [u8]), DatadogError> {
    Ok((reader.text("a key of meta")?, reader.text("a value of meta")?))
}

fn number_pair<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], f64), DatadogError> {
    Ok((reader.text("a key of metrics")?, reader.float("a value of metrics")?))
}

fn event_pair<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], EventValue<'a>), DatadogError> {
    Ok((reader.text("an attribute's key")?, EventValue::read(reader, true)?))
}

impl<'a> Span<'a> {
    /// Reads all of a span, checking the types of what is known.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DatadogError> {
        let none = Items::NONE;
        let mut span = Self {
            service: &[],
            name: &[],
            resource: &[],
            kind: &[],
            trace_id: 0,
            span_id: 0,
            parent_id: 0,
            start: 0,
            duration: 0,
            error: 0,
            meta: none,
            metrics: none,
            meta_struct: none,
            links: none,
            events: none,
        };
        for _ in 0..reader.map("a span")? {
            match reader.text("a field's name")? {
                b"service" => span.service = reader.text("service")?,
                b"name" => span.name = reader.text("name")?,
                b"resource" => span.resource = reader.text("resource")?,
                b"type" => span.kind = reader.text("type")?,
                b"trace_id" => span.trace_id = reader.uint("trace_id")?,
                b"span_id" => span.span_id = reader.uint("span_id")?,
                b"parent_id" => span.parent_id = reader.uint("parent_id")?,
                b"start" => span.start = reader.int("start")?,
                b"duration" => span.duration = reader.int("duration")?,
                b"error" => span.error = reader.int("error")?,
                b"meta" => span.meta = Items::of(reader.map("meta")?, reader, text_pair)?,
                b"metrics" => {
                    span.metrics = Items::of(reader.map("metrics")?, reader, number_pair)?;
                }
                b"meta_struct" => {
                    span.meta_struct = Items::of(reader.map("meta_struct")?, reader, text_pair)?;
                }
                b"span_links" => {
                    span.links = Items::of(reader.list("span_links")?, reader, Link::read)?;
                }
                b"span_events" => {
                    span.events = Items::of(reader.list("span_events")?, reader, Event::read)?;
                }
                _ => reader.skip()?,
            }
        }
        if span.trace_id == 0 || span.span_id == 0 {
            return Err(DatadogError::Id);
        }
        Ok(span)
    }

    pub(super) fn meta(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.meta.iter(text_pair)
    }

    /// The last value in `meta` under that name.
    pub(super) fn tag(self, name: &str) -> Option<&'a [u8]> {
        self.meta().filter(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value).last()
    }

    pub(super) fn metrics(self) -> impl Iterator<Item = (&'a [u8], f64)> {
        self.metrics.iter(number_pair)
    }

    pub(super) fn meta_struct(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.meta_struct.iter(text_pair)
    }

    /// The code of OTLP's status.
    pub(super) fn status_code(self) -> u64 {
        match (self.error, self.tag(names::STATUS_CODE)) {
            (0, Some(b"OK" | b"Ok")) => status::OK,
            (0, _) => 0,
            _ => status::ERROR,
        }
    }

    pub(super) fn has_links(self) -> bool {
        self.links.count > 0
    }

    pub(super) fn has_events(self) -> bool {
        self.events.count > 0
    }

    pub(super) fn links(self) -> impl Iterator<Item = Link<'a>> {
        self.links.iter(Link::read)
    }

    pub(super) fn events(self) -> impl Iterator<Item = Event<'a>> {
        self.events.iter(Event::read)
    }
}

impl<'a> Link<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DatadogError> {
        let (mut low, mut high) = (0, 0);
        let mut link =
            Self { trace_id: 0, span_id: 0, trace_state: &[], flags: 0, attributes: Items::NONE };
        for _ in 0..reader.map("a link")? {
            match reader.text("a field's name")? {
                b"trace_id" => low = reader.uint("a link's trace_id")?,
                b"trace_id_high" => high = reader.uint("a link's trace_id_high")?,
                b"span_id" => link.span_id = reader.uint("a link's span_id")?,
                b"tracestate" => link.trace_state = reader.text("a link's tracestate")?,
                b"flags" => {
                    let flags = reader.uint("a link's flags")?;
                    link.flags = u32::try_from(flags).unwrap_or_default();
                }
                b"attributes" => {
                    let count = reader.map("a link's attributes")?;
                    link.attributes = Items::of(count, reader, text_pair)?;
                }
                _ => reader.skip()?,
            }
        }
        link.trace_id = u128::from(high) << 64 | u128::from(low);
        Ok(link)
    }

    pub(super) fn attributes(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.attributes.iter(text_pair)
    }
}

impl<'a> Event<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DatadogError> {
        let mut event = Self { time: 0, name: &[], attributes: Items::NONE };
        for _ in 0..reader.map("an event")? {
            match reader.text("a field's name")? {
                b"time_unix_nano" => event.time = reader.uint("an event's time_unix_nano")?,
                b"name" => event.name = reader.text("an event's name")?,
                b"attributes" => {
                    let count = reader.map("an event's attributes")?;
                    event.attributes = Items::of(count, reader, event_pair)?;
                }
                _ => reader.skip()?,
            }
        }
        Ok(event)
    }

    pub(super) fn attributes(self) -> impl Iterator<Item = (&'a [u8], EventValue<'a>)> {
        self.attributes.iter(event_pair)
    }
}

fn list_item<'a>(reader: &mut Reader<'a>) -> Result<EventValue<'a>, DatadogError> {
    EventValue::read(reader, false)
}

impl<'a> EventValue<'a> {
    /// A map of the type's number and the value under its type's name. Lists hold no lists.
    fn read(reader: &mut Reader<'a>, lists: bool) -> Result<Self, DatadogError> {
        let mut value = Self::None;
        for _ in 0..reader.map("an attribute's value")? {
            match reader.text("a field's name")? {
                b"string_value" => value = Self::Text(reader.text("string_value")?),
                b"bool_value" => {
                    value = match reader.token()? {
                        super::msgpack::Token::Bool(truth) => Self::Bool(truth),
                        _ => Self::None,
                    }
                }
                b"int_value" => value = Self::Int(reader.int("int_value")?),
                b"double_value" => value = Self::Double(reader.float("double_value")?),
                b"array_value" if lists => {
                    for _ in 0..reader.map("array_value")? {
                        match reader.text("a field's name")? {
                            b"values" => {
                                let count = reader.list("values")?;
                                value = Self::List(List(Items::of(count, reader, list_item)?));
                            }
                            _ => reader.skip()?,
                        }
                    }
                }
                _ => reader.skip()?,
            }
        }
        Ok(value)
    }
}

impl<'a> List<'a> {
    pub(super) fn iter(self) -> impl Iterator<Item = EventValue<'a>> {
        self.0.iter(list_item)
    }
}

//! A Zipkin v2 span, as its JSON has it.
//!
//! What Zipkin's own server refuses is refused here, since one such span would cost a whole batch:
//! ids that are not 1 to 32 lower-case hex digits or are zero, ports beyond 65535, kinds that do not
//! exist, annotations without a time. What it overlooks (null, fields it does not know, numbers
//! written as text) is overlooked.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde::{Deserialize as DeriveDeserialize, Serialize as DeriveSerialize};

/// A span.
#[derive(Debug, Clone, PartialEq, Eq, DeriveSerialize, DeriveDeserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(crate) struct Span<'a> {
    pub(crate) trace_id: TraceId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent_id: Option<SpanId>,
    pub(crate) id: SpanId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<Kind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<Text<'a>>,
    /// Microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timestamp: Option<Number>,
    /// Microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) duration: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) local_endpoint: Option<Endpoint<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) remote_endpoint: Option<Endpoint<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<Vec<Annotation<'a>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tags: Option<Tags<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) debug: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shared: Option<bool>,
}

impl<'a> Span<'a> {
    pub(crate) fn new(trace_id: TraceId, id: SpanId) -> Self {
        Self {
            trace_id,
            parent_id: None,
            id,
            kind: None,
            name: None,
            timestamp: None,
            duration: None,
            local_endpoint: None,
            remote_endpoint: None,
            annotations: None,
            tags: None,
            debug: None,
            shared: None,
        }
    }

    pub(crate) fn tags(&self) -> &[(Text<'a>, Text<'a>)] {
        self.tags.as_ref().map(|tags| &*tags.0).unwrap_or_default()
    }

    pub(crate) fn tag(&mut self, key: impl Into<Text<'a>>, value: impl Into<Text<'a>>) {
        self.tags.get_or_insert_default().0.push((key.into(), value.into()));
    }

    pub(crate) fn annotate(&mut self, time: Number, value: impl Into<Text<'a>>) {
        let annotation = Annotation { timestamp: time, value: value.into() };
        self.annotations.get_or_insert_default().push(annotation);
    }
}

/// What the span was to the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, DeriveSerialize, DeriveDeserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Kind {
    Client,
    Server,
    Producer,
    Consumer,
}

/// A node of the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, DeriveSerialize, DeriveDeserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(crate) struct Endpoint<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service_name: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ipv4: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ipv6: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<Port>,
}

impl Endpoint<'_> {
    pub(crate) fn service(&self) -> &str {
        self.service_name.as_ref().map(|name| &*name.0).unwrap_or_default()
    }

    /// Its addresses; one that is none is overlooked, as Zipkin does.
    pub(crate) fn addresses(&self) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
        let parsed = |text: &Option<Text<'_>>| text.as_ref()?.0.parse::<IpAddr>().ok();
        let (mut v4, mut v6) = (None, None);
        for address in [parsed(&self.ipv6), parsed(&self.ipv4)].into_iter().flatten() {
            match address {
                IpAddr::V4(address) => v4 = Some(address),
                IpAddr::V6(address) => v6 = Some(address),
            }
        }
        (v4, v6)
    }

    pub(crate) fn set_address(&mut self, address: IpAddr) {
        let text = Some(Text::from(address.to_string()));
        match address {
            IpAddr::V4(_) => self.ipv4 = text,
            IpAddr::V6(_) => self.ipv6 = text,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Endpoint::default()
    }
}

/// Something that happened at a time.
#[derive(Debug, Clone, PartialEq, Eq, DeriveSerialize, DeriveDeserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(crate) struct Annotation<'a> {
    /// Microseconds.
    pub(crate) timestamp: Number,
    pub(crate) value: Text<'a>,
}

/// Text that lies where it was received, if it needs no unescaping.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, DeriveSerialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl<'a> From<Cow<'a, str>> for Text<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self(text)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Of<'a> {
            type Value = Text<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(text.into())
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(text.to_owned().into())
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(number.to_string().into())
            }

            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(number.to_string().into())
            }

            fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
                Ok(number.to_string().into())
            }
        }
        deserializer.deserialize_any(Of(PhantomData))
    }
}

/// Tags in the order in which they stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tags<'a>(pub(crate) Vec<(Text<'a>, Text<'a>)>);

impl Serialize for Tags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Tags<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Of<'a> {
            type Value = Tags<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tags")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut tags = Vec::new();
                while let Some(tag) = map.next_entry()? {
                    tags.push(tag);
                }
                Ok(Tags(tags))
            }
        }
        deserializer.deserialize_map(Of(PhantomData))
    }
}

/// A trace's id. Tracers write it with 64 or with 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceId(pub(crate) u128);

/// A span's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpanId(pub(crate) u64);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TraceId(id) = self;
        if *id > u128::from(u64::MAX) { write!(f, "{id:032x}") } else { write!(f, "{id:016x}") }
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for SpanId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for TraceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        hex(deserializer, 32, false).map(Self)
    }
}

impl<'de> Deserialize<'de> for SpanId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A parent that is zero is none; `Span::id` is looked at where spans are read.
        let id = hex(deserializer, 16, true)?;
        u64::try_from(id).map(Self).map_err(de::Error::custom)
    }
}

fn hex<'de, D: Deserializer<'de>>(
    deserializer: D,
    most: usize,
    zero: bool,
) -> Result<u128, D::Error> {
    let Text(text) = Text::deserialize(deserializer)?;
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let id = if (1..=most).contains(&text.len()) && text.bytes().all(digit) {
        u128::from_str_radix(&text, 16).ok()
    } else {
        None
    };
    id.filter(|id| zero || *id != 0).ok_or_else(|| {
        let text: String = text.chars().take(40).collect();
        de::Error::custom(format!("{text:?} is no id: 1 to {most} lower-case hex digits, not zero"))
    })
}

/// A whole number that is not negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, DeriveSerialize)]
#[serde(transparent)]
pub(crate) struct Number(pub(crate) u64);

/// A port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, DeriveSerialize)]
#[serde(transparent)]
pub(crate) struct Port(pub(crate) u16);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number that is not negative")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Number, E> {
                // Beyond 2^63 Zipkin's numbers end.
                if number >= 0.0 && number.fract() == 0.0 && number < 9.3e18 {
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "it is whole, positive and fits"
                    )]
                    return Ok(Number(number as u64));
                }
                Err(E::invalid_value(de::Unexpected::Float(number), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                let number = text.parse().map(Number);
                number.map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        let number = deserializer.deserialize_any(Whole)?;
        // Zipkin's numbers are signed.
        if i64::try_from(number.0).is_err() {
            return Err(de::Error::invalid_value(de::Unexpected::Unsigned(number.0), &Whole));
        }
        Ok(number)
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Number(port) = Number::deserialize(deserializer)?;
        let port = u16::try_from(port).map_err(|_| {
            de::Error::invalid_value(de::Unexpected::Unsigned(port), &"a port up to 65535")
        })?;
        Ok(Self(port))
    }
}

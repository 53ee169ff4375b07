//! OTLP/JSON to protobuf, straight from the text: what is written is all that is kept of it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::wire::fields::{put_bytes, put_head, put_varint};
use crate::wire::schema::{Field, Message, Often, Type};

/// What one element of a list may take more in protobuf than in JSON: `,0` may become nine bytes.
const ELEMENT: usize = 10;

/// Bytes that the request in protobuf takes at most.
pub fn cost(text: &[u8]) -> usize {
    let elements = text.split(|byte| *byte == b',').count();
    elements.saturating_add(1).saturating_mul(ELEMENT).saturating_add(text.len())
}

/// Writes the object `text` as `message`.
pub(super) fn request(
    text: &[u8],
    message: &'static Message,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(cost(text));
    let mut reader = serde_json::Deserializer::from_slice(text);
    reader.deserialize_map(Object { message, out: &mut out })?;
    reader.end()?;
    // It may wait for long, and the queue counts only its bytes.
    out.shrink_to_fit();
    Ok(out)
}

/// The fields of a message. What its table does not know is left out.
struct Object<'o> {
    message: &'static Message,
    out: &'o mut Vec<u8>,
}

/// The name of a field.
struct Name(&'static Message);

/// The value of a field, or an element of one that is a list.
struct Content<'o> {
    field: &'static Field,
    /// It is an element, and so neither a list nor nothing.
    element: bool,
    out: &'o mut Vec<u8>,
}

/// A value that is neither object nor list.
enum Scalar<'t> {
    Bool(bool),
    Integer(i128),
    Double(f64),
    Text(&'t str),
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object, {}", self.message.name)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(field) = map.next_key_seed(Name(self.message))? {
            match field {
                Some(field) => {
                    map.next_value_seed(Content { field, element: false, out: &mut *self.out })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name of a field of {}", self.0.name)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.fields.iter().find(|field| field.name == name))
    }
}

impl<'de> DeserializeSeed<'de> for Content<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Content<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Field { name, holds, often, .. } = self.field;
        let list = *often == Often::Repeated && !self.element;
        let what = if list { "a list" } else { holds.in_json() };
        write!(f, "{what} as {name:?}")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<(), M::Error> {
        let message = self.field.holds.message().filter(|_| !self.wants_list());
        let Some(message) = message else {
            return Err(M::Error::invalid_type(serde::de::Unexpected::Map, &self));
        };
        within(self.out, self.field.number, |out| Object { message, out }.visit_map(map))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<(), S::Error> {
        if !self.wants_list() {
            return Err(S::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        }
        let field = self.field;
        let mut elements = |out: &mut Vec<u8>| {
            while list.next_element_seed(Content { field, element: true, out })?.is_some() {}
            Ok(())
        };
        if field.holds.is_packed() {
            return within(self.out, field.number, elements);
        }
        elements(self.out)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if self.element {
            return Err(E::invalid_type(serde::de::Unexpected::Unit, &self));
        }
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.scalar(&Scalar::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.scalar(&Scalar::Integer(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.scalar(&Scalar::Integer(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.scalar(&Scalar::Double(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.scalar(&Scalar::Text(value))
    }
}

impl Content<'_> {
    fn wants_list(&self) -> bool {
        self.field.often == Often::Repeated && !self.element
    }

    fn scalar<E: Error>(mut self, value: &Scalar<'_>) -> Result<(), E> {
        if !self.wants_list() && self.write(value).is_some() {
            return Ok(());
        }
        let unexpected = match value {
            Scalar::Bool(value) => serde::de::Unexpected::Bool(*value),
            Scalar::Double(value) => serde::de::Unexpected::Float(*value),
            Scalar::Integer(_) => serde::de::Unexpected::Other("such a number"),
            // It may be long, or a secret.
            Scalar::Text(_) => serde::de::Unexpected::Other("such a text"),
        };
        Err(E::invalid_value(unexpected, &self))
    }

    /// None if the field cannot hold it.
    fn write(&mut self, value: &Scalar<'_>) -> Option<()> {
        match self.field.holds {
            Type::Text => put_bytes(self.out, self.field.number, value.text()?.as_bytes()),
            Type::TraceId | Type::SpanId | Type::Hex => {
                put_bytes(self.out, self.field.number, &hex(value.text()?)?);
            }
            Type::Base64 => {
                let text = value.text()?;
                let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()?;
                put_bytes(self.out, self.field.number, &bytes);
            }
            Type::Bool => match value {
                Scalar::Bool(value) => self.varint(u64::from(*value)),
                _ => return None,
            },
            Type::Int32 => self.varint(i64::from(value.integer::<i32>()?).cast_unsigned()),
            Type::UInt32 => self.varint(value.integer::<u32>()?.into()),
            Type::SInt32 => {
                let number = value.integer::<i32>()?;
                self.varint(((number << 1) ^ (number >> 31)).cast_unsigned().into());
            }
            Type::Int64 => self.varint(value.integer::<i64>()?.cast_unsigned()),
            Type::UInt64s => self.varint(value.integer()?),
            Type::Fixed32 => {
                self.tag(5);
                self.out.extend_from_slice(&value.integer::<u32>()?.to_le_bytes());
            }
            Type::Fixed64 | Type::Fixed64s => self.fixed64(value.integer()?),
            Type::SFixed64 => self.fixed64(value.integer::<i64>()?.cast_unsigned()),
            Type::Double | Type::Doubles => self.fixed64(value.double()?.to_bits()),
            Type::Attribute | Type::Message(_) | Type::Item(_) => return None,
        }
        Some(())
    }

    fn varint(&mut self, value: u64) {
        self.tag(0);
        put_varint(self.out, value);
    }

    fn fixed64(&mut self, value: u64) {
        self.tag(1);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// Elements of a packed list have none.
    fn tag(&mut self, wire: u64) {
        if !self.field.holds.is_packed() {
            put_varint(self.out, u64::from(self.field.number) << 3 | wire);
        }
    }
}

impl Scalar<'_> {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number, or a text that is one.
    fn integer<N: TryFrom<i128>>(&self) -> Option<N> {
        let number = match self {
            Self::Integer(number) => *number,
            Self::Text(text) => text.parse().ok()?,
            Self::Bool(_) | Self::Double(_) => return None,
        };
        N::try_from(number).ok()
    }

    /// A number, or a text that is one, such as `NaN` and `-Infinity`.
    fn double(&self) -> Option<f64> {
        match self {
            Self::Integer(number) => Some(*number as f64),
            Self::Double(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            Self::Bool(_) => None,
        }
    }
}

/// Bytes of hex digits, of either case.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Writes a field of wire type 2 whose length is known once it is written.
fn within<E>(
    out: &mut Vec<u8>,
    number: u32,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let at = out.len();
    write(out)?;
    let mut head = Vec::with_capacity(8);
    put_head(&mut head, number, out.len().saturating_sub(at));
    drop(out.splice(at..at, head));
    Ok(())
}

//! The attributes of one resource, span, event, data point or log record, as processors see them.

use std::borrow::Cow;

use crate::wire::fields::{head_length, put_bytes, put_head, put_varint, varint_length};
use crate::wire::{Field, Fields, Value as Wire, WireError};

/// `KeyValue.key`.
const KEY: u32 = 1;
/// `KeyValue.value`.
const VALUE: u32 = 2;

/// Attributes in the order in which they stand; those that processors add come last.
#[derive(Debug, Default)]
pub(super) struct List<'a> {
    pub(super) all: Vec<Attribute<'a>>,
    /// Fields of `KeyValue` that are neither key nor value, in the order of the attributes' numbers.
    extras: Vec<(usize, Vec<u8>)>,
    /// Texts that processors made.
    pub(super) made: Vec<Vec<u8>>,
    pub(super) changed: bool,
}

/// One attribute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute<'a> {
    /// Where its field begins and ends in the request; both are `usize::MAX` for one that was added.
    pub(super) start: usize,
    pub(super) stop: usize,
    pub(super) key: &'a [u8],
    pub(super) value: Value<'a>,
    pub(super) state: State,
}

/// An attribute's value. Small and without an end of its own, since there are many.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// The body of its `AnyValue`.
    Raw(&'a [u8]),
    /// The same, put together from pieces: its number among what was made.
    Joined(usize),
    /// There is none.
    Missing,
    Text(&'a [u8]),
    /// Its number among what was made.
    Made(usize),
    Int(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Same,
    Changed,
    Removed,
    Added,
}

impl<'a> List<'a> {
    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.extras.clear();
        self.made.clear();
        self.changed = false;
    }

    /// Takes in the `KeyValue` whose field is at `start..stop`.
    #[inline]
    pub(super) fn push(
        &mut self,
        body: &'a [u8],
        start: usize,
        stop: usize,
    ) -> Result<(), WireError> {
        let Some((key, value)) = plain(body) else { return self.push_odd(body, start, stop) };
        let value = Value::Raw(value);
        self.all.push(Attribute { start, stop, key, value, state: State::Same });
        Ok(())
    }

    #[cold]
    fn push_odd(&mut self, body: &'a [u8], start: usize, stop: usize) -> Result<(), WireError> {
        let (key, value) = self.odd(body)?;
        self.all.push(Attribute { start, stop, key, value, state: State::Same });
        Ok(())
    }

    /// One whose fields are not the usual two in their usual order.
    fn odd(&mut self, body: &'a [u8]) -> Result<(&'a [u8], Value<'a>), WireError> {
        let (mut key, mut value, mut extra): (&[u8], _, _) = (&[], Value::Missing, Vec::new());
        for field in Fields::new(body) {
            let field = field?;
            match (field.number, field.value) {
                (KEY, Wire::Bytes(text)) => key = text,
                (VALUE, Wire::Bytes(any)) => {
                    value = match value {
                        Value::Raw(first) => self.make_joined([first, any].concat()),
                        Value::Joined(before) => {
                            if let Some(before) = self.made.get_mut(before) {
                                before.extend_from_slice(any);
                            }
                            value
                        }
                        _ => Value::Raw(any),
                    };
                }
                _ => extra.extend_from_slice(field.raw),
            }
        }
        if !extra.is_empty() {
            self.extras.push((self.all.len(), extra));
        }
        Ok((key, value))
    }

    fn make_joined(&mut self, any: Vec<u8>) -> Value<'a> {
        self.made.push(any);
        Value::Joined(self.made.len().saturating_sub(1))
    }

    /// The text of an attribute, if it is one.
    pub(super) fn text<'l>(&'l self, attribute: &'l Attribute<'a>) -> Option<&'l [u8]> {
        attribute.value.text(&self.made)
    }

    /// Those that are there.
    pub(super) fn present(&self) -> impl Iterator<Item = &Attribute<'a>> {
        self.all.iter().filter(|attribute| attribute.state != State::Removed)
    }

    /// The last of that key, as decoders into maps have it.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Attribute<'a>> {
        self.present().filter(|attribute| attribute.key == key).last()
    }

    pub(super) fn add(&mut self, key: &'a [u8], value: Value<'a>) {
        let at = usize::MAX;
        self.all.push(Attribute { start: at, stop: at, key, value, state: State::Added });
        self.changed = true;
    }

    /// Writes the attribute of that number as field `number`, if it is there.
    pub(super) fn write(&self, index: usize, number: u32, out: &mut Vec<u8>) {
        let Some(attribute) = self.all.get(index) else { return };
        if attribute.state == State::Removed {
            return;
        }
        if self.extras.is_empty() && attribute.write_short(number, &self.made, out) {
            return;
        }
        let extra = self.extras.binary_search_by_key(&index, |(of, _)| *of).ok();
        let extra = extra.and_then(|at| self.extras.get(at));
        let extra = extra.map_or(&[][..], |(_, extra)| extra);
        let inner = attribute.value.length(&self.made);
        let value = match attribute.value {
            Value::Missing => 0,
            _ => head_length(VALUE, inner).saturating_add(inner),
        };
        let key = attribute.key;
        let length = head_length(KEY, key.len()).saturating_add(key.len()).saturating_add(value);
        put_head(out, number, length.saturating_add(extra.len()));
        put_bytes(out, KEY, key);
        if !matches!(attribute.value, Value::Missing) {
            put_head(out, VALUE, inner);
            attribute.value.write(&self.made, out);
        }
        out.extend_from_slice(extra);
    }
}

impl<'a> Attribute<'a> {
    /// Writes it as field `number`, if all its lengths take one byte.
    #[inline]
    fn write_short(&self, number: u32, made: &[Vec<u8>], out: &mut Vec<u8>) -> bool {
        let text = match self.value {
            Value::Raw(any) => return self.write_around(number, [], any, out),
            Value::Text(text) => text,
            Value::Made(text) => made.get(text).map(Vec::as_slice).unwrap_or_default(),
            Value::Int(value @ 0..0x80) => {
                return self.write_around(number, [0x18, value.to_le_bytes()[0]], &[], out);
            }
            _ => return false,
        };
        let Some(length) = byte(text.len()) else { return false };
        self.write_around(number, [0x0a, length], text, out)
    }

    /// Writes it with a value of two parts.
    #[inline]
    fn write_around<const N: usize>(
        &self,
        number: u32,
        lead: [u8; N],
        text: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        let inner = N.saturating_add(text.len());
        let whole = inner.saturating_add(self.key.len()).saturating_add(4);
        let (Some(whole), Some(key), Some(inner), tag @ 0..0x80) =
            (byte(whole), byte(self.key.len()), byte(inner), number << 3 | 2)
        else {
            return false;
        };
        // So much at most, so that no piece has to ask for room.
        out.reserve(2 * 0x80 + 8);
        out.extend_from_slice(&[tag.to_le_bytes()[0], whole, 0x0a, key]);
        put_short(out, self.key);
        out.extend_from_slice(&[0x12, inner]);
        out.extend_from_slice(&lead);
        put_short(out, text);
        true
    }

    pub(super) fn remove(&mut self) {
        self.state = State::Removed;
    }

    pub(super) fn rename(&mut self, key: &'a [u8]) {
        self.key = key;
        self.touch();
    }

    pub(super) fn put(&mut self, value: Value<'a>) {
        self.value = value;
        self.touch();
    }

    fn touch(&mut self) {
        if self.state == State::Same {
            self.state = State::Changed;
        }
    }
}

impl<'a> Value<'a> {
    /// The text, if it is one.
    #[inline]
    pub(super) fn text<'l>(&self, made: &'l [Vec<u8>]) -> Option<&'l [u8]>
    where
        'a: 'l,
    {
        match *self {
            Self::Raw(any) => text(any),
            Self::Joined(any) => text(made.get(any)?),
            Self::Text(text) => Some(text),
            Self::Made(text) => made.get(text).map(Vec::as_slice),
            Self::Missing | Self::Int(_) => None,
        }
    }

    /// The body of its `ArrayValue`, if it is one.
    #[inline]
    pub(super) fn list<'l>(&self, made: &'l [Vec<u8>]) -> Option<Cow<'l, [u8]>>
    where
        'a: 'l,
    {
        match *self {
            Self::Raw(any @ [0x2a, ..]) => array(any),
            Self::Joined(any) => array(made.get(any)?),
            _ => None,
        }
    }

    /// A text that a processor made as a value.
    pub(super) fn made(text: Vec<u8>, made: &mut Vec<Vec<u8>>) -> Self {
        made.push(text);
        Self::Made(made.len().saturating_sub(1))
    }

    /// A scalar as text.
    pub(super) fn shown<'l>(&self, made: &'l [Vec<u8>]) -> Option<Cow<'l, [u8]>>
    where
        'a: 'l,
    {
        match *self {
            Self::Raw(any) => shown(any),
            Self::Joined(any) => shown(made.get(any)?),
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Made(text) => made.get(text).map(|text| Cow::Borrowed(text.as_slice())),
            Self::Int(number) => Some(Cow::Owned(number.to_string().into_bytes())),
            Self::Missing => None,
        }
    }

    /// The body of its `AnyValue`.
    pub(super) fn encoded(&self, made: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.length(made));
        self.write(made, &mut out);
        out
    }

    fn length(&self, made: &[Vec<u8>]) -> usize {
        let of_text = |text: &[u8]| head_length(1, text.len()).saturating_add(text.len());
        match *self {
            Self::Raw(any) => any.len(),
            Self::Joined(any) => made.get(any).map_or(0, Vec::len),
            Self::Missing => 0,
            Self::Text(text) => of_text(text),
            Self::Made(text) => of_text(made.get(text).map(Vec::as_slice).unwrap_or_default()),
            Self::Int(number) => varint_length(number.cast_unsigned()).saturating_add(1),
        }
    }

    fn write(&self, made: &[Vec<u8>], out: &mut Vec<u8>) {
        let of = |number: usize| made.get(number).map(Vec::as_slice).unwrap_or_default();
        match *self {
            Self::Raw(any) => out.extend_from_slice(any),
            Self::Joined(any) => out.extend_from_slice(of(any)),
            Self::Missing => {}
            // AnyValue.string_value
            Self::Text(text) => put_bytes(out, 1, text),
            Self::Made(text) => put_bytes(out, 1, of(text)),
            // AnyValue.int_value
            Self::Int(number) => {
                out.push(0x18);
                put_varint(out, number.cast_unsigned());
            }
        }
    }
}

/// Appends a short text without a call: its beginning and its end, which may overlap, as blocks.
#[inline]
fn put_short(out: &mut Vec<u8>, text: &[u8]) {
    let end = out.len().saturating_add(text.len());
    if let (Some(first), Some(last)) = (text.first_chunk::<16>(), text.last_chunk::<16>())
        && text.len() <= 32
    {
        out.extend_from_slice(first);
        out.truncate(end.saturating_sub(16));
        out.extend_from_slice(last);
    } else if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>())
        && text.len() <= 16
    {
        out.extend_from_slice(first);
        out.truncate(end.saturating_sub(8));
        out.extend_from_slice(last);
    } else {
        out.extend_from_slice(text);
    }
}

/// A length as a varint of one byte.
#[inline]
fn byte(length: usize) -> Option<u8> {
    u8::try_from(length).ok().filter(|length| *length < 0x80)
}

/// Key and value of a `KeyValue` that has just these, in order, with lengths of one byte.
#[inline]
pub(super) fn plain(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x0a, key @ 0..0x80, rest @ ..] = body else { return None };
    let (key, rest) = rest.split_at_checked(usize::from(*key))?;
    let [0x12, rest @ ..] = rest else { return None };
    let value = match rest {
        [length @ 0..0x80, value @ ..] if value.len() == usize::from(*length) => value,
        [low @ 0x80..=0xff, high @ 0..0x80, value @ ..]
            if value.len() == usize::from(low & 0x7f) | usize::from(*high) << 7 =>
        {
            value
        }
        _ => return None,
    };
    Some((key, value))
}

/// The text of an `AnyValue`. Of several members the last one counts.
#[inline]
pub(super) fn text(any: &[u8]) -> Option<&[u8]> {
    match any {
        [0x0a, length @ 0..0x80, text @ ..] if text.len() == usize::from(*length) => Some(text),
        _ => match last_member(any)? {
            Field { number: 1, value: Wire::Bytes(text), .. } => Some(text),
            _ => None,
        },
    }
}

fn last_member(any: &[u8]) -> Option<Field<'_>> {
    Fields::new(any).map_while(Result::ok).filter(|field| field.number <= 8).last()
}

/// The `ArrayValue` of an `AnyValue`. Several that follow each other are one.
fn array(any: &[u8]) -> Option<Cow<'_, [u8]>> {
    let members = Fields::new(any).map_while(Result::ok).filter(|field| field.number <= 8);
    members.fold(None, |before, field| match (field.number, field.value, before) {
        (5, Wire::Bytes(list), None) => Some(Cow::Borrowed(list)),
        (5, Wire::Bytes(list), Some(before)) => {
            let mut all: Vec<u8> = before.into_owned();
            all.extend_from_slice(list);
            Some(Cow::Owned(all))
        }
        _ => None,
    })
}

fn shown(any: &[u8]) -> Option<Cow<'_, [u8]>> {
    let member = last_member(any)?;
    let made = match (member.number, member.value) {
        (1, Wire::Bytes(text)) => return Some(Cow::Borrowed(text)),
        (2, Wire::Varint(bit)) => (bit != 0).to_string(),
        (3, Wire::Varint(number)) => number.cast_signed().to_string(),
        (4, Wire::Fixed64(bits)) => f64::from_bits(bits).to_string(),
        _ => return None,
    };
    Some(Cow::Owned(made.into_bytes()))
}

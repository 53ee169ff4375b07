//! A message as a sequence of fields, and how fields are written.

use super::WireError;

/// Largest field number.
const MAX_NUMBER: u64 = (1 << 29) - 1;

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number.
    pub number: u32,
    /// Its value.
    pub value: Value<'a>,
    /// The whole field as it stands: tag, length if any, value.
    pub raw: &'a [u8],
}

/// A field's value by wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1, little endian.
    Fixed64(u64),
    /// Wire type 2: bytes, text, a message or packed numbers.
    Bytes(&'a [u8]),
    /// Wire type 5, little endian.
    Fixed32(u32),
}

/// Walks a message field by field. What was read lies in its own fields rather than in a value that
/// is handed on: this is the innermost loop of all.
#[derive(Debug, Clone)]
pub(crate) struct Walk<'a> {
    rest: &'a [u8],
    /// Where the message ends in the request.
    end: usize,
    /// The field's number; of wire type 2 its `body`, else its `scalar`.
    pub(crate) number: u32,
    pub(crate) wire: u8,
    pub(crate) body: &'a [u8],
    pub(crate) scalar: u64,
    /// Where the field begins and ends in the request.
    pub(crate) start: usize,
    pub(crate) stop: usize,
}

impl<'a> Walk<'a> {
    /// Of a message that begins at `start` of the request.
    #[inline]
    pub(crate) fn new(message: &'a [u8], start: usize) -> Self {
        let end = start.saturating_add(message.len());
        Self { rest: message, end, number: 0, wire: 0, body: &[], scalar: 0, start, stop: start }
    }

    /// Reads the next field; false at the end.
    #[expect(clippy::inline_always, reason = "a call costs as much as reading a field")]
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Result<bool, WireError> {
        let (number, wire) = match self.rest {
            [] => return Ok(false),
            [tag @ 8..0x80, rest @ ..] => {
                self.rest = rest;
                (u32::from(tag >> 3), tag & 7)
            }
            _ => long_tag(&mut self.rest)?,
        };
        self.start = self.stop;
        self.number = number;
        self.wire = wire;
        if wire == 2 {
            let length = match self.rest {
                [length @ 0..0x80, rest @ ..] => {
                    self.rest = rest;
                    usize::from(*length)
                }
                _ => long_length(&mut self.rest)?,
            };
            let Some((body, rest)) = self.rest.split_at_checked(length) else {
                return Err(WireError::Truncated);
            };
            self.body = body;
            self.rest = rest;
        } else {
            self.scalar = scalar(&mut self.rest, number, wire)?;
        }
        self.stop = self.end.saturating_sub(self.rest.len());
        Ok(true)
    }

    /// Goes on at `rest`, which is an end of [`rest`](Self::rest) where a field begins.
    #[inline]
    pub(crate) fn skip_to(&mut self, rest: &'a [u8]) {
        self.rest = rest;
        self.stop = self.end.saturating_sub(rest.len());
    }

    /// What comes after the fields that were read.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// The commonest field of all: a `KeyValue` that has a key and a text, and lengths of one byte.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextAttribute<'a> {
    pub(crate) field: &'a [u8],
    pub(crate) key: &'a [u8],
    /// The field `KeyValue.value` and all that comes after it.
    pub(crate) value: &'a [u8],
    pub(crate) text: &'a [u8],
    /// What comes after the field.
    pub(crate) rest: &'a [u8],
}

impl<'a> TextAttribute<'a> {
    /// The one with which `bytes` begin, if its tag is that.
    ///
    /// Each of its two heads is compared as one number, since this is done for every attribute.
    #[expect(clippy::inline_always, reason = "a call costs as much as reading a field")]
    #[inline(always)]
    pub(crate) fn first(bytes: &'a [u8], tag: u8) -> Option<Self> {
        let head = u32::from_le_bytes(*bytes.first_chunk()?);
        let [_, whole, _, key_length] = head.to_le_bytes().map(usize::from);
        if head & 0x00ff_80ff != 0x000a_0000 | u32::from(tag) {
            return None;
        }
        let (field, rest) = bytes.split_at_checked(whole.wrapping_add(2))?;
        let (key, value) = field.get(4..)?.split_at_checked(key_length)?;
        let (value_head, text) = value.split_first_chunk::<4>()?;
        // The text has less than 0x80 bytes, so its lengths take one byte each.
        let length = u32::try_from(text.len()).ok()?;
        let expected = 0x000a_0212_u32.wrapping_add(length.wrapping_mul(0x0100_0100));
        let value = bytes.get(key_length.wrapping_add(4)..)?;
        (u32::from_le_bytes(*value_head) == expected).then_some(Self {
            field,
            key,
            value,
            text,
            rest,
        })
    }
}

#[cold]
fn long_tag(rest: &mut &[u8]) -> Result<(u32, u8), WireError> {
    let tag = varint(rest)?;
    let number = u32::try_from(tag >> 3).map_err(|_| WireError::Tag)?;
    if number == 0 || u64::from(number) > MAX_NUMBER {
        return Err(WireError::Tag);
    }
    Ok((number, tag.to_le_bytes()[0] & 7))
}

fn long_length(rest: &mut &[u8]) -> Result<usize, WireError> {
    usize::try_from(varint(rest)?).map_err(|_| WireError::Truncated)
}

/// Reads a value of any wire type but 2.
#[inline]
fn scalar(rest: &mut &[u8], number: u32, wire: u8) -> Result<u64, WireError> {
    match wire {
        0 => varint(rest),
        1 => Ok(u64::from_le_bytes(array(rest)?)),
        3 | 4 => Err(WireError::Group { number }),
        5 => Ok(u64::from(u32::from_le_bytes(array(rest)?))),
        _ => Err(WireError::Tag),
    }
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], WireError> {
    let (taken, after) = rest.split_first_chunk().ok_or(WireError::Truncated)?;
    *rest = after;
    Ok(*taken)
}

/// The fields of a message in the order in which they stand. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    walk: Walk<'a>,
    message: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `message`.
    pub fn new(message: &'a [u8]) -> Self {
        Self { walk: Walk::new(message, 0), message }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.walk.next() {
            Ok(false) => None,
            Err(error) => {
                self.walk.rest = &[];
                Some(Err(error))
            }
            Ok(true) => {
                let Walk { number, wire, body, scalar, start, stop, .. } = self.walk;
                let value = match wire {
                    0 => Value::Varint(scalar),
                    1 => Value::Fixed64(scalar),
                    2 => Value::Bytes(body),
                    _ => Value::Fixed32(u32::try_from(scalar).unwrap_or_default()),
                };
                let raw = self.message.get(start..stop).unwrap_or_default();
                Some(Ok(Field { number, value, raw }))
            }
        }
    }
}

#[inline]
pub(crate) fn varint(rest: &mut &[u8]) -> Result<u64, WireError> {
    match *rest {
        [byte @ 0..0x80, tail @ ..] => {
            *rest = tail;
            Ok(u64::from(*byte))
        }
        _ => long_varint(rest),
    }
}

fn long_varint(rest: &mut &[u8]) -> Result<u64, WireError> {
    let mut value = 0_u64;
    for shift in (0..64_u32).step_by(7) {
        let (&byte, tail) = rest.split_first().ok_or(WireError::Truncated)?;
        *rest = tail;
        if shift == 63 && byte > 1 {
            return Err(WireError::Number);
        }
        value |= u64::from(byte & 0x7f).wrapping_shl(shift);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(WireError::Number)
}

/// Checks that `packed` is a sequence of whole varints.
pub(crate) fn check_varints(mut packed: &[u8]) -> Result<(), WireError> {
    while !packed.is_empty() {
        varint(&mut packed)?;
    }
    Ok(())
}

/// Writes a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Bytes that [`put_varint`] writes.
pub(crate) fn varint_length(value: u64) -> usize {
    let bits = 64_u32.saturating_sub((value | 1).leading_zeros());
    bits.div_ceil(7) as usize
}

/// Writes tag and length of a field of wire type 2.
pub(crate) fn put_head(out: &mut Vec<u8>, number: u32, length: usize) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, length as u64);
}

/// Bytes that [`put_head`] writes.
pub(crate) fn head_length(number: u32, length: usize) -> usize {
    varint_length(u64::from(number) << 3 | 2).saturating_add(varint_length(length as u64))
}

/// Writes a field of wire type 2.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_head(out, number, bytes.len());
    out.extend_from_slice(bytes);
}

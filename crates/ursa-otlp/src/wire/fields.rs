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

/// The fields of a message in the order in which they stand. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `message`.
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// What comes after the fields that were read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn read(&mut self) -> Result<Field<'a>, WireError> {
        let start = self.rest;
        let tag = varint(&mut self.rest)?;
        let number = match tag >> 3 {
            number @ 1..=MAX_NUMBER => u32::try_from(number).unwrap_or(u32::MAX),
            _ => return Err(WireError::Tag),
        };
        let value = match tag & 7 {
            2 => {
                let length = varint(&mut self.rest)?;
                let length = usize::try_from(length).map_err(|_| WireError::Truncated)?;
                Value::Bytes(self.take(length)?)
            }
            0 => Value::Varint(varint(&mut self.rest)?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            3 | 4 => return Err(WireError::Group { number }),
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(WireError::Tag),
        };
        let length = start.len().saturating_sub(self.rest.len());
        let raw = start.get(..length).unwrap_or(start);
        Ok(Field { number, value, raw })
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[inline]
pub(super) fn varint(rest: &mut &[u8]) -> Result<u64, WireError> {
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
pub(super) fn check_varints(mut packed: &[u8]) -> Result<(), WireError> {
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

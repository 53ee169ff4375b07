//! `MessagePack`, read without memory and written. Counts and lengths that a sender claims are only
//! believed as far as bytes follow.

use super::DatadogError;

/// Lists and maps inside one another that are walked over.
const MAX_DEPTH: usize = 64;

/// A value, or the head of a list or map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'a> {
    Nil,
    Bool(bool),
    Uint(u64),
    Int(i64),
    Float(f64),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    /// So many values follow.
    List(u32),
    /// So many pairs follow.
    Map(u32),
    Extension,
}

/// Reads from the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// What lies between here and where `later` is.
    pub(super) fn until(self, later: Self) -> &'a [u8] {
        let length = self.rest.len().saturating_sub(later.rest.len());
        self.rest.get(..length).unwrap_or_default()
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DatadogError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DatadogError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DatadogError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DatadogError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A big-endian length of `N` bytes.
    fn length<const N: usize>(&mut self) -> Result<u32, DatadogError> {
        let bytes: [u8; N] = self.array()?;
        Ok(bytes.into_iter().fold(0, |length, byte| length << 8 | u32::from(byte)))
    }

    fn long(&mut self, length: u32) -> Result<&'a [u8], DatadogError> {
        self.take(usize::try_from(length).map_err(|_| DatadogError::Truncated)?)
    }

    pub(super) fn token(&mut self) -> Result<Token<'a>, DatadogError> {
        let [head] = self.array()?;
        Ok(match head {
            0x00..=0x7f => Token::Uint(head.into()),
            0x80..=0x8f => Token::Map(u32::from(head & 0x0f)),
            0x90..=0x9f => Token::List(u32::from(head & 0x0f)),
            0xa0..=0xbf => Token::Text(self.take(usize::from(head & 0x1f))?),
            0xc0 => Token::Nil,
            0xc1 => return Err(DatadogError::Head),
            0xc2 | 0xc3 => Token::Bool(head == 0xc3),
            0xc4 => Token::Bytes(self.length::<1>().and_then(|length| self.long(length))?),
            0xc5 => Token::Bytes(self.length::<2>().and_then(|length| self.long(length))?),
            0xc6 => Token::Bytes(self.length::<4>().and_then(|length| self.long(length))?),
            0xc7 => self.length::<1>().and_then(|length| self.extension(length))?,
            0xc8 => self.length::<2>().and_then(|length| self.extension(length))?,
            0xc9 => self.length::<4>().and_then(|length| self.extension(length))?,
            0xca => Token::Float(f32::from_be_bytes(self.array()?).into()),
            0xcb => Token::Float(f64::from_be_bytes(self.array()?)),
            0xcc => Token::Uint(u8::from_be_bytes(self.array()?).into()),
            0xcd => Token::Uint(u16::from_be_bytes(self.array()?).into()),
            0xce => Token::Uint(u32::from_be_bytes(self.array()?).into()),
            0xcf => Token::Uint(u64::from_be_bytes(self.array()?)),
            0xd0 => Token::Int(i8::from_be_bytes(self.array()?).into()),
            0xd1 => Token::Int(i16::from_be_bytes(self.array()?).into()),
            0xd2 => Token::Int(i32::from_be_bytes(self.array()?).into()),
            0xd3 => Token::Int(i64::from_be_bytes(self.array()?)),
            0xd4..=0xd8 => self.extension(1_u32 << (head & 0x0f).saturating_sub(4))?,
            0xd9 => Token::Text(self.length::<1>().and_then(|length| self.long(length))?),
            0xda => Token::Text(self.length::<2>().and_then(|length| self.long(length))?),
            0xdb => Token::Text(self.length::<4>().and_then(|length| self.long(length))?),
            0xdc => Token::List(self.length::<2>()?),
            0xdd => Token::List(self.length::<4>()?),
            0xde => Token::Map(self.length::<2>()?),
            0xdf => Token::Map(self.length::<4>()?),
            0xe0..=0xff => Token::Int(head.cast_signed().into()),
        })
    }

    fn extension(&mut self, length: u32) -> Result<Token<'a>, DatadogError> {
        let [_kind] = self.array()?;
        self.long(length)?;
        Ok(Token::Extension)
    }

    /// How many values the list has that is next; nil has none.
    pub(super) fn list(&mut self, what: &'static str) -> Result<u32, DatadogError> {
        match self.token()? {
            Token::List(count) => Ok(count),
            Token::Nil => Ok(0),
            _ => Err(DatadogError::Type { what, wanted: "a list" }),
        }
    }

    /// How many pairs the map has that is next; nil has none.
    pub(super) fn map(&mut self, what: &'static str) -> Result<u32, DatadogError> {
        match self.token()? {
            Token::Map(count) => Ok(count),
            Token::Nil => Ok(0),
            _ => Err(DatadogError::Type { what, wanted: "a map" }),
        }
    }

    /// Text or bytes; nil is empty.
    pub(super) fn text(&mut self, what: &'static str) -> Result<&'a [u8], DatadogError> {
        match self.token()? {
            Token::Text(text) | Token::Bytes(text) => Ok(text),
            Token::Nil => Ok(&[]),
            _ => Err(DatadogError::Type { what, wanted: "text" }),
        }
    }

    /// A number that has no sign, of which some tracers do not know.
    pub(super) fn uint(&mut self, what: &'static str) -> Result<u64, DatadogError> {
        match self.token()? {
            Token::Uint(number) => Ok(number),
            Token::Int(number) => Ok(number.cast_unsigned()),
            Token::Nil => Ok(0),
            _ => Err(DatadogError::Type { what, wanted: "a whole number" }),
        }
    }

    pub(super) fn int(&mut self, what: &'static str) -> Result<i64, DatadogError> {
        match self.token()? {
            Token::Int(number) => Ok(number),
            Token::Uint(number) => i64::try_from(number)
                .map_err(|_| DatadogError::Type { what, wanted: "a number below 2^63" }),
            Token::Nil => Ok(0),
            _ => Err(DatadogError::Type { what, wanted: "a whole number" }),
        }
    }

    pub(super) fn float(&mut self, what: &'static str) -> Result<f64, DatadogError> {
        match self.token()? {
            Token::Float(number) => Ok(number),
            Token::Uint(number) => Ok(number as f64),
            Token::Int(number) => Ok(number as f64),
            Token::Nil => Ok(0.0),
            _ => Err(DatadogError::Type { what, wanted: "a number" }),
        }
    }

    /// Walks over one value.
    pub(super) fn skip(&mut self) -> Result<(), DatadogError> {
        // What is still to come in each list or map that was entered.
        let mut open = [0_u64; MAX_DEPTH];
        let mut depth = 0_usize;
        loop {
            let inside = match self.token()? {
                Token::List(count) => u64::from(count),
                Token::Map(count) => u64::from(count).saturating_mul(2),
                _ => 0,
            };
            if inside > 0 {
                *open.get_mut(depth).ok_or(DatadogError::Depth)? = inside;
                depth = depth.saturating_add(1);
                continue;
            }
            loop {
                let Some(outer) = depth.checked_sub(1) else { return Ok(()) };
                let left = open.get_mut(outer).ok_or(DatadogError::Depth)?;
                *left = left.saturating_sub(1);
                if *left > 0 {
                    break;
                }
                depth = outer;
            }
        }
    }
}

pub(super) fn put_list(out: &mut Vec<u8>, count: u32) {
    match (u8::try_from(count), u16::try_from(count)) {
        (Ok(count @ ..=15), _) => out.push(0x90 | count),
        (_, Ok(count)) => long(out, 0xdc, &count.to_be_bytes()),
        _ => long(out, 0xdd, &count.to_be_bytes()),
    }
}

pub(super) fn put_map(out: &mut Vec<u8>, count: u32) {
    match (u8::try_from(count), u16::try_from(count)) {
        (Ok(count @ ..=15), _) => out.push(0x80 | count),
        (_, Ok(count)) => long(out, 0xde, &count.to_be_bytes()),
        _ => long(out, 0xdf, &count.to_be_bytes()),
    }
}

/// Text; beyond 4 GiB, which no message has, it is cut.
pub(super) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let text = text.get(..u32::MAX as usize).unwrap_or(text);
    let length = text.len();
    match (u8::try_from(length), u16::try_from(length), u32::try_from(length)) {
        (Ok(length @ ..=31), ..) => out.push(0xa0 | length),
        (Ok(length), ..) => long(out, 0xd9, &[length]),
        (_, Ok(length), _) => long(out, 0xda, &length.to_be_bytes()),
        (.., length) => long(out, 0xdb, &length.unwrap_or(u32::MAX).to_be_bytes()),
    }
    out.extend_from_slice(text);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = bytes.get(..u32::MAX as usize).unwrap_or(bytes);
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    long(out, 0xc6, &length.to_be_bytes());
    out.extend_from_slice(bytes);
}

pub(super) fn put_uint(out: &mut Vec<u8>, number: u64) {
    match (u8::try_from(number), u32::try_from(number)) {
        (Ok(number @ ..=0x7f), _) => out.push(number),
        (_, Ok(number)) => long(out, 0xce, &number.to_be_bytes()),
        _ => long(out, 0xcf, &number.to_be_bytes()),
    }
}

pub(super) fn put_int(out: &mut Vec<u8>, number: i64) {
    match u64::try_from(number) {
        Ok(number) => put_uint(out, number),
        Err(_) => long(out, 0xd3, &number.to_be_bytes()),
    }
}

pub(super) fn put_float(out: &mut Vec<u8>, number: f64) {
    long(out, 0xcb, &number.to_be_bytes());
}

fn long(out: &mut Vec<u8>, head: u8, bytes: &[u8]) {
    out.push(head);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_come_back() {
        for number in [0, 1, 127, 128, 65_535, 65_536, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_uint(&mut out, number);
            assert_eq!(Reader::new(&out).uint("n").unwrap(), number);
        }
        for number in [i64::MIN, -129, -1, 0, 127, i64::MAX] {
            let mut out = Vec::new();
            put_int(&mut out, number);
            assert_eq!(Reader::new(&out).int("n").unwrap(), number);
        }
        for length in [0, 31, 32, 255, 256, 65_535, 65_536] {
            let text = vec![b'x'; length];
            let mut out = Vec::new();
            put_text(&mut out, &text);
            put_bytes(&mut out, &text);
            put_list(&mut out, u32::try_from(length).unwrap());
            put_map(&mut out, u32::try_from(length).unwrap());
            let mut reader = Reader::new(&out);
            assert_eq!(reader.text("t").unwrap(), text);
            assert_eq!(reader.text("b").unwrap(), text);
            assert_eq!(reader.list("l").unwrap() as usize, length);
            assert_eq!(reader.map("m").unwrap() as usize, length);
            assert!(reader.rest().is_empty());
        }
    }

    #[test]
    fn one_value_of_any_kind_is_walked_over() {
        let values: &[&[u8]] = &[
            &[0xc0],
            &[0xc2],
            &[0xcb, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x93, 0x01, 0x90, 0x81, 0xa1, b'a', 0x92, 0xc0, 0xc0],
            &[0xd4, 1, 2],
            &[0xd8, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
            &[0xc7, 2, 1, 0, 0],
        ];
        for value in values {
            let bytes = [value, &b"\x05"[..]].concat();
            let mut reader = Reader::new(&bytes);
            reader.skip().unwrap();
            assert_eq!(reader.rest(), b"\x05", "{value:?}");
            let cut = &value[..value.len() - 1];
            assert!(Reader::new(cut).skip().is_err(), "{value:?}");
        }
        let deep = [vec![0x91; 200], vec![0xc0]].concat();
        assert!(matches!(Reader::new(&deep).skip(), Err(DatadogError::Depth)));
        assert!(matches!(Reader::new(&[0xc1]).skip(), Err(DatadogError::Head)));
    }
}

//! Numbers and fields in bytes.

/// What is before the first `at`, and what is after it, if it is there.
pub(crate) fn cut(bytes: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    let index = bytes.iter().position(|byte| *byte == at);
    match index.and_then(|index| bytes.split_at_checked(index)) {
        Some((head, tail)) => (head, tail.get(1..)),
        None => (bytes, None),
    }
}

/// The parts between separators, without the spaces around them; empty ones are left out.
#[derive(Debug, Clone)]
pub(crate) struct Parts<'a> {
    rest: Option<&'a [u8]>,
    at: u8,
}

impl<'a> Parts<'a> {
    pub(crate) fn new(bytes: &'a [u8], at: u8) -> Self {
        Self { rest: Some(bytes), at }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let (part, rest) = cut(self.rest?, self.at);
            self.rest = rest;
            let part = part.trim_ascii();
            if !part.is_empty() {
                return Some(part);
            }
        }
    }
}

/// 1 to 16 hexadecimal digits of either case.
pub(crate) fn hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let mut value = 0_u64;
    for digit in digits {
        value = value << 4 | u64::from(nibble(*digit)?);
    }
    Some(value)
}

/// The value of a hexadecimal digit of either case.
pub(crate) fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit & 15),
        b'a'..=b'f' | b'A'..=b'F' => Some((digit & 15).wrapping_add(9)),
        _ => None,
    }
}

/// Digits of a number below 2⁶⁴, nothing else, at most 20 of them.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    let mut value = 0_u64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit & 15))?;
    }
    Some(value)
}

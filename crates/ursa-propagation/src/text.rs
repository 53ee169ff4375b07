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
    let (mut value, mut all) = (0_u64, 0);
    for digit in digits {
        let nibble = NIBBLES.get(usize::from(*digit)).copied().unwrap_or(NONE);
        all |= nibble;
        value = value << 4 | u64::from(nibble & 15);
    }
    (all & NONE == 0).then_some(value)
}

/// The value of a hexadecimal digit of either case.
pub(crate) fn nibble(digit: u8) -> Option<u8> {
    NIBBLES.get(usize::from(digit)).copied().filter(|nibble| nibble & NONE == 0)
}

/// A bit that no value of a digit has.
const NONE: u8 = 0x80;

/// The value of each byte as a hexadecimal digit.
static NIBBLES: [u8; 256] = {
    let mut nibbles = [NONE; 256];
    let mut value = 0_u8;
    while value < 16 {
        #[expect(clippy::indexing_slicing, reason = "at compile time")]
        {
            nibbles[b"0123456789abcdef"[value as usize] as usize] = value;
            nibbles[b"0123456789ABCDEF"[value as usize] as usize] = value;
        }
        value = value.saturating_add(1);
    }
    nibbles
};

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

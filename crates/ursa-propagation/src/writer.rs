//! Text written into bytes that are there already.

/// Writes into a slice, and goes on counting when it is full.
#[derive(Debug)]
pub struct Writer<'a> {
    bytes: &'a mut [u8],
    length: usize,
    was_full: bool,
}

impl<'a> Writer<'a> {
    /// Writes from the beginning of `bytes`.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, length: 0, was_full: false }
    }

    /// How many bytes the text has, also those for which there was no room.
    pub fn length(&self) -> usize {
        self.length
    }

    /// How many bytes there are to write into.
    pub fn room(&self) -> usize {
        self.bytes.len()
    }

    /// Whether all of the text found room.
    pub fn fits(&self) -> bool {
        self.length <= self.bytes.len()
    }

    /// Whether something found no room, also if it was forgotten since.
    pub fn was_full(&self) -> bool {
        self.was_full
    }

    /// The text, unless it did not find room.
    pub fn text(&self) -> Option<&[u8]> {
        self.bytes.get(..self.length)
    }

    /// Forgets all but the first `length` bytes.
    pub fn rewind(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Appends one byte.
    pub fn byte(&mut self, byte: u8) {
        match self.bytes.get_mut(self.length) {
            Some(place) => *place = byte,
            None => self.was_full = true,
        }
        self.length = self.length.saturating_add(1);
    }

    /// Appends bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let rest = self.bytes.get_mut(self.length..).unwrap_or_default();
        self.was_full |= rest.len() < bytes.len();
        for (place, byte) in rest.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.length = self.length.saturating_add(bytes.len());
    }

    /// Appends the last digits, at most 16, of a number in lower-case hexadecimal.
    pub fn hex(&mut self, value: u64, digits: u32) {
        let mut rest = value.wrapping_shl(64_u32.saturating_sub(digits.saturating_mul(4)));
        for _ in 0..digits.min(16) {
            self.byte(digit((rest >> 60) as u8, b'a'));
            rest <<= 4;
        }
    }

    /// Appends a number in decimal.
    pub fn decimal(&mut self, value: u64) {
        let mut digits = [0; 20];
        let mut rest = value;
        let mut unused = digits.len();
        for place in digits.iter_mut().rev() {
            *place = digit((rest % 10) as u8, b'a');
            rest /= 10;
            unused = unused.saturating_sub(1);
            if rest == 0 {
                break;
            }
        }
        for digit in digits.iter().skip(unused) {
            self.byte(*digit);
        }
    }

    /// Appends `%` and two digits (RFC 3986, section 2.1).
    pub fn escaped(&mut self, byte: u8) {
        self.byte(b'%');
        self.byte(digit(byte >> 4, b'A'));
        self.byte(digit(byte & 15, b'A'));
    }
}

fn digit(value: u8, ten: u8) -> u8 {
    match value {
        0..10 => value | b'0',
        _ => ten.wrapping_add(value).wrapping_sub(10),
    }
}

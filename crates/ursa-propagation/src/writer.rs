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
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        let rest = self.bytes.get_mut(self.length..).unwrap_or_default();
        match rest.get_mut(..bytes.len()) {
            Some(place) => place.copy_from_slice(bytes),
            None => self.was_full |= cut(rest, bytes),
        }
        self.length = self.length.saturating_add(bytes.len());
    }

    /// Appends as many bytes as one knows when compiling.
    #[inline]
    fn array<const N: usize>(&mut self, bytes: [u8; N]) {
        let rest = self.bytes.get_mut(self.length..).unwrap_or_default();
        match rest.first_chunk_mut() {
            Some(place) => *place = bytes,
            None => self.was_full |= cut(rest, &bytes),
        }
        self.length = self.length.saturating_add(N);
    }

    /// Appends the 16 digits of a number in lower-case hexadecimal.
    #[inline]
    pub fn hex(&mut self, value: u64) {
        self.hex_of_half((value >> 32) as u32);
        self.hex_of_half((value & 0xffff_ffff) as u32);
    }

    /// Appends the 8 digits of a number in lower-case hexadecimal.
    #[inline]
    pub fn hex_of_half(&mut self, value: u32) {
        self.array(hex(value).to_be_bytes());
    }

    /// Appends the last digits, at most 16, of a number in lower-case hexadecimal.
    pub fn end_of_hex(&mut self, value: u64, digits: usize) {
        let mut all = [0; 16];
        Writer::new(&mut all).hex(value);
        self.bytes(all.get(16_usize.saturating_sub(digits)..).unwrap_or_default());
    }

    /// Appends a number in decimal.
    pub fn decimal(&mut self, value: u64) {
        let mut digits = [0; 20];
        let mut rest = value;
        let mut unused = digits.len();
        for place in digits.iter_mut().rev() {
            *place = (rest % 10) as u8 | b'0';
            rest /= 10;
            unused = unused.saturating_sub(1);
            if rest == 0 {
                break;
            }
        }
        self.bytes(digits.get(unused..).unwrap_or_default());
    }

    /// Appends `%` and two digits (RFC 3986, section 2.1).
    pub fn escaped(&mut self, byte: u8) {
        let digit = |value: u8| match value {
            0..10 => value | b'0',
            _ => value.wrapping_add(b'A' - 10),
        };
        self.array([b'%', digit(byte >> 4), digit(byte & 15)]);
    }
}

/// Copies as much as there is room for; whether that was not all.
fn cut(room: &mut [u8], bytes: &[u8]) -> bool {
    for (place, byte) in room.iter_mut().zip(bytes) {
        *place = *byte;
    }
    room.len() < bytes.len()
}

/// The eight digits of a number, the first in the highest byte, all at once: each half of the bytes is moved to where
/// it belongs, until each digit has a byte of its own.
fn hex(number: u32) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut digits = u64::from(number);
    digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff;
    digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff;
    digits = (digits | digits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // One in each byte whose digit is a letter: six more, and it does not fit into four bits.
    let letters = digits.wrapping_add(6 * ONES) >> 4 & ONES;
    let letter = u64::from(b'a' - b'0' - 10);
    digits.wrapping_add(u64::from(b'0') * ONES).wrapping_add(letters.wrapping_mul(letter))
}

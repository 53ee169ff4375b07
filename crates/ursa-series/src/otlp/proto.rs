//! Writing protobuf.

/// Adds a varint.
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Adds a field of wire type 0; also if it is 0.
pub(super) fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, u64::from(field) << 3);
    varint(out, value);
}

/// Adds a field of wire type 1; also if it is 0.
pub(super) fn fixed(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, u64::from(field) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Adds a field of wire type 1 that is a `double`.
pub(super) fn double(out: &mut Vec<u8>, field: u32, value: f64) {
    fixed(out, field, value.to_bits());
}

/// Adds tag and length of a field of wire type 2.
pub(super) fn head(out: &mut Vec<u8>, field: u32, length: usize) {
    varint(out, u64::from(field) << 3 | 2);
    varint(out, length as u64);
}

/// Adds a field of wire type 2.
pub(super) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    head(out, field, value.len());
    out.extend_from_slice(value);
}

/// Adds a text, if there is one.
pub(super) fn text(out: &mut Vec<u8>, field: u32, value: &str) {
    if !value.is_empty() {
        bytes(out, field, value.as_bytes());
    }
}

/// How long a field of wire type 2 is.
pub(super) fn length(field: u32, of: usize) -> usize {
    size(u64::from(field) << 3).saturating_add(size(of as u64)).saturating_add(of)
}

/// A signed number as one that is small where it is near 0.
pub(super) fn zigzag(value: i32) -> u64 {
    u64::from(((value << 1) ^ (value >> 31)).cast_unsigned())
}

fn size(value: u64) -> usize {
    let bits = 64_u32.saturating_sub((value | 1).leading_zeros());
    bits.div_ceil(7) as usize
}

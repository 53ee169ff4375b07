//! Fields of OTLP, written one by one. What is zero or empty is left out, as protobuf does.

use super::Any;
use crate::wire::fields::{head_length, put_bytes, put_head, put_varint, varint_length};

/// Writes a number, if it is not 0.
pub(crate) fn varint(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_varint(out, u64::from(number) << 3);
        put_varint(out, value);
    }
}

/// Writes a number of eight bytes, if it is not 0.
pub(crate) fn fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_varint(out, u64::from(number) << 3 | 1);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Writes bytes, if there are any.
pub(crate) fn bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    if !value.is_empty() {
        put_bytes(out, number, value);
    }
}

/// Writes a text, if it is not empty.
pub(crate) fn text(out: &mut Vec<u8>, number: u32, value: &str) {
    bytes(out, number, value.as_bytes());
}

/// Writes a `KeyValue`.
pub(crate) fn attribute(out: &mut Vec<u8>, number: u32, key: &str, value: Any<'_>) {
    let any = any_length(value);
    let length = head_length(1, key.len())
        .saturating_add(key.len())
        .saturating_add(head_length(2, any))
        .saturating_add(any);
    put_head(out, number, length);
    put_bytes(out, 1, key.as_bytes());
    put_head(out, 2, any);
    put_any(out, value);
}

/// Bytes that [`put_any`] writes.
fn any_length(value: Any<'_>) -> usize {
    let long =
        |number: u32, bytes: &[u8]| head_length(number, bytes.len()).saturating_add(bytes.len());
    match value {
        Any::Empty => 0,
        Any::Text(text) => long(1, text.as_bytes()),
        Any::Bool(_) => 2,
        Any::Int(number) => varint_length(number.cast_unsigned()).saturating_add(1),
        Any::Double(_) => 9,
        Any::Array(list) => long(5, list.0),
        Any::Map(map) => long(6, map.0),
        Any::Bytes(bytes) => long(7, bytes),
    }
}

fn put_any(out: &mut Vec<u8>, value: Any<'_>) {
    match value {
        Any::Empty => {}
        Any::Text(text) => put_bytes(out, 1, text.as_bytes()),
        Any::Bool(truth) => out.extend_from_slice(&[2 << 3, u8::from(truth)]),
        Any::Int(number) => {
            out.push(3 << 3);
            put_varint(out, number.cast_unsigned());
        }
        Any::Double(number) => {
            out.push(4 << 3 | 1);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Any::Array(list) => put_bytes(out, 5, list.0),
        Any::Map(map) => put_bytes(out, 6, map.0),
        Any::Bytes(bytes) => put_bytes(out, 7, bytes),
    }
}

/// Writes an `AnyValue` as a field.
pub(crate) fn any_field(out: &mut Vec<u8>, number: u32, value: Any<'_>) {
    put_head(out, number, any_length(value));
    put_any(out, value);
}

/// Writes a number of four bytes, if it is not 0.
pub(crate) fn fixed32(out: &mut Vec<u8>, number: u32, value: u32) {
    if value != 0 {
        put_varint(out, u64::from(number) << 3 | 5);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

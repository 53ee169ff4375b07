//! Protobuf to OTLP/JSON, straight from the bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::wire::fields::varint;
use crate::wire::schema::{Field, Message, Often, Type};
use crate::wire::{Fields, MAX_DEPTH, Value, WireError};

/// Writes a message as an object. Fields that its table does not know are left out, as JSON has no
/// name for them.
pub(super) fn object(
    body: &[u8],
    message: &Message,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    if depth > MAX_DEPTH {
        return Err(WireError::Depth);
    }
    let fields: Vec<(u32, Value<'_>)> = Fields::new(body)
        .map(|field| field.map(|field| (field.number, field.value)))
        .collect::<Result<_, _>>()?;
    let is_choice = |number| {
        message.fields.iter().any(|one| one.number == number && one.often == Often::Choice)
    };
    let chosen = fields.iter().rev().find(|(number, _)| is_choice(*number));
    out.push(b'{');
    let mut first = true;
    for field @ Field { number, name, holds, often } in message.fields {
        let mut values: Vec<Value<'_>> = match often {
            Often::Choice if chosen.is_none_or(|(chosen, _)| chosen != number) => continue,
            // What another member of the choice replaced is gone.
            Often::Choice => {
                let others =
                    fields.iter().rposition(|(other, _)| other != number && is_choice(*other));
                let after = others.map_or(0, |at| at.saturating_add(1));
                let run = fields.iter().skip(after).filter(|(other, _)| other == number);
                run.map(|(_, value)| *value).collect()
            }
            _ => fields
                .iter()
                .filter(|(other, _)| other == number)
                .map(|(_, value)| *value)
                .collect(),
        };
        if values.is_empty() {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        text(name, out);
        out.push(b':');
        if *often == Often::Repeated {
            out.push(b'[');
            list(&values, field, depth, out)?;
            out.push(b']');
        } else if let (Some(inner), [_, _, ..]) = (holds.message(), values.as_slice()) {
            let pieces: Vec<u8> = values.iter().flat_map(bytes).copied().collect();
            object(&pieces, inner, depth.saturating_add(1), out)?;
        } else if let Some(last) = values.pop() {
            value(last, *holds, depth, out)?;
        }
    }
    out.push(b'}');
    Ok(())
}

/// Writes the items of a list.
fn list(
    values: &[Value<'_>],
    field: &Field,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    let mut first = true;
    let mut item = |single: Value<'_>, out: &mut Vec<u8>| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        value(single, field.holds, depth, out)
    };
    for single in values {
        match (field.holds, single) {
            (Type::Doubles | Type::Fixed64s, Value::Bytes(packed)) => {
                for number in packed.as_chunks::<8>().0 {
                    item(Value::Fixed64(u64::from_le_bytes(*number)), out)?;
                }
            }
            (Type::UInt64s, Value::Bytes(packed)) => {
                let mut packed = *packed;
                while !packed.is_empty() {
                    item(Value::Varint(varint(&mut packed)?), out)?;
                }
            }
            _ => item(*single, out)?,
        }
    }
    Ok(())
}

fn value(value: Value<'_>, holds: Type, depth: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
    let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default();
    if let (Some(inner), Value::Bytes(body)) = (holds.message(), value) {
        return object(body, inner, depth.saturating_add(1), out);
    }
    match (holds, value) {
        (Type::Text, Value::Bytes(body)) => text(&String::from_utf8_lossy(body), out),
        (Type::TraceId | Type::SpanId | Type::Hex, Value::Bytes(id)) => {
            out.push(b'"');
            for byte in id {
                out.extend_from_slice(format!("{byte:02x}").as_bytes());
            }
            out.push(b'"');
        }
        (Type::Base64, Value::Bytes(body)) => text(&STANDARD.encode(body), out),
        (Type::Bool, Value::Varint(bit)) => {
            out.extend_from_slice(if bit == 0 { b"false" } else { b"true" });
        }
        (Type::Int32, Value::Varint(number)) => show(low(number).cast_signed(), out),
        (Type::UInt32, Value::Varint(number)) => show(low(number), out),
        (Type::SInt32, Value::Varint(number)) => {
            let number = low(number);
            show((number >> 1).cast_signed() ^ (number & 1).cast_signed().wrapping_neg(), out);
        }
        (Type::Fixed32, Value::Fixed32(number)) => show(number, out),
        (Type::Int64, Value::Varint(number)) => text(&number.cast_signed().to_string(), out),
        (Type::UInt64s, Value::Varint(number)) => text(&number.to_string(), out),
        (Type::Fixed64 | Type::Fixed64s, Value::Fixed64(number)) => text(&number.to_string(), out),
        (Type::SFixed64, Value::Fixed64(number)) => {
            text(&number.cast_signed().to_string(), out);
        }
        (Type::Double | Type::Doubles, Value::Fixed64(bits)) => double(f64::from_bits(bits), out),
        _ => out.extend_from_slice(b"null"),
    }
    Ok(())
}

/// Protobuf's JSON has words for what JSON has no numbers for.
fn double(number: f64, out: &mut Vec<u8>) {
    match number {
        _ if number.is_nan() => text("NaN", out),
        f64::INFINITY => text("Infinity", out),
        f64::NEG_INFINITY => text("-Infinity", out),
        _ => out.extend_from_slice(serde_json::json!(number).to_string().as_bytes()),
    }
}

fn show(number: impl std::fmt::Display + Copy, out: &mut Vec<u8>) {
    out.extend_from_slice(number.to_string().as_bytes());
}

fn text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(serde_json::json!(text).to_string().as_bytes());
}

fn bytes<'v>(value: &'v Value<'_>) -> &'v [u8] {
    match value {
        Value::Bytes(body) => body,
        _ => &[],
    }
}

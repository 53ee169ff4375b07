//! `MessagePack` as JSON and back, for people and for comparing.

use serde_json::{Map, Number, Value};

pub(crate) fn to_json(bytes: &[u8]) -> Value {
    let mut rest = bytes;
    let value = read(&mut rest);
    assert!(rest.is_empty(), "something follows");
    value
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, after) = rest.split_at(length);
    *rest = after;
    taken
}

fn number(rest: &mut &[u8], length: usize) -> u64 {
    take(rest, length).iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn read(rest: &mut &[u8]) -> Value {
    let head = take(rest, 1)[0];
    let length =
        |rest: &mut &[u8], first: u8| usize::try_from(number(rest, 1 << (head - first))).unwrap();
    let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes));
    let list = |rest: &mut &[u8], count: usize| (0..count).map(|_| read(rest)).collect();
    let map = |rest: &mut &[u8], count: usize| {
        let key = |key: Value| key.as_str().map_or_else(|| key.to_string(), str::to_owned);
        let pairs = (0..count).map(|_| (key(read(rest)), read(rest)));
        Value::Object(pairs.collect::<Map<_, _>>())
    };
    match head {
        0x00..=0x7f => head.into(),
        0x80..=0x8f => map(rest, (head & 15).into()),
        0x90..=0x9f => list(rest, (head & 15).into()),
        0xa0..=0xbf => text(take(rest, (head & 31).into())),
        0xc0 => Value::Null,
        0xc2 | 0xc3 => (head == 0xc3).into(),
        0xc4..=0xc6 => {
            let length = length(rest, 0xc4);
            text(take(rest, length))
        }
        0xcb => Number::from_f64(f64::from_bits(number(rest, 8))).into(),
        0xcc..=0xcf => number(rest, 1 << (head - 0xcc)).into(),
        0xd3 => number(rest, 8).cast_signed().into(),
        0xd9..=0xdb => {
            let length = length(rest, 0xd9);
            text(take(rest, length))
        }
        0xdc | 0xdd => {
            let count = number(rest, 2 << (head - 0xdc)).try_into().unwrap();
            list(rest, count)
        }
        0xde | 0xdf => {
            let count = number(rest, 2 << (head - 0xde)).try_into().unwrap();
            map(rest, count)
        }
        0xe0..=0xff => head.cast_signed().into(),
        other => format!("unexpected head {other:x}").into(),
    }
}

/// Keys of digits become numbers, as v0.5 has them.
pub(crate) fn of_json(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, value);
    out
}

fn write(out: &mut Vec<u8>, value: &Value) {
    let long = |out: &mut Vec<u8>, head: u8, count: usize| {
        out.push(head);
        out.extend(u32::try_from(count).unwrap().to_be_bytes());
    };
    match value {
        Value::Null => out.push(0xc0),
        Value::Bool(truth) => out.push(0xc2 + u8::from(*truth)),
        Value::Number(number) => {
            let (head, bytes) = match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => (0xcf, number.to_be_bytes()),
                (_, Some(number)) => (0xd3, number.to_be_bytes()),
                _ => (0xcb, number.as_f64().unwrap().to_be_bytes()),
            };
            out.push(head);
            out.extend(bytes);
        }
        Value::String(text) => {
            long(out, 0xdb, text.len());
            out.extend(text.as_bytes());
        }
        Value::Array(list) => {
            long(out, 0xdd, list.len());
            for value in list {
                write(out, value);
            }
        }
        Value::Object(map) => {
            long(out, 0xdf, map.len());
            for (key, value) in map {
                let number = key.parse::<u64>().map(Value::from);
                write(out, &number.unwrap_or_else(|_| key.as_str().into()));
                write(out, value);
            }
        }
    }
}

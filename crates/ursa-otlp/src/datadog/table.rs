//! v0.5: a table of texts, and spans as lists of twelve that point into it.

use super::DatadogError;
use super::msgpack::{Reader, put_float, put_int, put_list, put_map, put_text, put_uint};

/// Texts that a table may have.
const MAX_TEXTS: usize = 1 << 20;
/// Values of a span.
const FIELDS: u32 = 12;

/// Texts by their number.
struct Table<'a>(Vec<&'a [u8]>);

impl<'a> Table<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DatadogError> {
        let mut texts = Vec::new();
        for _ in 0..reader.list("the table")? {
            if texts.len() == MAX_TEXTS {
                return Err(DatadogError::Table { limit: MAX_TEXTS });
            }
            texts.push(reader.text("a text of the table")?);
        }
        Ok(Self(texts))
    }

    fn copy(
        &self,
        reader: &mut Reader<'_>,
        what: &'static str,
        out: &mut Vec<u8>,
    ) -> Result<(), DatadogError> {
        let index = reader.uint(what)?;
        let text = usize::try_from(index).ok().and_then(|index| self.0.get(index));
        let text = text.ok_or(DatadogError::Text { index, texts: self.0.len() })?;
        put_text(out, text);
        Ok(())
    }
}

/// A v0.5 message as a v0.4 one.
///
/// # Errors
/// It is not such a message, or the result would be larger than `limit` bytes: a text stands in the
/// table once, and as often as it is used in what comes out.
pub fn from_v05(message: &[u8], limit: usize) -> Result<Vec<u8>, DatadogError> {
    let mut reader = Reader::new(message);
    if reader.list("the message")? != 2 {
        return Err(DatadogError::Type { what: "the message", wanted: "a list of two" });
    }
    let table = Table::read(&mut reader)?;
    let mut out = Vec::new();
    let traces = reader.list("the list of traces")?;
    put_list(&mut out, traces);
    for _ in 0..traces {
        let spans = reader.list("a trace")?;
        put_list(&mut out, spans);
        for _ in 0..spans {
            span(&mut reader, &table, limit, &mut out)?;
        }
    }
    if !reader.rest().is_empty() {
        return Err(DatadogError::Trailing);
    }
    Ok(out)
}

fn span(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), DatadogError> {
    if reader.list("a span")? != FIELDS {
        return Err(DatadogError::Type { what: "a span", wanted: "a list of twelve" });
    }
    let bounded = |out: &Vec<u8>| {
        if out.len() > limit { Err(DatadogError::TooLarge { limit }) } else { Ok(()) }
    };
    put_map(out, FIELDS);
    for name in ["service", "name", "resource"] {
        put_text(out, name.as_bytes());
        table.copy(reader, name, out)?;
        bounded(out)?;
    }
    for name in ["trace_id", "span_id", "parent_id"] {
        put_text(out, name.as_bytes());
        put_uint(out, reader.uint(name)?);
    }
    for name in ["start", "duration", "error"] {
        put_text(out, name.as_bytes());
        put_int(out, reader.int(name)?);
    }
    put_text(out, b"meta");
    let count = reader.map("meta")?;
    put_map(out, count);
    for _ in 0..count {
        table.copy(reader, "a key of meta", out)?;
        table.copy(reader, "a value of meta", out)?;
        bounded(out)?;
    }
    put_text(out, b"metrics");
    let count = reader.map("metrics")?;
    put_map(out, count);
    for _ in 0..count {
        table.copy(reader, "a key of metrics", out)?;
        put_float(out, reader.float("a value of metrics")?);
        bounded(out)?;
    }
    put_text(out, b"type");
    table.copy(reader, "type", out)?;
    bounded(out)
}

//! The conformance table, and headers as lists.

#[path = "../../../ursa-propagation/tests/propagation/table.rs"]
mod table;

use ursa_propagation::datadog::Datadog;
use ursa_propagation::{Context, Format, Formats, Header, Headers, b3, b3multi, jaeger, w3c, xray};

pub(crate) use table::{Case, Ids, List, cases};

pub(crate) fn headers(list: &List) -> Headers<'_> {
    list.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect()
}

/// The headers that matter, as text, in order of their names.
pub(crate) fn shown(list: &List) -> Vec<String> {
    let matters = |(name, _): &&(String, Vec<u8>)| Header::from_name(name.as_bytes()).is_some();
    let show =
        |(name, value): &(String, Vec<u8>)| format!("{name}: {}", String::from_utf8_lossy(value));
    let mut shown: Vec<_> = list.iter().filter(matters).map(show).collect();
    shown.sort();
    shown
}

/// The whole context that the headers of the first listed format carry.
pub(crate) fn context(formats: Formats, list: &List) -> Option<Context> {
    let headers = headers(list);
    formats.iter().find_map(|format| {
        let parsed = match format {
            Format::W3cTracecontext => w3c::read(&headers)?.context.into(),
            Format::W3cBaggage => return None,
            Format::B3 => b3::parse(headers.first(Header::B3)?)?,
            Format::B3multi => b3multi::parse(&headers)?,
            Format::Datadog => Datadog::parse(&headers)?.parsed(),
            Format::Xray => xray::parse(headers.first(Header::Xray)?)?,
            Format::Jaeger => jaeger::parse(headers.first(Header::Jaeger)?)?,
        };
        Some(Context { trace: parsed.trace?, span: parsed.span?, decision: parsed.decision })
    })
}

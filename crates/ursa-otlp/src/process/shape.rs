//! Where things are in requests: the numbers of OTLP's fields.

use crate::wire::fields::{TextAttribute, Walk};
use crate::wire::{WireError, urls};

/// `ExportTraceServiceRequest.resource_spans` and its kin.
pub(super) const RESOURCE_ITEMS: u32 = 1;
/// `ResourceSpans.resource` and its kin; `ResourceSpans.scope_spans`.
pub(super) const RESOURCE: u32 = 1;
pub(super) const SCOPE_ITEMS: u32 = 2;
/// `Resource.attributes`, `InstrumentationScope.attributes`.
pub(super) const RESOURCE_ATTRIBUTES: u32 = 1;
pub(super) const SCOPE_ATTRIBUTES: u32 = 3;
/// `ScopeSpans.scope`, `ScopeSpans.spans`, `ScopeSpans.schema_url`.
pub(super) const SCOPE: u32 = 1;
pub(super) const ITEMS: u32 = 2;
pub(super) const SCHEMA: u32 = 3;
/// `Span.name`, `Span.kind` and so on.
pub(super) const NAME: u32 = 5;
pub(super) const KIND: u32 = 6;
pub(super) const START: u32 = 7;
pub(super) const END: u32 = 8;
pub(super) const STATUS: u32 = 15;
/// `Status.message`, `Status.code`.
pub(super) const MESSAGE: u32 = 2;
pub(super) const CODE: u32 = 3;
/// `LogRecord.severity_number`, `LogRecord.body`.
pub(super) const SEVERITY: u32 = 2;
pub(super) const BODY: u32 = 5;
/// `Gauge.data_points` and its kin.
pub(super) const POINTS: u32 = 1;
/// `Metric.name`.
pub(super) const METRIC_NAME: u32 = 1;

/// Where attributes are in a kind of item.
pub(super) struct Shape {
    pub(super) attributes: u32,
    /// Messages within, by field number, and the number of their attributes.
    pub(super) within: &'static [(u32, u32)],
    /// Other fields in which URLs are redacted.
    pub(super) texts: &'static [u32],
}

pub(super) const SPAN: Shape =
    Shape { attributes: 9, within: &[(11, 3), (13, 4)], texts: &[NAME, STATUS] };
pub(super) const LOG_RECORD: Shape = Shape { attributes: 6, within: &[], texts: &[BODY] };

/// `Metric.data`: the shape of its points.
pub(super) fn point(number: u32) -> Option<Shape> {
    match number {
        5 | 7 => Some(Shape { attributes: 7, within: &[(5, 7)], texts: &[] }),
        9 => Some(Shape { attributes: 9, within: &[(8, 7)], texts: &[] }),
        10 => Some(Shape { attributes: 1, within: &[(11, 7)], texts: &[] }),
        11 => Some(Shape { attributes: 7, within: &[], texts: &[] }),
        _ => None,
    }
}

/// Whether there may be a URL with something to redact in a message: in its attributes, in those of
/// messages within it, or in `texts`.
pub(super) fn may_redact(
    message: &[u8],
    attributes: u32,
    within: &[(u32, u32)],
    texts: &[u32],
) -> Result<bool, WireError> {
    let tag = u8::try_from(attributes << 3 | 2).unwrap_or_default();
    let mut field = Walk::new(message, 0);
    loop {
        let mut rest = field.rest();
        while let Some(one) = TextAttribute::first(rest, tag) {
            if urls::is_telling_text(&one) {
                return Ok(true);
            }
            rest = one.rest;
        }
        field.skip_to(rest);
        if !field.next()? {
            return Ok(false);
        }
        if field.wire != 2 {
            continue;
        }
        let may = if field.number == attributes {
            urls::is_telling_attribute(field.body)
        } else if texts.contains(&field.number) {
            urls::is_telling(field.body)
        } else {
            match within.iter().find(|(number, _)| *number == field.number) {
                Some((_, inner)) => may_redact(field.body, *inner, &[], &[])?,
                None => false,
            }
        };
        if may {
            return Ok(true);
        }
    }
}

/// `Status.code`, if it is there.
pub(super) fn status_code(status: &[u8]) -> Result<Option<i32>, WireError> {
    let mut code = None;
    let mut field = Walk::new(status, 0);
    while field.next()? {
        if let (CODE, 0) = (field.number, field.wire) {
            code = Some(enumeration(field.scalar));
        }
    }
    Ok(code)
}

/// Decoders keep the low 32 bits.
pub(super) fn enumeration(number: u64) -> i32 {
    let [low, second, third, fourth, ..] = number.to_le_bytes();
    i32::from_le_bytes([low, second, third, fourth])
}

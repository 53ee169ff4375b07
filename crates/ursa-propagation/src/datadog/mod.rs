//! Datadog: `x-datadog-trace-id`, `-parent-id`, `-sampling-priority`, `-origin`, `-tags`.
//!
//! Sources: Datadog's documentation, "Trace Context Propagation", and what its libraries do (dd-trace-rs, the
//! parametric tests of system-tests). Ids are decimal numbers of 64 bits; the first half of a trace id travels in
//! the tag `_dd.p.tid` as 16 hexadecimal digits. Where a library would keep priority, origin and tags in memory they
//! travel past the tracer in the member `dd` of `tracestate` ([`Dd`]).

mod dd;
mod tags;

pub use dd::Dd;

use crate::changes::Changes;
use crate::context::{Context, Decision, Parsed, SpanId, TraceId};
use crate::headers::{Header, Headers};
use crate::text;
use crate::tracestate;
use crate::writer::Writer;
use tags::{Decider, Tags};

/// Bytes of `x-datadog-tags` that are read and written; more is as if none were there, as in Datadog's libraries.
pub const TAGS_MAX: usize = 512;

/// Bytes of `x-datadog-origin` that are written.
const ORIGIN_MAX: usize = 256;

/// What Datadog's headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datadog<'a> {
    /// The trace.
    pub trace: TraceId,
    /// The caller's span. Datadog's own tests ("synthetics") have none.
    pub span: Option<SpanId>,
    /// −1 the user rejects, 0 a sampler rejects, 1 a sampler keeps, 2 the user keeps.
    pub priority: Option<i8>,
    /// Where the trace came from, such as `rum` or `synthetics`.
    pub origin: Option<&'a [u8]>,
    /// The tags as they came.
    pub tags: &'a [u8],
}

impl<'a> Datadog<'a> {
    /// Reads the headers. Without a valid trace id there is nothing; what else is not valid is as if absent.
    pub fn parse(headers: &Headers<'a>) -> Option<Self> {
        let low = text::decimal(headers.first(Header::DatadogTraceId)?).filter(|low| *low != 0)?;
        let tags = headers.first(Header::DatadogTags).unwrap_or_default();
        let tags = if tags.len() > TAGS_MAX { &[] } else { tags };
        let high = Tags::header(tags).high().unwrap_or(0);
        let span = headers.first(Header::DatadogParentId).and_then(text::decimal);
        Some(Self {
            trace: TraceId::new(high, low)?,
            span: span.and_then(SpanId::new),
            priority: headers.first(Header::DatadogPriority).and_then(priority),
            origin: headers.first(Header::DatadogOrigin).filter(|origin| !origin.is_empty()),
            tags,
        })
    }

    /// What of it every format knows.
    pub fn parsed(&self) -> Parsed {
        let decision = self.priority.map_or(Decision::Defer, |priority| Decision::of(priority > 0));
        Parsed { trace: Some(self.trace), span: self.span, decision }
    }

    /// Writes the value of `dd`: `s:<priority>;o:<origin>;p:<parent>;t.<tag>:<value>`. What finds no room in a
    /// member's 256 bytes is left out. `parent` is that of the `dd` that is replaced.
    pub fn write_dd(&self, parent: Option<&[u8]>, out: &mut Writer<'_>) {
        dd::write(self, parent, out);
    }
}

/// Sets the headers: ids; the priority that was sent, as long as it says the same as the flag, else 1 or 0; origin
/// and tags as they came with this trace, or else as `dd` has them.
pub(crate) fn set(context: &Context, headers: &Headers<'_>, changes: &mut Changes) {
    let sampled = context.decision.sampled();
    let dd = tracestate::find(headers.tracestate(), b"dd").map(Dd::parse);
    let came = Datadog::parse(headers).filter(|came| came.trace == context.trace);
    let said = [dd.and_then(|dd| dd.priority), came.and_then(|came| came.priority)];
    let agreed = said.into_iter().flatten().find(|priority| (*priority > 0) == sampled);

    changes.set(Header::DatadogTraceId, 20, |out| out.decimal(context.trace.low()));
    changes.set(Header::DatadogParentId, 20, |out| out.decimal(context.span.value()));
    let priority = agreed.unwrap_or(i8::from(sampled));
    changes.set(Header::DatadogPriority, 4, |out| write_priority(priority, out));

    let decider = match agreed {
        None if said != [None; 2] => {
            if sampled {
                Decider::Default
            } else {
                Decider::Gone
            }
        }
        _ => Decider::Same,
    };
    if came.is_some() && decider == Decider::Same {
        return;
    }
    let origin = dd.and_then(|dd| dd.origin);
    let written = origin.is_some_and(|origin| {
        changes.set(Header::DatadogOrigin, ORIGIN_MAX, |out| dd::decode(origin, out))
    });
    if !written && came.is_none() && headers.has(Header::DatadogOrigin) {
        changes.remove(Header::DatadogOrigin);
    }
    let tags = match (dd, came) {
        (Some(dd), _) => dd.tags(),
        (None, Some(came)) => Tags::header(came.tags),
        (None, None) => Tags::header(&[]),
    };
    let written = changes.set(Header::DatadogTags, TAGS_MAX, |out| {
        tags.clone().write(context.trace.high(), decider, out);
    });
    if !written && headers.has(Header::DatadogTags) {
        changes.remove(Header::DatadogTags);
    }
}

fn priority(text: &[u8]) -> Option<i8> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let value = i8::try_from(text::decimal(digits)?).ok()?;
    Some(if negative { value.wrapping_neg() } else { value })
}

fn write_priority(priority: i8, out: &mut Writer<'_>) {
    if priority < 0 {
        out.byte(b'-');
    }
    out.decimal(u64::from(priority.unsigned_abs()));
}

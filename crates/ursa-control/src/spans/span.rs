//! One span, and where it stands in its trace.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span as Record, Status};
use tokio::time::Instant;

use super::Inner;

/// Links of one span.
const MAX_LINKS: usize = 32;
/// Events of one span.
const MAX_EVENTS: usize = 64;
/// Flag of W3C's `traceparent`, and of a span's `flags`.
const SAMPLED: u32 = 1;

/// A place in a trace: what comes next is its child.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    trace: [u8; 16],
    /// Empty at the root.
    span: Option<[u8; 8]>,
    sampled: bool,
    carried: Option<Arc<Carried>>,
}

/// What a trace's caller gave along.
#[derive(Debug, Default)]
pub(super) struct Carried {
    pub(super) state: String,
    pub(super) baggage: Vec<(String, String)>,
}

impl Context {
    pub(super) fn new(trace: [u8; 16], span: [u8; 8], sampled: bool, carried: Carried) -> Self {
        let nothing = carried.state.is_empty() && carried.baggage.is_empty();
        let carried = (!nothing).then(|| Arc::new(carried));
        Self { trace, span: Some(span), sampled, carried }
    }

    /// The root of a new trace. Of a million traces `sampling` are recorded.
    pub(super) fn invent(sampling: u32) -> Self {
        let trace: [u8; 16] = random();
        let low = trace.last_chunk::<8>().map_or(0, |low| u64::from_be_bytes(*low));
        // The last 56 bits are the random ones (W3C Trace Context Level 2).
        let share = (u128::from(low & ((1 << 56) - 1)) * 1_000_000) >> 56;
        Self { trace, span: None, sampled: share < u128::from(sampling), carried: None }
    }

    pub(crate) fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// Whether both are the same place.
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.trace, self.span) == (other.trace, other.span)
    }
}

/// Something that is done. It ends when it is let go.
#[derive(Debug)]
pub(crate) struct Span {
    /// That of its children; none where tracing is off.
    context: Option<Context>,
    open: Option<Box<Open>>,
}

/// What is recorded of it.
struct Open {
    tracer: Arc<Inner>,
    started: Instant,
    record: Record,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("name", &self.record.name).finish_non_exhaustive()
    }
}

impl Span {
    /// None: tracing is off.
    pub(crate) fn off() -> Self {
        Self { context: None, open: None }
    }

    /// Begins as a child of `parent`; at the root it begins the trace.
    pub(super) fn begin(
        tracer: &Arc<Inner>,
        name: Cow<'static, str>,
        kind: SpanKind,
        parent: Context,
    ) -> Self {
        if !parent.sampled {
            return Self { context: Some(parent), open: None };
        }
        let id: [u8; 8] = random();
        let carried = parent.carried.as_deref();
        let baggage = carried.map(|it| it.baggage.as_slice()).unwrap_or_default();
        let attributes = baggage.iter().map(|(key, value)| pair(key, value.clone())).collect();
        let record = Record {
            trace_id: parent.trace.to_vec(),
            span_id: id.to_vec(),
            parent_span_id: parent.span.map(Vec::from).unwrap_or_default(),
            trace_state: carried.map(|it| it.state.clone()).unwrap_or_default(),
            flags: SAMPLED,
            name: name.into_owned(),
            kind: kind.into(),
            start_time_unix_nano: now(),
            attributes,
            ..Record::default()
        };
        let open = Open { tracer: Arc::clone(tracer), started: Instant::now(), record };
        let context = Context { span: Some(id), ..parent };
        Self { context: Some(context), open: Some(Box::new(open)) }
    }

    /// What its children are children of.
    pub(crate) fn context(&self) -> Option<Context> {
        self.context.clone()
    }

    /// Whether anything said of it is kept.
    pub(crate) fn is_recorded(&self) -> bool {
        self.open.is_some()
    }

    /// Says something of it; what was said before by that name is replaced.
    pub(crate) fn set(&mut self, key: &'static str, value: impl Into<Said>) {
        let Some(open) = &mut self.open else { return };
        let attributes = &mut open.record.attributes;
        attributes.retain(|known| known.key != key);
        attributes.push(pair(key, value));
    }

    /// Something happened.
    pub(crate) fn event(&mut self, name: &'static str, said: &[(&'static str, &str)]) {
        let Some(open) = &mut self.open else { return };
        if open.record.events.len() >= MAX_EVENTS {
            open.record.dropped_events_count += 1;
            return;
        }
        let attributes = said.iter().map(|(key, value)| pair(key, (*value).to_owned())).collect();
        let (name, dropped_attributes_count) = (name.to_owned(), 0);
        open.record.events.push(Event {
            time_unix_nano: now(),
            name,
            attributes,
            dropped_attributes_count,
        });
    }

    /// It came of this too.
    pub(super) fn link(&mut self, other: &Context) {
        let (Some(open), Some(span)) = (&mut self.open, other.span) else { return };
        if open.record.links.len() >= MAX_LINKS {
            open.record.dropped_links_count += 1;
            return;
        }
        let link = Link {
            trace_id: other.trace.to_vec(),
            span_id: span.to_vec(),
            flags: u32::from(other.sampled),
            ..Link::default()
        };
        open.record.links.push(link);
    }

    /// It did not succeed.
    pub(crate) fn fail(&mut self, why: &str) {
        let Some(open) = &mut self.open else { return };
        open.record.status =
            Some(Status { message: why.to_owned(), code: StatusCode::Error.into() });
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        let Open { tracer, started, mut record } = *open;
        let took = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        record.end_time_unix_nano = record.start_time_unix_nano.saturating_add(took);
        if tracer.finished.try_send(record).is_err() {
            tracer.dropped.inc();
        }
    }
}

/// The value of an attribute.
#[derive(Debug)]
pub(crate) struct Said(Value);

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self(Value::StringValue(text))
    }
}

impl From<&str> for Said {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<i64> for Said {
    fn from(number: i64) -> Self {
        Self(Value::IntValue(number))
    }
}

impl From<usize> for Said {
    fn from(number: usize) -> Self {
        i64::try_from(number).unwrap_or(i64::MAX).into()
    }
}

fn pair(key: &str, value: impl Into<Said>) -> KeyValue {
    let value = Some(AnyValue { value: Some(value.into().0) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or_default()
}

/// Random bytes that are not all zero. Where the system gives none, they count.
fn random<const N: usize>() -> [u8; N] {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0; N];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() || bytes == [0; N] {
        let count = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        for (byte, count) in bytes.iter_mut().rev().zip(count.iter().rev()) {
            *byte = *count;
        }
    }
    bytes
}

//! What all formats are about: a trace, the caller's span, and whether it is sampled.

use core::num::NonZeroU64;

use crate::text;
use crate::writer::Writer;

/// The id of a trace: 128 bits that are not all zero. Of a 64-bit id the high half is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId {
    high: u64,
    low: u64,
}

impl TraceId {
    /// None if both halves are zero.
    pub fn new(high: u64, low: u64) -> Option<Self> {
        (high != 0 || low != 0).then_some(Self { high, low })
    }

    /// An id of random bits.
    pub(crate) fn invent(high: u64, low: u64) -> Self {
        Self { high, low: if high == 0 && low == 0 { 1 } else { low } }
    }

    /// 1 to 32 hexadecimal digits of either case; fewer than 32 are padded with zeros on the left.
    pub fn from_hex(digits: &[u8]) -> Option<Self> {
        match digits.split_last_chunk::<16>() {
            Some(([], low)) => Self::new(0, text::hex(low)?),
            Some((high, low)) => Self::new(text::hex(high)?, text::hex(low)?),
            None => Self::new(0, text::hex(digits)?),
        }
    }

    /// The first 64 bits; zero for a 64-bit id.
    pub fn high(self) -> u64 {
        self.high
    }

    /// The last 64 bits.
    pub fn low(self) -> u64 {
        self.low
    }

    /// The last 56 bits, which are random (W3C Trace Context Level 2, "Randomness of trace-id").
    pub fn randomness(self) -> u64 {
        self.low & ((1 << 56) - 1)
    }

    /// Writes 32 digits.
    pub fn write(self, out: &mut Writer<'_>) {
        out.hex(self.high);
        out.hex(self.low);
    }

    /// Writes 16 digits of a 64-bit id, else 32: what peers that know 64-bit ids only can read.
    pub fn write_short(self, out: &mut Writer<'_>) {
        if self.high != 0 {
            out.hex(self.high);
        }
        out.hex(self.low);
    }
}

/// The id of a span: 64 bits that are not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanId(NonZeroU64);

impl SpanId {
    /// None for zero.
    pub fn new(value: u64) -> Option<Self> {
        NonZeroU64::new(value).map(Self)
    }

    /// An id of random bits.
    pub(crate) fn invent(value: u64) -> Self {
        Self(NonZeroU64::new(value).unwrap_or(NonZeroU64::MIN))
    }

    /// 1 to 16 hexadecimal digits of either case.
    pub fn from_hex(digits: &[u8]) -> Option<Self> {
        Self::new(text::hex(digits)?)
    }

    /// The id as a number.
    pub fn value(self) -> u64 {
        self.0.get()
    }

    /// Writes 16 digits.
    pub fn write(self, out: &mut Writer<'_>) {
        out.hex(self.value());
    }
}

/// What the caller decided about sampling; the four states of B3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: whoever comes next decides.
    Defer,
    /// Not sampled.
    Deny,
    /// Sampled.
    Accept,
    /// Sampled, and more than that: somebody looks for something.
    Debug,
}

impl Decision {
    /// [`Accept`](Self::Accept) or [`Deny`](Self::Deny).
    pub fn of(sampled: bool) -> Self {
        if sampled { Self::Accept } else { Self::Deny }
    }

    /// Whether spans are recorded.
    pub fn sampled(self) -> bool {
        matches!(self, Self::Accept | Self::Debug)
    }
}

/// A trace, a span in it, and what was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: TraceId,
    /// The span that is the parent of what comes next.
    pub span: SpanId,
    /// What was decided about sampling.
    pub decision: Decision,
}

/// What a format's headers say: a context, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed {
    /// The trace; none if only a decision was sent.
    pub trace: Option<TraceId>,
    /// The caller's span; none if it has none, as of a test or a load balancer, or if only a decision was sent.
    pub span: Option<SpanId>,
    /// What was decided about sampling.
    pub decision: Decision,
}

impl Parsed {
    /// A decision without ids; none of [`Decision::Defer`], which says nothing.
    pub(crate) fn decision(decision: Decision) -> Option<Self> {
        (decision != Decision::Defer).then_some(Self { trace: None, span: None, decision })
    }
}

impl From<Context> for Parsed {
    fn from(Context { trace, span, decision }: Context) -> Self {
        Self { trace: Some(trace), span: Some(span), decision }
    }
}

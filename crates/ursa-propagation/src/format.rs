//! Which formats are read and written, in which order.

use crate::headers::Header;
use crate::text;
use crate::writer::Writer;

/// A format of context in headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// W3C Trace Context: `traceparent`, `tracestate`.
    W3cTracecontext = 1,
    /// W3C Baggage: `baggage`. It carries no trace.
    W3cBaggage = 2,
    /// B3 in the single header `b3`.
    B3 = 3,
    /// B3 in a header for each part, `x-b3-…`.
    B3multi = 4,
    /// Datadog's `x-datadog-…`.
    Datadog = 5,
    /// AWS X-Ray's `x-amzn-trace-id`.
    Xray = 6,
    /// Jaeger's `uber-trace-id`.
    Jaeger = 7,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 7] = [
        Self::W3cTracecontext,
        Self::W3cBaggage,
        Self::B3,
        Self::B3multi,
        Self::Datadog,
        Self::Xray,
        Self::Jaeger,
    ];

    /// The name in policies.
    pub fn name(self) -> &'static str {
        match self {
            Self::W3cTracecontext => "w3c_tracecontext",
            Self::W3cBaggage => "w3c_baggage",
            Self::B3 => "b3",
            Self::B3multi => "b3multi",
            Self::Datadog => "datadog",
            Self::Xray => "xray",
            Self::Jaeger => "jaeger",
        }
    }

    /// The format of that name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name().as_bytes() == name)
    }

    /// The headers that belong to the format.
    pub fn headers(self) -> &'static [Header] {
        match self {
            Self::W3cTracecontext => &[Header::Traceparent, Header::Tracestate],
            Self::W3cBaggage => &[Header::Baggage],
            Self::B3 => &[Header::B3],
            Self::B3multi => &[
                Header::B3TraceId,
                Header::B3SpanId,
                Header::B3ParentSpanId,
                Header::B3Sampled,
                Header::B3Flags,
            ],
            Self::Datadog => &[
                Header::DatadogTraceId,
                Header::DatadogParentId,
                Header::DatadogPriority,
                Header::DatadogOrigin,
                Header::DatadogTags,
            ],
            Self::Xray => &[Header::Xray],
            Self::Jaeger => &[Header::Jaeger],
        }
    }

    fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|format| *format as u64 == code)
    }
}

/// A list of formats, and what else the hooks must know, in one word.
///
/// From the lowest bit: 7 times 3 bits, the formats in their order; 20 bits, the ratio; 1 bit, whether unlisted
/// formats are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Formats(u64);

const CODE_BITS: u32 = 3;
const CODES_MASK: u64 = (1 << 21) - 1;
const RATIO_SHIFT: u32 = 21;
const RATIO_MASK: u64 = (1 << 20) - 1;
const STRIP: u64 = 1 << 41;

/// A ratio that samples all: it counts parts of a million.
const WHOLE: u64 = 1_000_000;

impl Formats {
    /// No format, ratio 1, nothing is removed.
    pub fn none() -> Self {
        Self(WHOLE << RATIO_SHIFT)
    }

    /// The list as text has it: `w3c_tracecontext,b3;ratio=10000;strip`.
    ///
    /// Names as in policies, each once; `ratio` in parts of a million (unset: all); `strip` removes formats that
    /// are not listed. None if anything else is there.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (names, options) = text::cut(text, b';');
        let mut formats = Self::none();
        for name in text::Parts::new(names, b',') {
            formats = formats.with(Format::from_name(name)?)?;
        }
        for option in text::Parts::new(options.unwrap_or_default(), b';') {
            formats = match text::cut(option, b'=') {
                (b"strip", None) => formats.stripping(true),
                (b"ratio", Some(ratio)) => formats.with_ratio(text::decimal(ratio)?)?,
                _ => return None,
            };
        }
        Some(formats)
    }

    /// Writes what [`Formats::parse`] reads.
    pub fn write(self, out: &mut Writer<'_>) {
        for (index, format) in self.iter().enumerate() {
            if index > 0 {
                out.byte(b',');
            }
            out.bytes(format.name().as_bytes());
        }
        if self.ratio() != WHOLE {
            out.bytes(b";ratio=");
            out.decimal(self.ratio());
        }
        if self.strips() {
            out.bytes(b";strip");
        }
    }

    /// The list with one more at its end; none if it is there already.
    pub fn with(self, format: Format) -> Option<Self> {
        if self.contains(format) {
            return None;
        }
        let used = self.iter().fold(0_u32, |used, _| used.saturating_add(CODE_BITS));
        Some(Self(self.0 | (format as u64).wrapping_shl(used)))
    }

    /// With the share of contexts without a decision that are sampled, in parts of a million; none above that.
    pub fn with_ratio(self, ratio: u64) -> Option<Self> {
        let other = self.0 & !(RATIO_MASK << RATIO_SHIFT);
        (ratio <= WHOLE).then_some(Self(other | ratio << RATIO_SHIFT))
    }

    /// Whether headers of formats that are not listed are removed on the way out.
    #[must_use]
    pub fn stripping(self, strip: bool) -> Self {
        let other = self.0 & !STRIP;
        Self(other | if strip { STRIP } else { 0 })
    }

    /// The formats in their order.
    pub fn iter(self) -> impl Iterator<Item = Format> {
        let mut codes = self.0 & CODES_MASK;
        core::iter::from_fn(move || {
            let format = Format::from_code(codes & 7)?;
            codes >>= CODE_BITS;
            Some(format)
        })
    }

    /// Whether a format is listed.
    pub fn contains(self, format: Format) -> bool {
        self.iter().any(|listed| listed == format)
    }

    /// The share of contexts without a decision that are sampled, in parts of a million.
    pub fn ratio(self) -> u64 {
        self.0 >> RATIO_SHIFT & RATIO_MASK
    }

    /// Whether headers of formats that are not listed are removed on the way out.
    pub fn strips(self) -> bool {
        self.0 & STRIP != 0
    }

    /// The ratio as a rejection threshold: a trace whose 56 random bits are below it is not sampled
    /// (OpenTelemetry, "TraceState: Probability Sampling").
    pub fn threshold(self) -> u64 {
        // (1 - ratio) · 2⁵⁶, exactly: a million is 2⁶ · 15,625, and 15,624 · 2⁵⁰ is below 2⁶⁴.
        let rejected = WHOLE.saturating_sub(self.ratio());
        let (whole, rest) = (rejected / 15_625, rejected % 15_625);
        (whole << 50).saturating_add((rest << 50) / 15_625)
    }
}

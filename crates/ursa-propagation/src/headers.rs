//! The headers that matter, found in one pass.

use crate::text::Parts;

/// How many lines of `tracestate` and of `baggage` are read; of all else it is the first.
pub const LINES_MAX: usize = 8;

/// A header that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// `traceparent`
    Traceparent,
    /// `tracestate`
    Tracestate,
    /// `baggage`
    Baggage,
    /// `b3`
    B3,
    /// `x-b3-traceid`
    B3TraceId,
    /// `x-b3-spanid`
    B3SpanId,
    /// `x-b3-parentspanid`
    B3ParentSpanId,
    /// `x-b3-sampled`
    B3Sampled,
    /// `x-b3-flags`
    B3Flags,
    /// `x-datadog-trace-id`
    DatadogTraceId,
    /// `x-datadog-parent-id`
    DatadogParentId,
    /// `x-datadog-sampling-priority`
    DatadogPriority,
    /// `x-datadog-origin`
    DatadogOrigin,
    /// `x-datadog-tags`
    DatadogTags,
    /// `x-amzn-trace-id`
    Xray,
    /// `uber-trace-id`
    Jaeger,
}

impl Header {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::Traceparent,
        Self::Tracestate,
        Self::Baggage,
        Self::B3,
        Self::B3TraceId,
        Self::B3SpanId,
        Self::B3ParentSpanId,
        Self::B3Sampled,
        Self::B3Flags,
        Self::DatadogTraceId,
        Self::DatadogParentId,
        Self::DatadogPriority,
        Self::DatadogOrigin,
        Self::DatadogTags,
        Self::Xray,
        Self::Jaeger,
    ];

    /// The name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Traceparent => "traceparent",
            Self::Tracestate => "tracestate",
            Self::Baggage => "baggage",
            Self::B3 => "b3",
            Self::B3TraceId => "x-b3-traceid",
            Self::B3SpanId => "x-b3-spanid",
            Self::B3ParentSpanId => "x-b3-parentspanid",
            Self::B3Sampled => "x-b3-sampled",
            Self::B3Flags => "x-b3-flags",
            Self::DatadogTraceId => "x-datadog-trace-id",
            Self::DatadogParentId => "x-datadog-parent-id",
            Self::DatadogPriority => "x-datadog-sampling-priority",
            Self::DatadogOrigin => "x-datadog-origin",
            Self::DatadogTags => "x-datadog-tags",
            Self::Xray => "x-amzn-trace-id",
            Self::Jaeger => "uber-trace-id",
        }
    }

    /// The header of a name in lower case. The length tells most names apart.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let header = match name.len() {
            2 if name == b"b3" => Self::B3,
            7 if name == b"baggage" => Self::Baggage,
            10 if name == b"tracestate" => Self::Tracestate,
            10 if name == b"x-b3-flags" => Self::B3Flags,
            11 if name == b"traceparent" => Self::Traceparent,
            11 if name == b"x-b3-spanid" => Self::B3SpanId,
            12 if name == b"x-b3-traceid" => Self::B3TraceId,
            12 if name == b"x-b3-sampled" => Self::B3Sampled,
            13 if name == b"uber-trace-id" => Self::Jaeger,
            14 if name == b"x-datadog-tags" => Self::DatadogTags,
            15 if name == b"x-amzn-trace-id" => Self::Xray,
            16 if name == b"x-datadog-origin" => Self::DatadogOrigin,
            17 if name == b"x-b3-parentspanid" => Self::B3ParentSpanId,
            18 if name == b"x-datadog-trace-id" => Self::DatadogTraceId,
            19 if name == b"x-datadog-parent-id" => Self::DatadogParentId,
            27 if name == b"x-datadog-sampling-priority" => Self::DatadogPriority,
            _ => return None,
        };
        Some(header)
    }
}

/// The lines of a header that may have several, at most [`LINES_MAX`] of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lines<'a> {
    lines: [&'a [u8]; LINES_MAX],
    count: usize,
}

impl<'a> Lines<'a> {
    /// Adds a line; beyond [`LINES_MAX`] it is only counted.
    pub fn add(&mut self, line: &'a [u8]) {
        if let Some(place) = self.lines.get_mut(self.count) {
            *place = line;
        }
        self.count = self.count.saturating_add(1);
    }

    /// How many lines came, also those that are not kept.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The lines that are kept, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        self.lines.into_iter().take(self.count)
    }

    /// What is between the commas of all lines, in one list.
    pub(crate) fn list(&self) -> List<'a> {
        List { lines: *self, next: 0, parts: Parts::new(&[], b',') }
    }
}

/// The members of a list that may be split into several lines (RFC 9110, section 5.3).
#[derive(Debug)]
pub(crate) struct List<'a> {
    lines: Lines<'a>,
    next: usize,
    parts: Parts<'a>,
}

impl<'a> Iterator for List<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            if let Some(part) = self.parts.next() {
                return Some(part);
            }
            // Lines that did not come are empty.
            self.parts = Parts::new(self.lines.lines.get(self.next)?, b',');
            self.next = self.next.saturating_add(1);
        }
    }
}

/// The headers of a request that matter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a> {
    first: [Option<&'a [u8]>; Header::ALL.len()],
    repeated: u16,
    tracestate: Lines<'a>,
    baggage: Lines<'a>,
}

impl<'a> Headers<'a> {
    /// Looks at one header; the name is in lower case.
    pub fn add(&mut self, name: &[u8], value: &'a [u8]) {
        let Some(header) = Header::from_name(name) else { return };
        match header {
            Header::Tracestate => self.tracestate.add(value),
            Header::Baggage => self.baggage.add(value),
            _ => {}
        }
        match self.first.get_mut(header as usize) {
            Some(place @ None) => *place = Some(value),
            _ => self.repeated |= bit(header),
        }
    }

    /// A header's value; of several the first.
    pub fn first(&self, header: Header) -> Option<&'a [u8]> {
        *self.first.get(header as usize)?
    }

    /// Whether a header is there.
    pub fn has(&self, header: Header) -> bool {
        self.first(header).is_some()
    }

    /// Whether a header is there more than once.
    pub fn is_repeated(&self, header: Header) -> bool {
        self.repeated & bit(header) != 0
    }

    /// The lines of `tracestate`.
    pub fn tracestate(&self) -> &Lines<'a> {
        &self.tracestate
    }

    /// The lines of `baggage`.
    pub fn baggage(&self) -> &Lines<'a> {
        &self.baggage
    }
}

impl<'a> FromIterator<(&'a [u8], &'a [u8])> for Headers<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a [u8], &'a [u8])>>(pairs: I) -> Self {
        let mut headers = Self::default();
        for (name, value) in pairs {
            headers.add(name, value);
        }
        headers
    }
}

fn bit(header: Header) -> u16 {
    1_u16.wrapping_shl(header as u32)
}

//! A request, a model of the tracer between the two hooks, and what must hold whatever the request brings.

use ursa_propagation::{
    Changes, Context, Decision, Extracted, Format, Formats, Header, Headers, SpanId,
    TRACESTATE_MAX, TraceId, Writer, b3, b3multi, datadog, extract, inject, jaeger, tracestate,
    w3c, xray,
};

/// What `random` gives for ids that are missing.
pub(crate) const INVENTED: u64 = 0x1111_1111_1111_1111;

#[derive(Debug, Clone, Default)]
pub(crate) struct Request(pub(crate) Vec<(String, Vec<u8>)>);

/// The trace that the tracer starts, the span of an attempt, and the decision on traces without parent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tracer {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    pub(crate) samples: bool,
}

/// What the tracer goes on with.
#[derive(Debug)]
pub(crate) struct Started {
    trace: TraceId,
    decision: Decision,
    state: Vec<u8>,
}

impl Request {
    pub(crate) fn headers(&self) -> Headers<'_> {
        self.0.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect()
    }

    pub(crate) fn get(&self, header: Header) -> Option<&[u8]> {
        self.headers().first(header)
    }

    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        self.0.retain(|(other, _)| other != name);
        self.0.push((name.to_owned(), value.to_vec()));
    }

    fn apply(&mut self, changes: &Changes) {
        for (header, value) in changes.iter() {
            match value {
                Some(value) => self.set(header.name(), value),
                None => self.0.retain(|(other, _)| other != header.name()),
            }
        }
    }

    pub(crate) fn extract(&mut self, formats: Formats) -> (Extracted, Changes) {
        let mut changes = Changes::default();
        let extracted = extract(&self.headers(), formats, || INVENTED, &mut changes);
        self.apply(&changes);
        (extracted, changes)
    }

    /// What the tracer takes from the headers, once; on every attempt it writes that again.
    pub(crate) fn start(&self, tracer: &Tracer) -> Started {
        let parent = self.get(Header::Traceparent).map(|value| w3c::parse(value).unwrap());
        Started {
            trace: parent.map_or(tracer.trace, |parent| parent.context.trace),
            decision: parent.map_or(Decision::of(tracer.samples), |parent| parent.context.decision),
            state: self.get(Header::Tracestate).unwrap_or_default().to_vec(),
        }
    }

    /// One attempt: the tracer writes its headers, as Envoy's does, then all formats are written.
    pub(crate) fn attempt(&mut self, formats: Formats, started: &Started, span: SpanId) -> Changes {
        let context = Context { trace: started.trace, span, decision: started.decision };
        self.set("traceparent", &written(|out| w3c::write(&context, out)));
        self.set("tracestate", &started.state);
        let mut changes = Changes::default();
        inject(&self.headers(), formats, &mut changes);
        self.apply(&changes);
        changes
    }
}

pub(crate) fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = [0; 8192];
    let mut out = Writer::new(&mut bytes);
    write(&mut out);
    out.text().unwrap().to_vec()
}

/// Whatever comes: the tracer sees a valid parent or none; what is written is read again, says the same in every
/// format, keeps its bounds, and is plain text.
pub(crate) fn check(request: &Request, formats: Formats, tracer: &Tracer) {
    let mut request = request.clone();
    let (extracted, changes) = request.extract(formats);
    check_values(&changes);
    let headers = request.headers();
    let parent = headers.first(Header::Traceparent).map(|value| w3c::parse(value).unwrap());
    assert!(!headers.is_repeated(Header::Traceparent) && parent.is_none_or(|parent| parent.is_00));
    assert_eq!(parent.is_some(), extracted.origin.is_some());
    if let (Some(parent), Some(context)) = (parent, extracted.context) {
        assert_eq!((parent.context.trace, parent.context.span), (context.trace, context.span));
        assert_eq!(parent.context.decision.sampled(), context.decision.sampled());
    }
    assert!(parent.is_some() || !headers.has(Header::Tracestate));

    let started = request.start(tracer);
    let mut first = request.clone();
    check_values(&first.attempt(formats, &started, tracer.span));
    for format in formats.iter().filter(|format| *format != Format::W3cBaggage) {
        // Datadog's first half of an id cannot stand alone.
        if format == Format::Datadog && started.trace.low() == 0 {
            continue;
        }
        let context = says(format, &first.headers()).unwrap();
        assert_eq!((context.trace, context.span), (started.trace, tracer.span), "{format:?}");
        assert_eq!(context.decision.sampled(), started.decision.sampled(), "{format:?}");
    }
    for format in Format::ALL.into_iter().filter(|format| !formats.contains(*format)) {
        let gone = format.headers().iter().all(|header| !first.headers().has(*header));
        assert!(gone || !formats.strips(), "{format:?}");
    }
    let mut second = first.clone();
    second.attempt(formats, &started, tracer.span);
    first.0.sort();
    second.0.sort();
    assert_eq!(first.0, second.0, "a second attempt with the same span writes the same");
}

/// Values are plain text, and a `tracestate` has valid members only, as many as there may be.
fn check_values(changes: &Changes) {
    for (header, value) in changes.iter().filter_map(|(header, value)| Some((header, value?))) {
        assert!(value.iter().all(|byte| matches!(byte, b' '..=b'~')), "{header:?} {value:?}");
        assert!(value.len() <= TRACESTATE_MAX);
        if header == Header::Tracestate {
            let members: Vec<_> = value.split(|byte| *byte == b',').collect();
            assert!(members.iter().all(|member| tracestate::Member::parse(member).is_some()));
            assert!(members.len() <= tracestate::MEMBERS_MAX);
        }
    }
}

/// The whole context that a format's headers carry.
pub(crate) fn says(format: Format, headers: &Headers<'_>) -> Option<Context> {
    let parsed = match format {
        Format::W3cTracecontext => w3c::read(headers)?.context.into(),
        Format::W3cBaggage => return None,
        Format::B3 => b3::parse(headers.first(Header::B3)?)?,
        Format::B3multi => b3multi::parse(headers)?,
        Format::Datadog => datadog::Datadog::parse(headers)?.parsed(),
        Format::Xray => xray::parse(headers.first(Header::Xray)?)?,
        Format::Jaeger => jaeger::parse(headers.first(Header::Jaeger)?)?,
    };
    Some(Context { trace: parsed.trace?, span: parsed.span?, decision: parsed.decision })
}

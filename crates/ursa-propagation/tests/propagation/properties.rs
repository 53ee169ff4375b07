//! What holds for all contexts and all requests.

use proptest::prelude::*;
use ursa_propagation::{
    Context, Decision, Format, Formats, Header, Parsed, SpanId, TraceId, b3, jaeger, ot, w3c, xray,
};

use crate::request::{Request, Tracer, check, says, written};

const TRACES: [Format; 6] = [
    Format::W3cTracecontext,
    Format::B3,
    Format::B3multi,
    Format::Datadog,
    Format::Xray,
    Format::Jaeger,
];

fn contexts() -> impl Strategy<Value = Context> {
    let high = prop_oneof![Just(0), any::<u64>()];
    let decision = prop_oneof![
        Just(Decision::Defer),
        Just(Decision::Deny),
        Just(Decision::Accept),
        Just(Decision::Debug)
    ];
    (high, 1_u64.., 1_u64.., decision).prop_map(|(high, low, span, decision)| Context {
        trace: TraceId::new(high, low).unwrap(),
        span: SpanId::new(span).unwrap(),
        decision,
    })
}

fn lists() -> impl Strategy<Value = Formats> {
    let formats = Just(Format::ALL.to_vec()).prop_shuffle();
    (formats, 0..8_usize, 0..=1_000_000_u64, any::<bool>()).prop_map(
        |(formats, count, ratio, strip)| {
            let list = formats.into_iter().take(count);
            let list = list.fold(Formats::none(), |list, format| list.with(format).unwrap());
            list.with_ratio(ratio).unwrap().stripping(strip)
        },
    )
}

fn tracers() -> impl Strategy<Value = Tracer> {
    (1_u64.., 1_u64.., any::<bool>()).prop_map(|(low, span, samples)| Tracer {
        trace: TraceId::new(1, low).unwrap(),
        span: SpanId::new(span).unwrap(),
        samples,
    })
}

/// What a caller of that format sends; the decision becomes what the format can say.
fn sent(format: Format, context: &mut Context) -> Request {
    let mut request = Request::default();
    let decision = context.decision;
    let weaker = if decision == Decision::Debug { Decision::Accept } else { decision };
    match format {
        Format::W3cTracecontext => {
            context.decision = Decision::of(decision.sampled());
            request.set("traceparent", &written(|out| w3c::write(context, out)));
        }
        Format::B3 => request.set("b3", &written(|out| b3::write(context, out))),
        Format::B3multi => {
            request.set("x-b3-traceid", &written(|out| context.trace.write_short(out)));
            request.set("x-b3-spanid", &written(|out| context.span.write(out)));
            match decision {
                Decision::Defer => {}
                Decision::Deny => request.set("x-b3-sampled", b"false"),
                Decision::Accept => request.set("x-b3-sampled", b"1"),
                Decision::Debug => request.set("x-b3-flags", b"1"),
            }
        }
        Format::Datadog => {
            context.decision = weaker;
            request.set("x-datadog-trace-id", context.trace.low().to_string().as_bytes());
            request.set("x-datadog-parent-id", context.span.value().to_string().as_bytes());
            let tags = format!("_dd.p.a=b,_dd.p.tid={:016x}", context.trace.high());
            request.set("x-datadog-tags", tags.as_bytes());
            if decision != Decision::Defer {
                let priority = if decision.sampled() { b"2".as_slice() } else { b"-1" };
                request.set("x-datadog-sampling-priority", priority);
            }
        }
        Format::Xray => {
            context.decision = weaker;
            request
                .set("x-amzn-trace-id", &written(|out| xray::write(context, b"Lineage=a:1", out)));
        }
        Format::Jaeger => {
            if decision == Decision::Defer {
                context.decision = Decision::Deny;
            }
            request.set("uber-trace-id", &written(|out| jaeger::write(context, out)));
        }
        Format::W3cBaggage => {}
    }
    request
}

/// A valid header, or a valid value under another name, or any bytes; and a few bytes of it changed.
fn values() -> impl Strategy<Value = (String, Vec<u8>)> {
    const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const SEEDS: [(Header, &str); 20] = [
        (Header::Traceparent, "00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-01"),
        (Header::Traceparent, "cc-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-03-more"),
        (Header::Tracestate, "dd=s:2;o:rum;p:00f067aa0ba902b7;t.dm:-4;t.usr.id:YQ~~, ot=th:fd,v=1"),
        (Header::Tracestate, "ot=rv:0123456789abcd;x:y;th:8 ,,v=1,w=2"),
        (Header::Baggage, "a=1;p,b=2"),
        (Header::B3, "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-d-0000000000000001"),
        (Header::B3, "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1"),
        (Header::B3, "d"),
        (Header::B3TraceId, TRACE),
        (Header::B3SpanId, "e457b5a2e4d86bd1"),
        (Header::B3ParentSpanId, "e457b5a2e4d86bd1"),
        (Header::B3Sampled, "1"),
        (Header::B3Flags, "1"),
        (Header::DatadogTraceId, "7277407061855694839"),
        (Header::DatadogParentId, "1234567890123456"),
        (Header::DatadogPriority, "-1"),
        (Header::DatadogOrigin, "synthetics~;=web,z"),
        (Header::DatadogTags, "_dd.p.dm=-4,_dd.p.tid=80f198ee56343ba8,_dd.p.usr.id=YQ=="),
        (
            Header::Xray,
            "Root=1-80f198ee-56343ba864fe8b2a57d3eff7;Parent=e457b5a2e4d86bd1;Sampled=1;Lineage=a:0",
        ),
        (Header::Jaeger, "80f198ee56343ba864fe8b2a57d3eff7%3Ae457b5a2e4d86bd1:0:3"),
    ];
    let seeds = || proptest::sample::select(SEEDS.as_slice());
    let names = proptest::sample::select(Header::ALL.as_slice());
    let bytes = proptest::collection::vec(any::<u8>(), 0..300);
    let values = prop_oneof![
        4 => seeds().prop_map(|(header, seed)| (header, seed.as_bytes().to_vec())),
        1 => (names.clone(), seeds()).prop_map(|(name, (_, seed))| (name, seed.as_bytes().to_vec())),
        1 => (names, bytes),
    ];
    let changes = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..2);
    (values, changes).prop_map(|((header, mut value), changes)| {
        for (index, byte) in changes {
            if !value.is_empty() {
                let index = index.index(value.len());
                value[index] = byte;
            }
        }
        (header.name().to_owned(), value)
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_it_was(context in contexts()) {
        let whole = Some(Parsed::from(context));
        prop_assert_eq!(b3::parse(&written(|out| b3::write(&context, out))), whole);
        for format in TRACES {
            let mut context = context;
            let request = sent(format, &mut context);
            prop_assert_eq!(says(format, &request.headers()), Some(context), "{:?}", format);
        }
    }

    #[test]
    fn conversions_keep_ids_and_decisions(
        context in contexts(), from in proptest::sample::select(TRACES.as_slice()),
        list in lists(), tracer in tracers(),
    ) {
        let mut context = context;
        let mut request = sent(from, &mut context);
        let others = list.iter().filter(|format| *format != from);
        let formats = others.fold(Formats::none().with(from).unwrap(), |list, format| list.with(format).unwrap());
        let formats = formats.with_ratio(list.ratio()).unwrap();
        check(&request, formats, &tracer);
        let (extracted, _) = request.extract(formats);
        let decision = match context.decision {
            Decision::Defer => Decision::of(context.trace.randomness() >= formats.threshold()),
            decision => decision,
        };
        prop_assert_eq!(extracted.origin, Some(from));
        prop_assert_eq!(extracted.said, context.decision);
        prop_assert_eq!(extracted.context, Some(Context { decision, ..context }));
        let started = request.start(&tracer);
        request.attempt(formats, &started, tracer.span);
        let sent_on = request;
        for format in formats.iter().filter(|format| *format != Format::W3cBaggage) {
            let said = says(format, &sent_on.headers()).unwrap();
            let knows_debug = matches!(format, Format::B3 | Format::B3multi | Format::Jaeger);
            let decision = match decision {
                Decision::Debug if !knows_debug => Decision::Accept,
                decision => decision,
            };
            prop_assert_eq!(said, Context { trace: context.trace, span: tracer.span, decision });
        }
        if from == Format::Datadog && context.decision != Decision::Defer {
            let priority = if decision.sampled() { b"2".as_slice() } else { b"-1" };
            prop_assert_eq!(sent_on.get(Header::DatadogPriority), Some(priority));
        }
    }

    #[test]
    fn whatever_comes(headers in proptest::collection::vec(values(), 0..10), list in lists(), tracer in tracers()) {
        check(&Request(headers), list, &tracer);
    }

    #[test]
    fn lists_are_texts(list in lists()) {
        prop_assert_eq!(Formats::parse(&written(|out| list.write(out))), Some(list));
    }

    #[test]
    fn thresholds_are_written_as_they_were(threshold in 0_u64..1 << 56, zeros in 0..56_u32) {
        let threshold = threshold >> zeros << zeros;
        let text = written(|out| ot::write(b"th:8;rv:0123456789abcd;x:y", Some(threshold), out));
        let expected = ot::Ot { threshold: Some(threshold), randomness: Some(0x01_2345_6789_abcd) };
        prop_assert_eq!(ot::Ot::parse(&text), expected);
    }
}

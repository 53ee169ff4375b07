//! The conformance table, by the crate alone.
//!
//! Each case is run twice in a row, as a request that is tried again: the second attempt has a span of its own, and
//! the headers of the first are still there.

use ursa_propagation::{Format, Formats, Header, SpanId, TraceId, w3c};

use crate::request::{INVENTED, Request, Tracer, check};
use crate::table::{Ids, cases};

const NEW_TRACE: (u64, u64) = (0x4bf9_2f35_77b3_4da6, 0xa3ce_929d_0e0e_4736);
/// Miri takes a second for a case: it gets every sixteenth.
const STEP: usize = if cfg!(miri) { 16 } else { 1 };
const ATTEMPTS: [u64; 2] = [0x00f0_67aa_0ba9_02b7, 0xb7ad_6b71_6920_3331];

fn ids(attempt: u64) -> Ids {
    Ids { attempt, new: NEW_TRACE, invented: (INVENTED, INVENTED), span: INVENTED }
}

fn request(headers: &[String], attempt: u64) -> Request {
    Request(ids(attempt).headers(headers))
}

fn listed(request: &Request) -> Vec<String> {
    let show =
        |(name, value): &(String, Vec<u8>)| format!("{name}: {}", String::from_utf8_lossy(value));
    let mut list: Vec<_> = request.0.iter().map(show).collect();
    list.sort();
    list
}

#[test]
fn requests_become_what_the_table_says() {
    for case in cases().iter().step_by(STEP) {
        let formats = case.formats();
        let mut request_now = request(&case.incoming, 0);
        request_now.extract(formats);
        let seen = match request_now.get(Header::Traceparent) {
            Some(value) => {
                let context = w3c::parse(value).unwrap().context;
                let (high, low) = (context.trace.high(), context.trace.low());
                let sampled = if context.decision.sampled() { "sampled" } else { "unsampled" };
                format!("{high:016x}{low:016x} {:016x} {sampled}", context.span.value())
            }
            None => "nothing".to_owned(),
        };
        assert_eq!(seen, ids(0).fill(&case.sees), "{}", case.name);
        let started = request_now.start(&tracer(0));
        for attempt in ATTEMPTS {
            request_now.attempt(formats, &started, SpanId::new(attempt).unwrap());
            let expected = listed(&request(&case.receives, attempt));
            assert_eq!(listed(&request_now), expected, "{}", case.name);
        }
        check(&request(&case.incoming, 0), formats, &tracer(ATTEMPTS[0]));
    }
}

/// Every case's headers with every list of two formats: what must hold for all holds.
#[test]
fn every_case_under_every_list() {
    let mut rows = 0;
    for case in cases().iter().step_by(STEP) {
        let request = request(&case.incoming, 0);
        for first in Format::ALL {
            for second in Format::ALL {
                for strip in [false, true] {
                    let formats = Formats::none().with(first).unwrap();
                    let formats = formats.with(second).unwrap_or(formats).stripping(strip);
                    check(&request, formats, &tracer(ATTEMPTS[0]));
                    rows += 1;
                }
            }
        }
    }
    assert!(rows > 4000 / STEP, "{rows} rows");
}

fn tracer(span: u64) -> Tracer {
    let trace = TraceId::new(NEW_TRACE.0, NEW_TRACE.1).unwrap();
    Tracer { trace, span: SpanId::new(span.max(1)).unwrap(), samples: true }
}

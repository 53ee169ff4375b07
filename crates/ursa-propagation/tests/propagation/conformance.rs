//! `cases/conformance.txt`: a request, a list of formats, what the tracer sees, what the next service receives.
//!
//! Each case is run twice in a row, as a request that is tried again: the second attempt has a span of its own, and
//! the headers of the first are still there.

use ursa_propagation::{Format, Formats, Header, SpanId, TraceId, w3c};

use crate::request::{INVENTED, Request, Tracer, check};
use crate::vectors::{header, lines};

const TRACE: (u64, u64) = (0x80f1_98ee_5634_3ba8, 0x64fe_8b2a_57d3_eff7);
const SPAN: u64 = 0xe457_b5a2_e4d8_6bd1;
const OTHER_TRACE: (u64, u64) = (0x0af7_6519_16cd_43dd, 0x8448_eb21_1c80_319c);
const NEW_TRACE: (u64, u64) = (0x4bf9_2f35_77b3_4da6, 0xa3ce_929d_0e0e_4736);
const ATTEMPTS: [u64; 2] = [0x00f0_67aa_0ba9_02b7, 0xb7ad_6b71_6920_3331];

#[derive(Debug, Default)]
struct Case {
    name: String,
    list: String,
    incoming: Vec<String>,
    sees: String,
    receives: Vec<String>,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in lines("conformance.txt") {
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        if word == "case" {
            cases.push(Case { name: rest.to_owned(), ..Case::default() });
            continue;
        }
        let case = cases.last_mut().unwrap();
        match word {
            "list" => rest.clone_into(&mut case.list),
            "in" => case.incoming.push(rest.to_owned()),
            "sees" => rest.clone_into(&mut case.sees),
            "out" => case.receives.push(rest.to_owned()),
            _ => panic!("{}: what is {word}?", case.name),
        }
    }
    cases
}

/// Puts ids in the place of their names.
fn filled(text: &str, attempt: u64) -> String {
    let hex = |(high, low): (u64, u64)| format!("{high:016x}{low:016x}");
    [
        ("{T}", hex(TRACE)),
        ("{T upper}", hex(TRACE).to_uppercase()),
        ("{T high}", format!("{:016x}", TRACE.0)),
        ("{T time}", format!("{:08x}", TRACE.0 >> 32)),
        ("{T rest}", format!("{:08x}{:016x}", TRACE.0 & 0xffff_ffff, TRACE.1)),
        ("{t}", format!("{:016x}", TRACE.1)),
        ("{t decimal}", TRACE.1.to_string()),
        ("{S}", format!("{SPAN:016x}")),
        ("{S decimal}", SPAN.to_string()),
        ("{U}", hex(OTHER_TRACE)),
        ("{N}", hex(NEW_TRACE)),
        ("{N high}", format!("{:016x}", NEW_TRACE.0)),
        ("{N decimal}", NEW_TRACE.1.to_string()),
        ("{N time}", format!("{:08x}", NEW_TRACE.0 >> 32)),
        ("{N rest}", format!("{:08x}{:016x}", NEW_TRACE.0 & 0xffff_ffff, NEW_TRACE.1)),
        ("{I}", hex((INVENTED, INVENTED))),
        ("{i}", format!("{INVENTED:016x}")),
        ("{E}", format!("{attempt:016x}")),
        ("{E decimal}", attempt.to_string()),
    ]
    .iter()
    .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

fn request(headers: &[String], attempt: u64) -> Request {
    Request(headers.iter().map(|text| header(&filled(text, attempt))).collect())
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
    let cases = cases();
    assert!(cases.len() > 50, "{} cases", cases.len());
    for case in &cases {
        let formats = Formats::parse(case.list.as_bytes())
            .unwrap_or_else(|| panic!("{}: {}", case.name, case.list));
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
        assert_eq!(seen, filled(&case.sees, 0), "{}", case.name);
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
    for case in cases() {
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
    assert!(rows > 4000, "{rows} rows");
}

fn tracer(span: u64) -> Tracer {
    let trace = TraceId::new(NEW_TRACE.0, NEW_TRACE.1).unwrap();
    Tracer { trace, span: SpanId::new(span.max(1)).unwrap(), samples: true }
}

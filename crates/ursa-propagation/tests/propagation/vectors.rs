//! `cases/<format>.txt`: headers, and what they say. `name: value & name: value => trace span decision`.

use std::fmt::Write as _;
use std::path::Path;

use ursa_propagation::datadog::Datadog;
use ursa_propagation::{Decision, Format, Header, Parsed, TraceId, b3, b3multi, jaeger, w3c, xray};

use crate::request::{Request, written};

/// Lines of a file of cases that are neither empty nor remarks.
pub(crate) fn lines(file: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/propagation/cases").join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

pub(crate) fn header(text: &str) -> (String, Vec<u8>) {
    let (name, value) = text.split_once(':').unwrap_or_else(|| panic!("no header: {text}"));
    (name.to_lowercase(), value.trim().as_bytes().to_vec())
}

fn shown(parsed: Option<Parsed>) -> String {
    let Some(Parsed { trace, span, decision }) = parsed else { return "none".to_owned() };
    let mut text = match trace {
        Some(trace) => trace_hex(trace),
        None => "-".to_owned(),
    };
    let span = span.map_or_else(|| "-".to_owned(), |span| format!("{:016x}", span.value()));
    let decision = match decision {
        Decision::Defer => "defer",
        Decision::Deny => "deny",
        Decision::Accept => "accept",
        Decision::Debug => "debug",
    };
    write!(text, " {span} {decision}").unwrap();
    text
}

fn trace_hex(trace: TraceId) -> String {
    format!("{:016x}{:016x}", trace.high(), trace.low())
}

fn read(format: Format, request: &Request) -> String {
    let headers = request.headers();
    match format {
        Format::W3cTracecontext => shown(w3c::read(&headers).map(|parent| parent.context.into())),
        Format::W3cBaggage => String::new(),
        Format::B3 => shown(headers.first(Header::B3).and_then(b3::parse)),
        Format::B3multi => shown(b3multi::parse(&headers)),
        Format::Datadog => Datadog::parse(&headers).map_or_else(
            || shown(None),
            |datadog| {
                let dd = written(|out| datadog.write_dd(None, out));
                format!("{} dd={}", shown(Some(datadog.parsed())), String::from_utf8(dd).unwrap())
            },
        ),
        Format::Xray => shown(headers.first(Header::Xray).and_then(xray::parse)),
        Format::Jaeger => shown(headers.first(Header::Jaeger).and_then(jaeger::parse)),
    }
}

#[test]
fn formats_say_what_their_texts_say() {
    for format in Format::ALL.into_iter().filter(|format| *format != Format::W3cBaggage) {
        for line in lines(&format!("{}.txt", format.name())) {
            let (headers, expected) =
                line.split_once(" => ").unwrap_or_else(|| panic!("no case: {line}"));
            let request = Request(headers.split(" & ").map(header).collect());
            assert_eq!(read(format, &request), expected, "{line}");
        }
    }
}

//! Fuzz targets of the parsers. `cargo test` runs the kept corpus (`__fuzz__`) and some random inputs;
//! `cargo bolero test` searches for more.
//!
//! Whatever comes: no panic, the tracer sees a valid parent or none, and what is written is read again and says the
//! same in every format.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "propagation/request.rs"]
mod request;
#[path = "propagation/under_rules.rs"]
mod under_rules;

use request::{Request, Tracer, check, written};
use under_rules::check as check_rules;
use ursa_propagation::baggage;
use ursa_propagation::{Format, Formats, Lines, SpanId, TraceId};

/// The first line is a list of formats, the others are headers.
#[test]
fn requests() {
    let tracer =
        Tracer { trace: TraceId::new(1, 2).unwrap(), span: SpanId::new(3).unwrap(), samples: true };
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let every = || Format::ALL.into_iter().try_fold(Formats::none(), Formats::with).unwrap();
        let formats = lines.next().and_then(Formats::parse).unwrap_or_else(every);
        let headers = lines.filter_map(|line| {
            let (name, value) =
                line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
            Some((
                String::from_utf8_lossy(name).into_owned(),
                value.get(1..)?.trim_ascii().to_vec(),
            ))
        });
        check(&Request(headers.collect()), formats, &tracer);
    });
}

/// The first line are rules, with `|` for the ends of their lines, the others are lines of baggage: see
/// [`under_rules::check`].
#[test]
fn baggage() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let rules: Vec<_> = lines.next().unwrap_or_default().to_vec();
        let rules: Vec<_> =
            rules.iter().map(|byte| if *byte == b'|' { b'\n' } else { *byte }).collect();
        let all: Vec<_> = lines.collect();
        check_rules(&all, &rules, b"of the header");
        let mut came = Lines::default();
        for line in all {
            came.add(line);
        }
        for member in baggage::members(&came).filter(|member| member.value.len() < 2000) {
            String::from_utf8(written(|out| member.decode(out))).unwrap();
        }
    });
}

//! Fuzz targets of the parsers. `cargo test` runs the kept corpus (`__fuzz__`) and some random inputs;
//! `cargo bolero test` searches for more.
//!
//! Whatever comes: no panic, the tracer sees a valid parent or none, and what is written is read again and says the
//! same in every format.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "propagation/request.rs"]
mod request;

use request::{Request, Tracer, check, written};
use ursa_propagation::baggage::{self, Rules};
use ursa_propagation::{Format, Formats, Lines, SpanId, TraceId, Writer};

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

/// Lines of baggage: what is carried is read again, and every value decodes to text.
#[test]
fn baggage() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut lines = Lines::default();
        bytes.split(|byte| *byte == b'\n').for_each(|line| lines.add(line));
        let mut room = [0; baggage::BYTES_MAX];
        let mut out = Writer::new(&mut room);
        let carried = baggage::write(&lines, &Rules { deny: b"a*", ..Rules::default() }, &mut out);
        let mut again = Lines::default();
        again.add(out.text().unwrap());
        assert_eq!(baggage::members(&again).count(), carried.members);
        for member in baggage::members(&again).filter(|member| member.value.len() < 2000) {
            String::from_utf8(written(|out| member.decode(out))).unwrap();
        }
    });
}

use std::fmt::Write as _;

use super::*;
use crate::{Escaping, Exposition, Family, Point, TextWriter};

/// Writes down what it is told.
#[derive(Debug, Default)]
struct Told {
    text: String,
    unwanted: &'static str,
}

impl Sink for Told {
    fn family(&mut self, family: &Family<'_>) -> bool {
        let Family { name, kind, help, unit } = family;
        writeln!(self.text, "{name:?} {} {help:?} {unit:?}", kind.name()).unwrap();
        *name != self.unwanted
    }

    fn point(&mut self, point: &Point<'_>) {
        let Point { labels, value, time, created, exemplars } = point;
        write!(self.text, "  {labels:?} {value:?}").unwrap();
        for (name, value) in [("time", time.map(|time| time as f64)), ("created", *created)] {
            if let Some(value) = value {
                write!(self.text, " {name} {value}").unwrap();
            }
        }
        exemplars.iter().for_each(|exemplar| write!(self.text, "\n    {exemplar:?}").unwrap());
        self.text.push('\n');
    }

    fn end(&mut self) {}
}

/// What is read of `bytes` that come in pieces of that size.
fn read(format: Format, bytes: &[u8], piece: usize, unwanted: &'static str) -> String {
    let mut told = Told { unwanted, ..Told::default() };
    let mut parser = Parser::new(format);
    let fed = bytes.chunks(piece).try_for_each(|piece| parser.feed(piece, &mut told));
    let result = fed.and(parser.finish(&mut told));
    if let Err(error) = result {
        writeln!(told.text, "{error}").unwrap();
    }
    told.text
}

#[test]
fn cases() {
    insta::with_settings!({snapshot_path => "cases", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::glob!("cases/*.{prom,om}", |case| {
            let bytes = std::fs::read(case).unwrap();
            let is_open = case.extension().is_some_and(|extension| extension == "om");
            let format = if is_open { Format::OpenMetrics } else { Format::Text };
            let whole = read(format, &bytes, usize::MAX, "unwanted");
            for piece in [1, 7, 64] {
                assert_eq!(read(format, &bytes, piece, "unwanted"), whole);
            }
            insta::assert_snapshot!("read", whole);
        });
    });
}

#[test]
fn what_is_wrong_is_said_and_what_came_before_is_used() {
    let open = Format::OpenMetrics;
    let long = format!("a{{b=\"{}\"}} 1\n", "x".repeat(MAX_LINE));
    let labels = (0..=MAX_LABELS).map(|at| format!("l{at}=\"v\"")).collect::<Vec<_>>();
    let labels = format!("a{{{}}} 1\n", labels.join(","));
    let buckets =
        (0..=MAX_BUCKETS).map(|at| format!("h_bucket{{le=\"{at}\"}} 1\n")).collect::<Vec<_>>();
    let buckets = format!("# TYPE h histogram\n{}", buckets.concat());
    let families = (0..=MAX_FAMILIES).map(|at| format!("f{at} 1\n")).collect::<Vec<_>>().concat();
    for (format, text, words) in [
        (Format::Text, "a 1\nb x\n", "line 2: a number is malformed"),
        (Format::Text, "a{b=\"c 1\n", "line 1: the labels are malformed"),
        (Format::Text, "a{b} 1\n", "line 1: the labels are malformed"),
        (Format::Text, "a{=\"b\"} 1\n", "line 1: the labels are malformed"),
        (Format::Text, "{a=\"b\"} 1\n", "line 1: there is no name of a metric"),
        (Format::Text, "a{\"b\"} 1\n", "line 1: there is no name of a metric"),
        (Format::Text, "# TYPE a nonsense\n", "line 1: the type is not known"),
        (
            Format::Text,
            "# TYPE h histogram\nh_bucket 1\n",
            "line 2: a bucket has no bound, or a summary's value no quantile",
        ),
        (Format::Text, "a 1 2 3\n", "line 1: there is more than there should be"),
        (Format::Text, &long, "line 1: it is too long"),
        (Format::Text, &labels, "line 1: a series has more than 128 labels"),
        (Format::Text, &buckets, "line 514: a series has more than 512 buckets or quantiles"),
        (Format::Text, &families, "line 20001: there are more than 20000 families"),
        (open, "a 1\n", "line 1: it is cut off"),
        (open, "a 1\n# EOF\nb 1\n", "line 3: there is more than there should be"),
        (Format::Protobuf, "\u{5}abc", "family 1: it is cut off"),
        (Format::Protobuf, "\u{7f}\u{7f}", "family 1: it is cut off"),
        (Format::Protobuf, "\u{2}ab", "family 1: the family is malformed"),
    ] {
        let said = read(format, text.as_bytes(), 4096, "");
        let last = said.lines().last().unwrap_or_default();
        if format == Format::Protobuf && words.contains("malformed") {
            assert!(last.starts_with("family 1: "), "{last}");
        } else {
            assert_eq!(last, words);
        }
    }
    assert_eq!(read(Format::Text, b"a 1\n\xff 1\n", 4096, "").lines().count(), 3);
}

/// What Envoy wrote, in text and with native histograms.
#[test]
fn what_envoy_writes() {
    let text = include_bytes!("cases/envoy.txt");
    let told = read(Format::Text, text, 1000, "");
    let protobuf = read(Format::Protobuf, include_bytes!("cases/envoy.pb"), 1000, "");
    let families = |told: &str| {
        let lines = told.lines().filter(|line| line.starts_with('"'));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(families(&told).len(), 305);
    assert_eq!(families(&told), families(&protobuf));
    // Written and read again it is the same.
    for format in [Format::Text, Format::OpenMetrics] {
        let mut writer = TextWriter::new(Exposition { format, escaping: Escaping::AllowUtf8 });
        let mut parser = Parser::new(Format::Text);
        parser.feed(text, &mut writer).unwrap();
        parser.finish(&mut writer).unwrap();
        let again = read(format, &writer.finish(), 1000, "");
        // A counter without `_total` is none in OpenMetrics.
        let points = |told: &str| {
            let lines = told.lines().filter(|line| !line.starts_with('"'));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(points(&again) == points(&told), "{format:?}");
        assert!(format == Format::OpenMetrics || again == told);
    }
    let rq_time = told.lines().skip_while(|line| !line.contains("downstream_rq_time\""));
    let native = protobuf.lines().skip_while(|line| !line.contains("downstream_rq_time\""));
    insta::assert_snapshot!(
        "rq_time",
        rq_time.take(3).chain(native.take(3)).collect::<Vec<_>>().join("\n")
    );
}

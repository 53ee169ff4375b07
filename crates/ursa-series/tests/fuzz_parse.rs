//! Fuzz targets of the parsers. `cargo test` runs the kept corpus (`__fuzz__`) and some random inputs;
//! `cargo bolero test` searches for more.
//!
//! Whatever comes: no panic, bounds are kept, pieces make no difference, and what was read can be written and
//! read again.

use ursa_series::{
    Escaping, Exposition, Family, Format, MAX_BUCKETS, MAX_LABELS, Parser, Point, Sink, TextWriter,
    Value,
};

#[derive(Default)]
struct Checked {
    points: Vec<String>,
    family: String,
}

impl Sink for Checked {
    fn family(&mut self, family: &Family<'_>) -> bool {
        assert!(!family.name.is_empty());
        self.family = format!("{family:?}");
        true
    }

    fn point(&mut self, point: &Point<'_>) {
        assert!(point.labels.len() <= MAX_LABELS);
        match point.value {
            Value::Number(_) => {}
            Value::Histogram(histogram) => {
                assert!(histogram.buckets.len() <= MAX_BUCKETS + 1);
                assert!(histogram.buckets.is_sorted_by(|a, b| a.bound.total_cmp(&b.bound).is_lt()));
            }
            Value::Summary(summary) => assert!(summary.quantiles.len() <= MAX_BUCKETS),
        }
        self.points.push(format!("{} {point:?}", self.family));
    }

    fn end(&mut self) {}
}

fn read(format: Format, bytes: &[u8], piece: usize) -> (Vec<String>, bool) {
    let mut checked = Checked::default();
    let mut parser = Parser::new(format);
    let fed = bytes.chunks(piece).try_for_each(|piece| parser.feed(piece, &mut checked));
    let finished = parser.finish(&mut checked);
    (checked.points, fed.and(finished).is_ok())
}

fn check(format: Format, bytes: &[u8]) {
    let whole = read(format, bytes, usize::MAX);
    assert_eq!(read(format, bytes, 3), whole);
    let mut writer =
        TextWriter::new(Exposition { format: Format::Text, escaping: Escaping::AllowUtf8 });
    let mut parser = Parser::new(format);
    let fed = parser.feed(bytes, &mut writer);
    if fed.is_ok() && parser.finish(&mut writer).is_ok() {
        let written = writer.finish();
        let again = read(Format::Text, &written, usize::MAX);
        assert!(again.1, "{}", String::from_utf8_lossy(&written));
    }
}

#[test]
fn text() {
    bolero::check!().for_each(|bytes: &[u8]| check(Format::Text, bytes));
}

#[test]
fn open_metrics() {
    bolero::check!().for_each(|bytes: &[u8]| check(Format::OpenMetrics, bytes));
}

#[test]
fn protobuf() {
    bolero::check!().for_each(|bytes: &[u8]| check(Format::Protobuf, bytes));
}

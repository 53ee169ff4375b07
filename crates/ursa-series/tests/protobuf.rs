//! Prometheus' protobuf as strangers write it: what the format allows is read, and what it does not is said and ends the
//! reading; nothing of it is a panic.

use prost::encoding::encode_varint;
use ursa_series::{
    Family, Format, MAX_BUCKETS, MAX_LABELS, MAX_MESSAGE, ParseError, Parser, Point, Problem, Sink,
    Value,
};

/// A message, field by field.
#[derive(Default, Clone)]
struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, field: u64, number: u64) -> Self {
        encode_varint(field << 3, &mut self.0);
        encode_varint(number, &mut self.0);
        self
    }

    /// A signed number, as `sint32` and `sint64` are.
    fn signed(self, field: u64, number: i64) -> Self {
        self.varint(field, ((number << 1) ^ (number >> 63)).cast_unsigned())
    }

    fn double(mut self, field: u64, number: f64) -> Self {
        encode_varint(field << 3 | 1, &mut self.0);
        self.0.extend(number.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, content: impl AsRef<[u8]>) -> Self {
        encode_varint(field << 3 | 2, &mut self.0);
        encode_varint(content.as_ref().len() as u64, &mut self.0);
        self.0.extend(content.as_ref());
        self
    }

    fn with(self, field: u64, inner: Self) -> Self {
        self.bytes(field, inner.0)
    }

    fn times(self, count: usize, add: impl Fn(Self) -> Self) -> Self {
        (0..count).fold(self, |message, _| add(message))
    }
}

fn message() -> Message {
    Message::default()
}

fn label(name: &str, value: &str) -> Message {
    message().bytes(1, name).bytes(2, value)
}

/// A family with one metric, and its length before it.
fn family(kind: u64, metric: Message) -> Vec<u8> {
    framed(&message().bytes(1, "m").varint(3, kind).with(4, metric))
}

fn framed(message: &Message) -> Vec<u8> {
    let mut framed = Vec::new();
    encode_varint(message.0.len() as u64, &mut framed);
    framed.extend(&message.0);
    framed
}

fn histogram(histogram: Message) -> Vec<u8> {
    family(4, message().with(7, histogram))
}

/// A span of buckets: the gap before them, and how many they are.
fn span(gap: i64, length: u64) -> Message {
    message().signed(1, gap).varint(2, length)
}

/// Keeps what it is told.
#[derive(Default)]
struct Told(Vec<String>);

impl Sink for Told {
    fn family(&mut self, _: &Family<'_>) -> bool {
        true
    }

    fn point(&mut self, point: &Point<'_>) {
        let (time, created) = (point.time, point.created);
        let value = match point.value {
            Value::Number(number) => number.to_string(),
            Value::Summary(summary) => {
                format!("{:?} {:?} {:?}", summary.count, summary.sum, summary.quantiles)
            }
            Value::Histogram(histogram) => {
                let native = histogram.native.as_ref().map(|native| {
                    let (zero, positive, negative) =
                        (native.zero_count, &native.positive, &native.negative);
                    format!("schema {} {zero} {positive:?} {negative:?}", native.schema)
                });
                let bounds = histogram.buckets.iter().map(|bucket| (bucket.bound, bucket.count));
                let bounds: Vec<_> = bounds.collect();
                format!("{:?} {:?} {bounds:?} {native:?}", histogram.count, histogram.sum)
            }
        };
        let exemplars: Vec<_> =
            point.exemplars.iter().map(|one| (one.bound, one.value, one.time)).collect();
        self.0.push(format!("{value} {time:?} {created:?} {exemplars:?}"));
    }

    fn end(&mut self) {}
}

fn read(bytes: &[u8]) -> Result<Vec<String>, ParseError> {
    let (mut told, mut parser) = (Told::default(), Parser::new(Format::Protobuf));
    parser.feed(bytes, &mut told)?;
    parser.finish(&mut told)?;
    Ok(told.0)
}

#[test]
fn what_the_format_allows_is_read() {
    let time = message().varint(1, 10).varint(2, 500_000_000);
    let exemplar = || message().with(1, label("t", "1")).double(2, 0.5).with(3, time.clone());
    let floats: Vec<u8> = [2.5_f64, 0.0, 1.0].iter().flat_map(|it| it.to_le_bytes()).collect();
    let table = [
        (
            family(
                0,
                message()
                    .with(3, message().double(1, 7.0).with(2, exemplar()).with(3, time.clone()))
                    .varint(6, 99),
            ),
            "7 Some(99) Some(10.5) [(None, 0.5, Some(10.5))]",
        ),
        (family(3, message().with(5, message().double(1, -2.0))), "-2 None None []"),
        (
            family(
                2,
                message().with(
                    4,
                    message()
                        .varint(1, 3)
                        .double(2, 6.0)
                        .with(3, message().double(1, 0.5).double(2, 1.5))
                        .with(4, time.clone()),
                ),
            ),
            "Some(3.0) Some(6.0) [(0.5, 1.5)] None Some(10.5) []",
        ),
        // Out of order, one of them twice, and the last goes without saying.
        (
            histogram(
                message()
                    .varint(1, 4)
                    .with(3, message().varint(1, 3).double(2, 2.0).with(3, exemplar()))
                    .with(3, message().varint(1, 1).double(2, 1.0))
                    .with(3, message().varint(1, 3).double(2, 2.0)),
            ),
            "Some(4.0) Some(0.0) [(1.0, 1.0), (2.0, 3.0), (inf, 4.0)] None None None [(Some(2.0), 0.5, Some(10.5))]",
        ),
        // Whole numbers as differences, packed and not.
        (
            histogram(
                message()
                    .varint(1, 6)
                    .signed(5, 3)
                    .double(6, 0.001)
                    .varint(7, 1)
                    .with(9, span(-2, 1))
                    .signed(10, 2)
                    .with(12, span(1, 2))
                    .with(12, span(3, 1))
                    .bytes(13, [2, 0, 1])
                    .with(16, exemplar()),
            ),
            "Some(6.0) Some(0.0) [] Some(\"schema 3 1 [(1, 1.0), (2, 1.0)] [(-2, 2.0)]\") None None [(None, 0.5, Some(10.5))]",
        ),
        // Fractions as they are.
        (
            histogram(
                message()
                    .double(4, 3.5)
                    .signed(5, 0)
                    .double(8, 0.5)
                    .with(12, span(0, 3))
                    .bytes(14, &floats)
                    .with(9, span(0, 1))
                    .double(11, 4.0),
            ),
            "Some(3.5) Some(0.0) [] Some(\"schema 0 0.5 [(0, 2.5), (2, 1.0)] [(0, 4.0)]\") None None []",
        ),
    ];
    for (bytes, told) in table {
        assert_eq!(read(&bytes), Ok(vec![told.to_owned()]));
    }
}

#[test]
fn what_it_does_not_allow_is_said() {
    let native = || message().signed(5, 0);
    let back = || native().with(12, span(5, 1)).with(12, span(-6, 2));
    let labels = message().times(MAX_LABELS + 1, |it| it.with(1, label("n", "v")));
    let far = i64::from(i32::MAX);
    let mut long = Vec::new();
    encode_varint(MAX_MESSAGE as u64 + 1, &mut long);
    let many = MAX_BUCKETS + 1;
    let quantiles = message().times(many, |it| it.with(3, message()));
    let buckets = message().times(many, |it| it.with(3, message()));
    let exemplars = message().times(many, |it| it.with(16, message()));
    let table = [
        (framed(&message().varint(3, 1)), Problem::Name),
        (framed(&message().bytes(1, "m").varint(3, 9)), Problem::Kind),
        (framed(&message().bytes(1, [0xff])), Problem::Text),
        (family(0, message().with(1, message().bytes(2, "v"))), Problem::Malformed),
        (family(0, message().with(1, message().bytes(1, [0xff]))), Problem::Text),
        (family(0, labels), Problem::Labels),
        (family(2, message().with(4, quantiles)), Problem::Buckets),
        (histogram(buckets), Problem::Buckets),
        (histogram(exemplars), Problem::Buckets),
        (histogram(native().times(many, |it| it.with(12, span(0, 1)))), Problem::Buckets),
        (histogram(native().times(many, |it| it.signed(13, 1))), Problem::Buckets),
        (histogram(native().times(many, |it| it.double(14, 1.0))), Problem::Buckets),
        (histogram(message().with(3, message().double(2, f64::NAN))), Problem::Bound),
        (histogram(message().signed(5, far + 1)), Problem::Number),
        (histogram(native().with(12, span(far + 1, 1))), Problem::Number),
        (histogram(native().with(12, span(0, u64::MAX))), Problem::Number),
        (histogram(native().with(12, span(far, 2)).bytes(13, [2, 0])), Problem::Number),
        // Buckets that lead back, whether or not they are all there.
        (histogram(back().bytes(13, [2, 0, 0])), Problem::Malformed),
        (histogram(back().bytes(13, [2, 0])), Problem::Malformed),
        (histogram(native().double(13, 1.0)), Problem::Malformed),
        (histogram(native().varint(14, 1)), Problem::Malformed),
        (histogram(native().bytes(14, [0; 9])), Problem::Malformed),
        (histogram(native().bytes(13, [0x80])), Problem::Truncated),
        (histogram(native().bytes(13, [0x80; 11])), Problem::Malformed),
        (long, Problem::TooLong),
        (vec![0xff; 5], Problem::TooLong),
        (vec![9, 0], Problem::Truncated),
        (vec![0x80], Problem::Truncated),
    ];
    for (bytes, problem) in table {
        let told = read(&bytes);
        assert_eq!(told, Err(ParseError::Message { family: 1, problem }), "{bytes:x?}");
    }
}

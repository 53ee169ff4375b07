//! What is written is read as what it was.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use ursa_series::{
    Bucket, Escaping, Exemplar, Exposition, Family, Format, Histogram, Kind, Labels, Parser, Point,
    Sink, Summary, TextWriter, Value,
};

#[derive(Debug, Clone, PartialEq)]
enum Of {
    Number(f64),
    Histogram(Histogram),
    Summary(Summary),
}

#[derive(Debug, Clone, PartialEq)]
struct Series {
    labels: Labels,
    value: Of,
    time: Option<i64>,
    exemplars: Vec<Exemplar>,
}

#[derive(Debug, Clone, PartialEq)]
struct Whole {
    name: String,
    kind: Kind,
    help: String,
    series: Vec<Series>,
}

#[derive(Default)]
struct Kept(Vec<Whole>);

impl Sink for Kept {
    fn family(&mut self, family: &Family<'_>) -> bool {
        let Family { name, kind, help, .. } = *family;
        let (name, help) = (name.to_owned(), help.to_owned());
        self.0.push(Whole { name, kind, help, series: Vec::new() });
        true
    }

    fn point(&mut self, point: &Point<'_>) {
        let value = match point.value {
            Value::Number(number) => Of::Number(number),
            Value::Histogram(histogram) => Of::Histogram(histogram.clone()),
            Value::Summary(summary) => Of::Summary(summary.clone()),
        };
        self.0.last_mut().unwrap().series.push(Series {
            labels: point.labels.clone(),
            value,
            time: point.time,
            exemplars: point.exemplars.to_vec(),
        });
    }

    fn end(&mut self) {}
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-z_][a-z0-9_]{0,8}", 1 => "[a-zé.{}\" ,=\\\\]{1,8}"]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,6}", "[\"\\\\\na-zé{},= ]{1,8}"]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u32>().prop_map(f64::from),
        any::<f64>().prop_filter("is equal to itself", |number| !number.is_nan()),
        Just(f64::INFINITY),
        Just(1e300),
        Just(-0.000_000_1),
    ]
}

fn labels() -> impl Strategy<Value = Labels> {
    let name = name().prop_filter("has a meaning", |name| name != "le" && name != "quantile");
    prop::collection::btree_map(name, text(), 0..4).prop_map(Labels::from_iter)
}

fn exemplar() -> impl Strategy<Value = Exemplar> {
    let labels = Labels::from_iter([("trace_id", "abc")]);
    (1_u32..1000).prop_map(move |value| Exemplar {
        bound: None,
        labels: labels.clone(),
        value: f64::from(value),
        time: Some(f64::from(value) / 8.0),
    })
}

fn value(kind: Kind) -> BoxedStrategy<(Of, Vec<Exemplar>)> {
    match kind {
        Kind::Histogram => {
            let bounds = prop::collection::btree_set(0_u32..1000, 0..5);
            let built = (bounds, prop::option::of(number()), exemplar());
            built
                .prop_map(|(bounds, sum, mut exemplar)| {
                    let bounds = bounds.into_iter().map(f64::from).chain([f64::INFINITY]);
                    let bucket = |(at, bound): (usize, f64)| Bucket { bound, count: at as f64 };
                    let buckets: Vec<Bucket> = bounds.enumerate().map(bucket).collect();
                    let at = buckets.iter().find(|bucket| exemplar.value <= bucket.bound).unwrap();
                    exemplar.bound = Some(at.bound);
                    let count = buckets.last().map(|bucket| bucket.count);
                    let histogram = Histogram { buckets, sum, count, native: None };
                    (Of::Histogram(histogram), vec![exemplar])
                })
                .boxed()
        }
        Kind::Summary => (prop::collection::vec((0.0..1.0, number()), 0..3), number())
            .prop_map(|(quantiles, sum)| {
                let summary = Summary { quantiles, sum: Some(sum), count: Some(3.0) };
                (Of::Summary(summary), Vec::new())
            })
            .boxed(),
        Kind::Counter => (number(), prop::collection::vec(exemplar(), 0..2))
            .prop_map(|(number, exemplars)| (Of::Number(number), exemplars))
            .boxed(),
        _ => number().prop_map(|number| (Of::Number(number), Vec::new())).boxed(),
    }
}

fn family() -> impl Strategy<Value = Whole> {
    let kinds = vec![Kind::Counter, Kind::Gauge, Kind::Histogram, Kind::Summary, Kind::Unknown];
    let kind = prop::sample::select(kinds);
    (name(), kind, prop_oneof![Just(String::new()), text()]).prop_flat_map(|(name, kind, help)| {
        let series = (labels(), value(kind), prop::option::of(0_i64..1 << 40));
        let series = series.prop_map(|(labels, (value, exemplars), time)| Series {
            labels,
            value,
            time,
            exemplars,
        });
        prop::collection::vec(series, 1..4).prop_map(move |mut series| {
            // The samples of one series come once.
            series.dedup_by(|a, b| a.labels == b.labels);
            let name = if kind == Kind::Counter { format!("{name}_total") } else { name.clone() };
            Whole { name, kind, help: help.trim_start().to_owned(), series }
        })
    })
}

fn written(format: Format, families: &[Whole]) -> Vec<u8> {
    let mut writer = TextWriter::new(Exposition { format, escaping: Escaping::AllowUtf8 });
    for Whole { name, kind, help, series } in families {
        writer.family(&Family { name, kind: *kind, help, unit: "" });
        for Series { labels, value, time, exemplars } in series {
            let value = match value {
                Of::Number(number) => Value::Number(*number),
                Of::Histogram(histogram) => Value::Histogram(histogram),
                Of::Summary(summary) => Value::Summary(summary),
            };
            writer.point(&Point { labels, value, time: *time, created: None, exemplars });
        }
        writer.end();
    }
    writer.finish().to_vec()
}

proptest! {
    #[test]
    fn families(mut families in prop::collection::vec(family(), 1..4), open in any::<bool>(), piece in 1_usize..50) {
        for (at, family) in families.iter_mut().enumerate() {
            family.name = format!("{at}{}", family.name);
            if !open {
                family.series.iter_mut().for_each(|series| series.exemplars.clear());
            }
        }
        let format = if open { Format::OpenMetrics } else { Format::Text };
        let bytes = written(format, &families);
        let mut kept = Kept::default();
        let mut parser = Parser::new(format);
        for piece in bytes.chunks(piece) {
            parser.feed(piece, &mut kept).unwrap();
        }
        parser.finish(&mut kept).unwrap();
        prop_assert_eq!(kept.0, families, "{}", String::from_utf8_lossy(&bytes));
    }
}

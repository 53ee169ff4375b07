//! Points as OTLP, decoded by who knows OTLP.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;
use ursa_model::pipeline::metrics::Temporality;
use ursa_otlp::{Signal, wire};
use ursa_series::{
    Family, Format, KEEP, Kind, Labels, MAX_REQUEST, OtlpWriter, Parser, Point, Request, Sink,
    Source, Streams, Value,
};

const SECOND: u64 = 1_000_000_000;
const ENVOY: Source = Source { id: 1, start: Some(10 * SECOND) };
const APPLICATION: Source = Source { id: 2, start: None };

/// What is sent of `text` at that second.
fn send(streams: &mut Streams, second: u64, format: Format, sources: &[(Source, &[u8])]) -> String {
    let mut writer = OtlpWriter::new(streams, second * SECOND);
    for (source, bytes) in sources {
        writer.from(*source);
        let mut parser = Parser::new(format);
        parser.feed(bytes, &mut writer).unwrap();
        parser.finish(&mut writer).unwrap();
    }
    writer.finish().iter().map(told).collect()
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn attributes(attributes: &[KeyValue]) -> String {
    let pair = |pair: &KeyValue| {
        format!("{}={:?}", pair.key, pair.value.as_ref().unwrap().value.as_ref().unwrap())
    };
    let pairs: Vec<_> = attributes.iter().map(pair).collect();
    pairs.join(" ").replace("StringValue", "")
}

/// A request, a line for each data point.
fn told(request: &Request) -> String {
    assert_eq!(wire::check(Signal::Metrics, &request.bytes), Ok(request.items));
    let mut out = String::new();
    let request = ExportMetricsServiceRequest::decode(request.bytes.clone()).unwrap();
    let resource = request.resource_metrics.into_iter().next().unwrap();
    let scope = resource.scope_metrics.into_iter().next().unwrap();
    assert_eq!(scope.scope.unwrap().name, "ursa");
    for metric in scope.metrics {
        let name = metric.name;
        match metric.data.unwrap() {
            Data::Gauge(gauge) => {
                for point in gauge.data_points {
                    let labels = attributes(&point.attributes);
                    writeln!(out, "{name} gauge {labels} {:?}", point.value.unwrap()).unwrap();
                }
            }
            Data::Sum(sum) => {
                assert!(sum.is_monotonic);
                for point in sum.data_points {
                    let labels = attributes(&point.attributes);
                    let (start, time) =
                        (seconds(point.start_time_unix_nano), seconds(point.time_unix_nano));
                    let temporality = sum.aggregation_temporality;
                    writeln!(
                        out,
                        "{name} sum/{temporality} {labels} {start}..{time} {:?}",
                        point.value.unwrap()
                    )
                    .unwrap();
                }
            }
            Data::Histogram(histogram) => {
                for point in histogram.data_points {
                    let labels = attributes(&point.attributes);
                    let (start, time) =
                        (seconds(point.start_time_unix_nano), seconds(point.time_unix_nano));
                    writeln!(
                        out,
                        "{name} histogram/{} {labels} {start}..{time} count {} sum {:?} {:?} {:?}",
                        histogram.aggregation_temporality,
                        point.count,
                        point.sum,
                        point.explicit_bounds,
                        point.bucket_counts
                    )
                    .unwrap();
                    for exemplar in point.exemplars {
                        writeln!(
                            out,
                            "  {:?} {} {:?} {:?}",
                            exemplar.value.unwrap(),
                            seconds(exemplar.time_unix_nano),
                            exemplar.trace_id,
                            exemplar.span_id
                        )
                        .unwrap();
                    }
                }
            }
            Data::ExponentialHistogram(histogram) => {
                for point in histogram.data_points {
                    let labels = attributes(&point.attributes);
                    let (start, time) =
                        (seconds(point.start_time_unix_nano), seconds(point.time_unix_nano));
                    let positive = point.positive.unwrap_or_default();
                    writeln!(out, "{name} exponential/{} {labels} {start}..{time} count {} sum {:?} scale {} zero {} {} positive {} {:?}", histogram.aggregation_temporality, point.count, point.sum, point.scale, point.zero_threshold, point.zero_count, positive.offset, positive.bucket_counts).unwrap();
                }
            }
            Data::Summary(summary) => {
                for point in summary.data_points {
                    let labels = attributes(&point.attributes);
                    let (start, time) =
                        (seconds(point.start_time_unix_nano), seconds(point.time_unix_nano));
                    writeln!(
                        out,
                        "{name} summary {labels} {start}..{time} count {} sum {} {:?}",
                        point.count, point.sum, point.quantile_values
                    )
                    .unwrap();
                }
            }
        }
    }
    out
}

const FIRST: &str = "\
# TYPE c counter
c_total{a=\"1\"} 5
# TYPE g gauge
g{otel_metric_overflow=\"true\"} 1.5
# TYPE h histogram
h_bucket{le=\"1\"} 1
h_bucket{le=\"2.5\"} 3 # {trace_id=\"0102030405060708090a0b0c0d0e0f10\",span_id=\"0102030405060708\"} 2 100.5
h_bucket{le=\"+Inf\"} 4
h_sum 9
h_count 4
# TYPE s summary
s{quantile=\"0.5\"} 2
s_sum 4
s_count 2
# TYPE made counter
made_total 3
made_created 12
# EOF
";
/// More of `c` and `h`; `made` began anew; a second series of `c`.
const SECOND_TIME: &str = "\
# TYPE c counter
c_total{a=\"1\"} 7
c_total{a=\"2\"} 2
# TYPE g gauge
g 0
# TYPE h histogram
h_bucket{le=\"1\"} 1
h_bucket{le=\"2.5\"} 4
h_bucket{le=\"+Inf\"} 6
h_sum 19
h_count 6
# TYPE made counter
made_total 1
made_created 25
# EOF
";
/// Everything began anew.
const THIRD: &str = "\
# TYPE c counter
c_total{a=\"1\"} 1
# TYPE h histogram
h_bucket{le=\"1\"} 1
h_bucket{le=\"2.5\"} 1
h_bucket{le=\"+Inf\"} 1
h_sum 1
h_count 1
# EOF
";

fn three(temporality: Temporality, source: Source) -> String {
    let mut streams = Streams::new(temporality);
    let mut told = String::new();
    for (second, text) in [(20, FIRST), (30, SECOND_TIME), (40, THIRD), (50, THIRD)] {
        let sent = send(&mut streams, second, Format::OpenMetrics, &[(source, text.as_bytes())]);
        writeln!(told, "at {second}\n{sent}").unwrap();
    }
    told
}

#[test]
fn cumulative() {
    insta::assert_snapshot!("cumulative", three(Temporality::Cumulative, ENVOY));
}

#[test]
fn delta() {
    insta::assert_snapshot!("delta", three(Temporality::Delta, ENVOY));
}

/// It counted before anybody looked: the first look is not sent as if all had just come.
#[test]
fn delta_of_an_application() {
    insta::assert_snapshot!("delta_of_an_application", three(Temporality::Delta, APPLICATION));
}

#[test]
fn native_histograms_become_exponential_ones() {
    let envoy = include_bytes!("../src/parse/cases/envoy.pb");
    let mut told = String::new();
    for temporality in [Temporality::Cumulative, Temporality::Delta] {
        let mut streams = Streams::new(temporality);
        for second in [20, 30] {
            let sent = send(&mut streams, second, Format::Protobuf, &[(ENVOY, envoy)]);
            let lines = sent.lines().filter(|line| line.contains("downstream_rq_time"));
            let lines: Vec<_> = lines.collect();
            writeln!(told, "{temporality:?} at {second}\n{}", lines.join("\n")).unwrap();
        }
    }
    insta::assert_snapshot!("native", told);
}

#[test]
fn many_points_are_many_requests_none_of_which_is_large() {
    let mut streams = Streams::new(Temporality::Cumulative);
    let lines = (0..20_000).map(|at| format!("g{{a=\"{at}\",b=\"{}\"}} 1\n", "x".repeat(100)));
    let text = format!("# TYPE g gauge\n{}", lines.collect::<Vec<_>>().concat());
    let mut writer = OtlpWriter::new(&mut streams, SECOND);
    let mut parser = Parser::new(Format::Text);
    parser.feed(text.as_bytes(), &mut writer).unwrap();
    parser.finish(&mut writer).unwrap();
    let requests = writer.finish();
    assert!(requests.len() > 3);
    assert_eq!(requests.iter().map(|request| request.items).sum::<usize>(), 20_000);
    for request in requests {
        assert!(request.bytes.len() < MAX_REQUEST + 10_000, "{}", request.bytes.len());
        told(&request);
    }
}

#[test]
fn what_is_remembered_of_series_that_are_gone_is_forgotten() {
    let mut streams = Streams::new(Temporality::Delta);
    for round in 0..1_000_u64 {
        let mut writer = OtlpWriter::new(&mut streams, round * SECOND);
        writer.from(Source { id: round, start: None });
        assert!(writer.family(&Family {
            name: "c_total",
            kind: Kind::Counter,
            help: "",
            unit: ""
        }));
        for at in 0..10 {
            let labels = Labels::from_iter([("id", format!("{round}/{at}"))]);
            let value = Value::Number(1.0);
            let point = Point { labels: &labels, value, time: None, created: None, exemplars: &[] };
            writer.point(&point);
        }
        writer.end();
        writer.finish();
        assert!(streams.remembered() <= 10 * KEEP as usize);
    }
}

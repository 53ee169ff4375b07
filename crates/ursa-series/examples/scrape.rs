//! What one collection costs: `cargo run --release -p ursa-series --example scrape`.
//!
//! 10,000 statistics as Envoy writes them, among them 300 histograms, into text for Prometheus and into OTLP; CPU
//! time of this process for each of 20 collections, and how much memory it ever had.

#![expect(clippy::print_stdout, reason = "a program for people")]
#![expect(clippy::unwrap_used, reason = "it knows what it writes")]

use std::fmt::Write as _;
use std::hint::black_box;

use serde_json::json;
use ursa_metrics::Usage;
use ursa_model::pipeline::metrics::{Collection, Temporality};
use ursa_series::{
    Escaping, Exemplars, Exposition, Format, Origin, OtlpWriter, Parser, Pass, Shape, Source,
    Streams, TextWriter,
};

/// So much comes at once from a socket.
const PIECE: usize = 16 * 1024;

fn main() {
    let text = envoy();
    let lines = text.lines().count();
    println!("{} bytes, {lines} lines", text.len());
    for (profile, unused) in [("Basic", false), ("All", false), ("All", true)] {
        let collection: Collection = serde_json::from_value(json!({
            "labels": {"mesh": "default", "zone": "east", "dataplane": "web-7d4b9c", "kuma_io_service": "web_shop_svc_8080", "kuma_workload": "web", "kuma_proxy_role": "sidecar", "namespace": "shop", "pod": "web-7d4b9c"},
            "outputs": [{"name": "o", "selection": {"profile": profile, "includeUnused": unused}, "to": {"push": {"intervalMs": 1}}}],
        }))
        .unwrap();
        for otlp in [false, true] {
            let mut shape = Shape::new(&collection, &collection.outputs[0]).unwrap();
            let mut streams = Streams::new(Temporality::Cumulative);
            let rounds = 20;
            let before = Usage::own().map_or(0.0, |usage| usage.cpu);
            let mut written = 0;
            for _ in 0..rounds {
                written = if otlp {
                    push(&mut shape, &mut streams, &text)
                } else {
                    scrape(&mut shape, &text)
                };
            }
            let after = Usage::own().map_or(0.0, |usage| usage.cpu);
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("");
            println!(
                "{profile}{} {}: {:.1} ms CPU, {written} bytes, {} series remembered, {}",
                if unused { " with unused" } else { "" },
                if otlp { "OTLP" } else { "text" },
                (after - before) * 1000.0 / f64::from(rounds),
                shape.remembered(),
                peak.replace('\t', " "),
            );
        }
    }
}

fn scrape(shape: &mut Shape, text: &str) -> usize {
    let exposition = Exposition { format: Format::OpenMetrics, escaping: Escaping::AllowUtf8 };
    let mut pass = Pass::new(shape, TextWriter::new(exposition), Exemplars::default());
    pass.from(Origin::Envoy);
    let mut parser = Parser::new(Format::Text);
    let mut written = 0;
    for piece in text.as_bytes().chunks(PIECE) {
        parser.feed(piece, &mut pass).unwrap();
        written += black_box(pass.sink().take()).len();
    }
    parser.finish(&mut pass).unwrap();
    written + black_box(pass.finish().0.finish()).len()
}

fn push(shape: &mut Shape, streams: &mut Streams, text: &str) -> usize {
    let mut pass = Pass::new(shape, OtlpWriter::new(streams, 1_000_000_000), Exemplars::default());
    pass.from(Origin::Envoy);
    pass.sink().from(Source { id: 0, start: Some(1) });
    let mut parser = Parser::new(Format::Text);
    let mut written = 0;
    for piece in text.as_bytes().chunks(PIECE) {
        parser.feed(piece, &mut pass).unwrap();
        written += black_box(pass.sink().take()).iter().map(|one| one.bytes.len()).sum::<usize>();
    }
    parser.finish(&mut pass).unwrap();
    let rest = black_box(pass.finish().0.finish());
    written + rest.iter().map(|one| one.bytes.len()).sum::<usize>()
}

/// Families as a sidecar with 90 clusters has them.
fn envoy() -> String {
    let mut text = String::new();
    let family = |text: &mut String, name: &str, kind: &str, zero: bool| {
        writeln!(text, "# TYPE {name} {kind}").unwrap();
        for cluster in 0..90 {
            let value = if zero { 0 } else { cluster * 7 };
            writeln!(
                text,
                "{name}{{envoy_cluster_name=\"service-{cluster}_shop_svc_8080\"}} {value}"
            )
            .unwrap();
        }
    };
    for number in 0..80 {
        family(&mut text, &format!("envoy_cluster_upstream_rq_{number}"), "counter", number > 40);
    }
    for number in 0..28 {
        family(&mut text, &format!("envoy_cluster_upstream_cx_{number}"), "gauge", number > 9);
    }
    for name in [
        "envoy_cluster_upstream_rq_time",
        "envoy_cluster_upstream_cx_connect_ms",
        "envoy_cluster_upstream_cx_length_ms",
    ] {
        writeln!(text, "# TYPE {name} histogram").unwrap();
        for cluster in 0..100 {
            let labels = format!("envoy_cluster_name=\"service-{cluster}_shop_svc_8080\"");
            for bound in [
                "1", "2", "5", "10", "25", "50", "75", "100", "150", "200", "300", "500", "750",
                "1000", "2000", "5000", "10000", "30000", "60000", "300000", "+Inf",
            ] {
                writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {cluster}").unwrap();
            }
            writeln!(
                text,
                "{name}_sum{{{labels}}} {cluster}.125\n{name}_count{{{labels}}} {cluster}"
            )
            .unwrap();
        }
    }
    text
}

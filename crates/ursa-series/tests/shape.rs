//! From what Envoy and applications write to what leaves.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;

use serde_json::json;
use ursa_model::pipeline::metrics::Collection;
use ursa_series::{
    Escaping, Exemplars, Exposition, Format, KEEP, MAX_SERIES, Origin, Parser, Pass, Shape,
    TextWriter,
};

fn collection(output: &serde_json::Value) -> Collection {
    serde_json::from_value(json!({
        "labels": {"mesh": "default", "zone": "east", "dataplane": "web-1"},
        "clusters": {
            "localhost_8080": {"direction": "inbound"},
            "backend": {"direction": "outbound", "destination": "backend_svc"},
        },
        "listeners": {"localhost_8080": {"direction": "inbound"}},
        "outputs": [output],
    }))
    .unwrap()
}

fn shape(output: &serde_json::Value) -> Shape {
    let collection = collection(output);
    Shape::new(&collection, &collection.outputs[0]).unwrap()
}

fn prometheus(with: &serde_json::Value) -> serde_json::Value {
    let mut output = json!({
        "name": "prometheus",
        "to": {"prometheus": {"port": 5670, "path": "/metrics"}},
    });
    output.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    output
}

/// One collection of sources in text.
fn collect(shape: &mut Shape, sources: &[(Origin, &str)]) -> String {
    let exposition = Exposition { format: Format::Text, escaping: Escaping::Underscores };
    let mut pass = Pass::new(shape, TextWriter::new(exposition), Exemplars::default());
    for (origin, text) in sources {
        if !matches!(origin, Origin::Envoy) {
            pass.sink().hold();
        }
        pass.from(origin.clone());
        let mut parser = Parser::new(Format::Text);
        parser.feed(text.as_bytes(), &mut pass).unwrap();
        parser.finish(&mut pass).unwrap();
    }
    let (writer, counts) = pass.finish();
    let left_out = writer.left_out();
    let mut text = String::from_utf8(writer.finish().to_vec()).unwrap();
    for (family, folded) in counts.folded {
        writeln!(text, "folded {folded} of {family}").unwrap();
    }
    if left_out > 0 {
        writeln!(text, "left out {left_out}").unwrap();
    }
    text
}

const ENVOY: &str = include_str!("../src/parse/cases/envoy.txt");

#[test]
fn basic_of_envoy_and_an_application() {
    let mut shape = shape(&prometheus(&json!({})));
    let application = "# TYPE jobs_total counter\njobs_total{zone=\"own\",kind=\"a.b\"} 3\n# TYPE x.y gauge\n{\"x.y\"} 0\n";
    let sources = [
        (Origin::Envoy, ENVOY),
        (Origin::Application(Some("worker".to_owned())), application),
        (Origin::Own, "ursa_dp_info{mesh=\"default\"} 1\n"),
    ];
    insta::assert_snapshot!("basic", collect(&mut shape, &sources));
}

/// What the agent makes of spans leaves whatever of Envoy's is selected, within the limit of any family.
#[test]
fn durations_have_a_limit_as_all_have() {
    let with = json!({"selection": {"profile": "None"}, "cardinality": {"limit": 2}});
    let series = |tenant| {
        format!(
            "d_seconds_bucket{{tenant=\"{tenant}\",le=\"+Inf\"}} 1\nd_seconds_sum{{tenant=\"{tenant}\"}} 1\nd_seconds_count{{tenant=\"{tenant}\"}} 1\n"
        )
    };
    let text: String = ["a", "b", "c", "d"].map(series).concat();
    let text = format!("# TYPE d_seconds histogram\n{text}");
    let told = collect(&mut shape(&prometheus(&with)), &[(Origin::Spans, &text)]);
    let counts: Vec<_> = told.lines().filter(|line| line.starts_with("d_seconds_count")).collect();
    let of = "dataplane=\"web-1\",mesh=\"default\",zone=\"east\"}";
    let [a, b] = ["a", "b"].map(|tenant| format!("d_seconds_count{{tenant=\"{tenant}\",{of} 1"));
    assert!(counts.len() == 3 && counts.contains(&&*a) && counts.contains(&&*b), "{told}");
    assert!(
        told.contains("otel_metric_overflow=\"true\"") && told.contains("folded 2 of d_seconds")
    );
}

/// A family has one `TYPE` and stands in one piece, whoever has part of it; one that is of another kind elsewhere is left out.
#[test]
fn a_family_of_several_applications_stands_in_one_piece() {
    let first = "# HELP memory_bytes Used.\n# TYPE memory_bytes gauge\nmemory_bytes 1\n\
        # TYPE jobs_total counter\njobs_total 1\n# TYPE wait histogram\nwait_bucket{le=\"+Inf\"} 1\nwait_count 1\n";
    let second =
        "memory_bytes 2\n# TYPE jobs_total counter\njobs_total 2\n# TYPE wait gauge\nwait 2\n";
    let own = "# TYPE ursa_dp_info gauge\nursa_dp_info{mesh=\"default\"} 1\n";
    let another_agent = "# TYPE ursa_dp_info gauge\nursa_dp_info{mesh=\"other\"} 1\n";
    let of = |name: &str| Origin::Application(Some(name.to_owned()));
    let sources =
        [(Origin::Own, own), (of("a"), first), (of("b"), second), (of("c"), another_agent)];
    let text = collect(&mut shape(&prometheus(&json!({}))), &sources);
    insta::assert_snapshot!("applications", text);
}

#[test]
fn names_of_envoy_and_all_that_it_has() {
    let output = json!({
        "selection": {"profile": "All", "includeUnused": true},
        "to": {"prometheus": {"port": 1, "path": "/", "names": "Envoy"}},
    });
    let mut shape = shape(&prometheus(&output));
    let text = collect(&mut shape, &[(Origin::Envoy, ENVOY)]);
    let families = |text: &str| text.lines().filter(|line| line.starts_with("# TYPE")).count();
    assert_eq!(families(&text), families(ENVOY));
    let rq = text.lines().find(|line| line.starts_with("envoy_cluster_upstream_rq{"));
    assert_eq!(
        rq.unwrap(),
        "envoy_cluster_upstream_rq{envoy_response_code=\"503\",envoy_cluster_name=\"c1\",\
         dataplane=\"web-1\",mesh=\"default\",zone=\"east\",kuma_io_zone=\"east\"} 3"
    );
}

#[test]
fn what_was_used_once_stays() {
    let mut shape = shape(&prometheus(&json!({"selection": {"profile": "All"}})));
    let at = |number| {
        format!("# TYPE envoy_x counter\nenvoy_x{{a=\"1\"}} {number}\nenvoy_x{{a=\"2\"}} 0\n")
    };
    let seen = |shape: &mut Shape, text: &str| {
        collect(shape, &[(Origin::Envoy, text)])
            .lines()
            .filter(|line| line.starts_with('e'))
            .count()
    };
    assert_eq!(seen(&mut shape, &at(0)), 0);
    assert_eq!(seen(&mut shape, &at(1)), 1);
    assert_eq!(seen(&mut shape, &at(0)), 1);
    for _ in 0..=KEEP {
        assert_eq!(seen(&mut shape, ""), 0);
    }
    assert_eq!(seen(&mut shape, &at(0)), 0);
}

#[test]
fn too_many_series_are_added_up_and_the_sum_only_grows() {
    let output = json!({"selection": {"profile": "All"}, "cardinality": {"limit": 2}});
    let mut shape = shape(&prometheus(&output));
    let of = |values: &[(u32, u32)]| {
        let line = |(name, value): &(u32, u32)| format!("envoy_x{{a=\"{name}\"}} {value}\n");
        let lines = values.iter().map(line).collect::<Vec<_>>().concat();
        format!(
            "# TYPE envoy_x counter\n{lines}# TYPE envoy_h histogram\nenvoy_h_bucket{{le=\"1\"}} 1\nenvoy_h_bucket{{le=\"+Inf\"}} 2\nenvoy_h_count 2\n"
        )
    };
    let overflow = |shape: &mut Shape, text: &str| {
        let text = collect(shape, &[(Origin::Envoy, text)]);
        let line = text.lines().find(|line| line.contains("otel_metric_overflow=\"true\""));
        line.and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value.to_owned())
    };
    let text = collect(&mut shape, &[(Origin::Envoy, &of(&[(1, 5), (2, 5), (3, 5), (4, 10)]))]);
    insta::assert_snapshot!("overflow", text);
    // 1 and 2 keep their places, whatever comes before them.
    let next = of(&[(0, 1), (1, 6), (2, 6), (3, 6), (4, 11)]);
    assert_eq!(overflow(&mut shape, &next).as_deref(), Some("18"));
    // 4 is gone: what it counted stays.
    let next = of(&[(1, 6), (2, 6), (3, 7)]);
    assert_eq!(overflow(&mut shape, &next).as_deref(), Some("18"));
    let next = of(&[(1, 6), (2, 6), (3, 9)]);
    assert_eq!(overflow(&mut shape, &next).as_deref(), Some("20"));
}

/// Weeks of an Envoy whose clusters come and go: what is remembered stays as large as what there is.
#[test]
fn churn_leaves_nothing_behind() {
    let output = json!({"selection": {"profile": "All"}, "cardinality": {"limit": 100}});
    let mut shape = shape(&prometheus(&output));
    let mut most = 0;
    for round in 0..1_000_u32 {
        let line = |at: u32| {
            let name = round * 10 + at;
            format!("envoy_x{{envoy_cluster_name=\"c{name}\"}} {name}\n")
        };
        let lines = (1..=10).map(line).collect::<Vec<_>>().concat();
        let text = format!(
            "# TYPE envoy_x counter\n{lines}# TYPE envoy_y{round} counter\nenvoy_y{round} 1\n"
        );
        collect(&mut shape, &[(Origin::Envoy, &text)]);
        most = most.max(shape.remembered());
    }
    // The series of so many collections, and not of the 11,000 that there were.
    assert_eq!(most, 11 * (KEEP as usize));
    const { assert!(MAX_SERIES >= 2_000) };
}

//! The catalogue keeps its own rules, and what is counted is what is shown.

mod exposition;

use std::collections::BTreeSet;

use ursa_metrics::kuma::ALIASES;
use ursa_metrics::{
    AGENT, CATALOGUE, CONTROL_PLANE, FOLDED, GATEWAY, Kind, MAX_SERIES, Metric, Registry, agent,
    control, pipeline,
};

fn all() -> impl Iterator<Item = &'static Metric> {
    CATALOGUE.iter().flat_map(|room| room.iter().copied())
}

#[test]
fn names_are_final_and_unique() {
    let word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let mut names = BTreeSet::new();
    for metric in all() {
        assert!(names.insert(metric.name), "{} stands twice", metric.name);
        assert!(word(metric.name) && metric.labels.iter().all(|label| word(label)), "{metric:?}");
        assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{metric:?}");
        assert_eq!(metric.kind == Kind::Histogram, !metric.buckets.is_empty(), "{metric:?}");
        assert!(metric.buckets.is_sorted(), "{metric:?}");
        assert!(metric.help.ends_with('.'), "{metric:?}");
    }
}

#[test]
fn every_metric_is_emitted_under_its_name_with_its_labels() {
    let registry = Registry::new(&[("instance_id", "one")]);
    for metric in all() {
        let values = vec!["{\"x\\\", y=\"z\"}"; metric.labels.len()];
        match metric.kind {
            Kind::Counter => registry.counter(metric).with(&values).inc(),
            Kind::Gauge => registry.gauge(metric).with(&values).set(1.0),
            Kind::Histogram => registry.histogram(metric).with(&values).observe(1.0),
        }
    }
    exposition::assert_shows(&registry.encode(), CATALOGUE, &["instance_id"]);
}

#[test]
fn every_metric_is_of_the_control_plane_of_agents_or_of_gateways() {
    let names = |rooms: &[&[&Metric]]| -> BTreeSet<_> {
        rooms.iter().copied().flatten().map(|metric| metric.name).collect()
    };
    let all = &(&names(CONTROL_PLANE) | &names(AGENT)) | &names(GATEWAY);
    let sometimes = [
        control::TRACING,
        pipeline::RULES,
        pipeline::COLLECTION,
        control::CERTIFICATES,
        agent::CERTIFICATES,
    ];
    let all = &all | &names(&sometimes);
    assert_eq!(all, names(CATALOGUE));
}

#[test]
fn label_values_that_join_to_the_same_text_stay_apart() {
    let registry = Registry::new(&[]);
    let sent = registry.counter(&pipeline::ENQUEUED_ITEMS);
    sent.with(&["a", "bc"]).inc_by(2);
    sent.with(&["ab", "c"]).inc_by(3);
    assert_eq!((sent.with(&["a", "bc"]).get(), sent.with(&["ab", "c"]).get()), (2, 3));
}

#[test]
fn a_registry_asked_twice_gives_the_same_series_and_forgets_removed_ones() {
    let registry = Registry::new(&[]);
    registry.counter(&control::AUTH_FAILURES).with(&["expired"]).inc();
    let again = registry.clone().counter(&control::AUTH_FAILURES);
    assert_eq!(again.with(&["expired"]).get(), 1);
    again.remove(&["expired"]);
    assert!(!registry.encode().contains("expired"));
    assert_eq!(again.with(&["expired"]).get(), 0);
}

#[test]
fn metrics_without_labels_are_there_at_zero() {
    let registry = Registry::new(&[]);
    registry.counter(&control::EVENTS_DROPPED);
    assert!(registry.encode().contains("\nevents_dropped_total 0\n"));
}

#[test]
fn series_are_bounded() {
    let registry = Registry::new(&[]);
    let resources = registry.gauge(&control::RESOURCES_COUNT);
    for number in 0..MAX_SERIES + 10 {
        resources.with(&[&number.to_string()]).inc();
    }
    let text = registry.encode();
    assert!(text.contains(&format!("resources_count{{resource_type=\"{FOLDED}\"}} 10\n")));
    assert_eq!(text.lines().filter(|l| l.starts_with("resources_count{")).count(), MAX_SERIES + 1);
}

#[test]
fn other_names_stand_beside_ours_in_their_unit() {
    let registry = Registry::new(&[("zone", "east")]);
    registry.histogram(&control::XDS_DELIVERY_SECONDS).with(&["delta"]).observe(0.2);
    registry.counter(&control::STORE_CONFLICTS).with(&["Mesh"]).inc_by(3);
    let text = registry.encode_with(ALIASES);
    let labels = "protocol=\"delta\",zone=\"east\"";
    for line in [
        format!("xds_delivery_seconds_sum{{{labels}}} 0.2"),
        format!("xds_delivery_sum{{{labels}}} 200"),
        format!("xds_delivery_bucket{{{labels},le=\"100\"}} 0"),
        format!("xds_delivery_bucket{{{labels},le=\"250\"}} 1"),
        "store_conflicts{resource_type=\"Mesh\",zone=\"east\"} 3".to_owned(),
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} in\n{text}");
    }
    assert!(text.lines().filter(|line| line.starts_with("# TYPE ")).is_sorted());
    let names: BTreeSet<_> = all().map(|metric| metric.name).collect();
    let mut others = BTreeSet::new();
    for alias in ALIASES {
        assert!(!names.contains(alias.name) && others.insert(alias.name), "{alias:?}");
    }
}

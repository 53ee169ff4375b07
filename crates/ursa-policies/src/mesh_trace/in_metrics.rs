//! Tags as labels of the durations that the agent makes of spans.

use std::collections::BTreeSet;

use ursa_model::pipeline::PipelineConfig;
use ursa_model::pipeline::metrics::{SpanLabel, SpanLabelSource};
use ursa_model::report::Cursor;
use ursa_model::target_ref::TargetRef;

use super::schema::{Conf, Tag};
use super::tags::{BAGGAGE, default, unique};
use crate::backends::Applied;

/// Tags of a proxy. Their values multiply.
const TAGS_MAX: usize = 4;
/// Values of a tag, unless it says otherwise.
const LIMIT: u32 = 20;
/// Labels that such series have anyway, of the agent or of who asks for them.
const TAKEN: [&str; 16] = [
    "dataplane",
    "destination",
    "direction",
    "instance",
    "job",
    "kuma_io_service",
    "kuma_io_zone",
    "kuma_proxy_role",
    "kuma_workload",
    "le",
    "mesh",
    "namespace",
    "otel_metric_overflow",
    "pod",
    "quantile",
    "zone",
];

/// What the agent tells requests apart by.
pub(super) fn labels(conf: &Conf) -> Vec<SpanLabel> {
    let label = |tag: &Tag| {
        let in_metrics = tag.in_metrics.as_ref()?;
        let from = if let Some(baggage) = &tag.baggage {
            let (from, member) = (BAGGAGE.to_owned(), baggage.name.clone());
            SpanLabelSource::Baggage { from, member, default: default(baggage) }
        } else if let Some(literal) = &tag.literal {
            SpanLabelSource::Literal(literal.clone())
        } else {
            SpanLabelSource::Attribute(tag.name.clone())
        };
        let limit = in_metrics.limit.unwrap_or(LIMIT);
        Some(SpanLabel { name: name(&tag.name), limit, from })
    };
    unique(conf).into_iter().filter_map(label).collect()
}

/// Says that there are labels of a metric that goes nowhere. It is for when all kinds are applied, MeshMetric too.
pub(crate) fn warn_of_unexported_labels(pipeline: &PipelineConfig, applied: &mut Applied) {
    let labels: Vec<_> =
        pipeline.span_labels.iter().map(|label| format!("`{}`", label.name)).collect();
    if !labels.is_empty() && pipeline.collection.is_none() {
        applied.warn(format!(
            "`inMetrics` of tags does nothing, {} not exported: no MeshMetric gives this proxy a backend",
            labels.join(", ")
        ));
    }
}

/// The cursor is that of the tags.
pub(super) fn validate(tags: &[Tag], target: &TargetRef, cursor: &Cursor<'_>) {
    let mut names = BTreeSet::new();
    let of_metrics = tags.iter().enumerate().filter(|(_, tag)| tag.in_metrics.is_some());
    for (count, (index, tag)) in of_metrics.enumerate() {
        let cursor = cursor.index(index);
        let at = cursor.at("inMetrics");
        if target.is_route() {
            at.refuse_with_hint("is its proxy's", "set it in a MeshTrace for the proxy");
        }
        if count >= TAGS_MAX {
            at.refuse(format!("a proxy has {TAGS_MAX} tags in its metrics at most"));
        }
        let label = name(&tag.name);
        if TAKEN.contains(&&*label) || label.starts_with("__") {
            cursor.at("name").refuse_with_hint(
                format!("`{label}` is a label that metrics have anyway"),
                "call the tag otherwise, or leave `inMetrics` out",
            );
        } else if !tag.name.is_empty() && !names.insert(label.clone()) {
            cursor.at("name").refuse(format!("another tag has the label `{label}`"));
        }
    }
}

/// A tag's name as that of a label.
fn name(tag: &str) -> String {
    let is_allowed = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let allowed = tag.chars().map(|char| if is_allowed(char) { char } else { '_' });
    let digit = tag.starts_with(|char: char| char.is_ascii_digit());
    digit.then_some('_').into_iter().chain(allowed).collect()
}

//! Which of several policies is stronger.
//!
//! By what they target first; within one kind of target a policy written in its zone over one from the global control plane, fewer listeners of a
//! gateway over more, the role that is nearer to the workload, and at last the display name that sorts first.

use std::cmp::{Ordering, Reverse};

use ursa_model::target_ref::{TargetKind, TargetRef};

use crate::kind::ROLE;
use crate::policy::PolicyResource;

/// Sorts ascending: weakest first.
pub fn by_strength(a: &PolicyResource, b: &PolicyResource) -> Ordering {
    strength(a).cmp(&strength(b))
}

fn strength(policy: &PolicyResource) -> impl Ord + '_ {
    (
        precision(&policy.target),
        policy.label("kuma.io/origin") == Some("zone"),
        listener_tags(&policy.target),
        nearness(policy.label(ROLE)),
        Reverse(policy.display_name()),
        Reverse(&policy.key),
    )
}

/// How narrow a target is.
fn precision(target: &TargetRef) -> u8 {
    match target.kind {
        TargetKind::Mesh => 0,
        TargetKind::Dataplane if target.section_name.is_some() => 3,
        TargetKind::Dataplane if target.name.is_some() => 2,
        TargetKind::Dataplane => 1,
        TargetKind::MeshSubset => 4,
        TargetKind::MeshGateway => 5,
        TargetKind::MeshService => 6,
        TargetKind::MeshServiceSubset => 7,
        TargetKind::MeshHttpRoute => 8,
    }
}

/// A gateway's listeners are picked by tags; more tags pick fewer.
fn listener_tags(target: &TargetRef) -> usize {
    if target.kind == TargetKind::MeshGateway { target.tags.len() } else { 0 }
}

/// How near to the workload a policy's role is; one without a role is the system's.
fn nearness(role: Option<&str>) -> u8 {
    match role {
        Some("workload-owner") => 3,
        Some("consumer") => 2,
        Some("producer") => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use ursa_model::document;

    use super::*;

    fn policy(name: &str, labels: &str, tags: &str) -> PolicyResource {
        let text = format!(
            "{{type: MeshTrace, name: {name}, labels: {{{labels}}}, spec: {{targetRef: {{kind: MeshGateway, name: edge, \
             tags: {{{tags}}}}}, default: {{backends: []}}}}}}"
        );
        let parsed = document::parse(&text, &crate::kinds());
        PolicyResource::from_document(&parsed.documents[0], None).unwrap()
    }

    #[test]
    fn a_zone_outweighs_tags_and_tags_outweigh_names() {
        let zone = policy("c", "kuma.io/origin: zone", "");
        let narrow = policy("b", "", "port: http");
        let wide = policy("a", "", "");
        let mut sorted = [&zone, &narrow, &wide];
        sorted.sort_by(|a, b| by_strength(a, b));
        assert_eq!(sorted.map(|policy| policy.key.name.as_str()), ["a", "b", "c"]);
    }
}

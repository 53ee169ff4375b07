//! What is refused in a MeshTrafficPermission.

use ursa_model::report::Cursor;
use ursa_model::target_ref::{TargetKind, TargetRef};
use ursa_model::tree::Node;

use super::schema::Conf;

/// The node and the cursor are those of the `default` of an item of `from` or `rules`.
pub(super) fn conf(settings: &Node, report: &Cursor<'_>) {
    let Some(conf) = report.decode::<Conf>(settings) else { return };
    let lists = conf.lists();
    if conf.action.is_none() && lists.iter().all(|(_, _, list)| list.is_empty()) {
        report.refuse_with_hint(
            "names no client",
            "write one of `deny`, `allowWithShadowDeny` and `allow`",
        );
    }
    for (field, _, list) in lists {
        for (index, client) in list.iter().enumerate() {
            client.validate(&report.at(field).index(index));
        }
    }
}

/// The cursor stands on the spec.
pub(super) fn target(target: &TargetRef, report: &Cursor<'_>) {
    match target.kind {
        TargetKind::MeshGateway => report.at("targetRef.kind").refuse_with_hint(
            "a gateway's callers are not of the mesh, and have no certificates of it",
            "target the services behind it",
        ),
        TargetKind::MeshHttpRoute => report
            .at("targetRef.kind")
            .refuse("calls are allowed before they are routed; target services or proxies"),
        _ => {}
    }
}

//! What is refused in a MeshTimeout.

use ursa_model::report::Cursor;
use ursa_model::tree::Node;

use super::schema::{Conf, Http};
use crate::limits::{is_given, more_than_zero};

/// The node and the cursor are those of the `default` of a part.
pub(super) fn conf(settings: &Node, report: &Cursor<'_>) {
    let Some(conf) = report.decode::<Conf>(settings) else { return };
    let is_written = settings.get("http").is_some_and(|http| !http.is_null());
    if is_written && conf.http == Http::default() {
        report.at("http").refuse("needs one timeout at least");
    } else if !["connectionTimeout", "idleTimeout", "http"].iter().any(|it| is_given(settings, it))
    {
        report.refuse("needs one timeout at least");
    }
    more_than_zero(&[("connectionTimeout", conf.connection_timeout)], report);
}

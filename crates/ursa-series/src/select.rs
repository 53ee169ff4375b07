//! Which of Envoy's families leave, and how they are called.

use std::borrow::Cow;

use regex::Regex;
use thiserror::Error;
use ursa_metrics::profile::{self, How, Rule};
use ursa_model::pipeline::metrics::{Matcher, MatcherKind, Profile, Selection};

use crate::Kind;

/// What Envoy counts of listeners once more for each of its threads: a profile that does not ask for everything
/// does not mean these.
const BY_WORKER: &str = "envoy_listener_worker_";

/// A selection cannot be used.
#[derive(Debug, Clone, Error)]
#[error("the expression {expression:?} cannot be used")]
pub struct SelectError {
    /// As it was written.
    pub expression: String,
    /// What is wrong with it.
    #[source]
    pub source: regex::Error,
}

/// Which families leave: a [`Selection`] made ready.
#[derive(Debug)]
pub struct Selector {
    profile: &'static [Rule],
    include: Vec<Compare>,
    exclude: Vec<Compare>,
    include_unused: bool,
}

#[derive(Debug)]
enum Compare {
    Prefix(String),
    Contains(String),
    Exact(String),
    Regex(Regex),
}

impl Selector {
    /// Makes a selection ready.
    ///
    /// # Errors
    /// When an expression is none.
    pub fn new(selection: &Selection) -> Result<Self, SelectError> {
        let all = |matchers: &[Matcher]| {
            matchers.iter().map(Compare::new).collect::<Result<Vec<_>, SelectError>>()
        };
        Ok(Self {
            profile: match selection.profile {
                Profile::None => &[],
                Profile::Basic => &profile::BASIC,
                Profile::All => &profile::ALL,
            },
            include: all(&selection.include)?,
            exclude: all(&selection.exclude)?,
            include_unused: selection.include_unused,
        })
    }

    /// Whether a family leaves, by the name that Envoy gives it and by its final one.
    pub fn wants(&self, name: &str, kind: Kind) -> bool {
        let last = final_name(name, kind);
        let one_of = |compares: &[Compare]| {
            compares.iter().any(|compare| compare.holds(name) || compare.holds(&last))
        };
        let by_worker = name.starts_with(BY_WORKER);
        let is_in = |rule: &Rule| {
            let selects = rule.selects(name) || rule.selects(&last);
            selects && (!by_worker || rule.how == How::Every)
        };
        one_of(&self.include) || !one_of(&self.exclude) && self.profile.iter().any(is_in)
    }

    /// Whether series of a family leave that never were anything but 0.
    pub fn wants_unused(&self, name: &str, kind: Kind) -> bool {
        let last = final_name(name, kind);
        let of_dashboards = || profile::DASHBOARDS.binary_search_by(|read| read.family.cmp(&last));
        self.include_unused || of_dashboards().is_ok()
    }
}

impl Compare {
    fn new(matcher: &Matcher) -> Result<Self, SelectError> {
        let text = matcher.text.clone();
        Ok(match matcher.kind {
            MatcherKind::Prefix => Self::Prefix(text),
            MatcherKind::Contains => Self::Contains(text),
            MatcherKind::Exact => Self::Exact(text),
            MatcherKind::Regex => Self::Regex(
                Regex::new(&text).map_err(|source| SelectError { expression: text, source })?,
            ),
        })
    }

    fn holds(&self, name: &str) -> bool {
        match self {
            Self::Prefix(text) => name.starts_with(text),
            Self::Contains(text) => name.contains(text),
            Self::Exact(text) => name == text,
            Self::Regex(regex) => regex.is_match(name),
        }
    }
}

/// The name of one of Envoy's families on every path.
///
/// Envoy counts `…_upstream_rq` by response code and `…_upstream_rq_total` as a whole: with a suffix both would
/// have one name, so the former gets another.
pub(crate) fn final_name(name: &str, kind: Kind) -> Cow<'_, str> {
    match kind {
        Kind::Counter if name.ends_with("_upstream_rq") => Cow::Owned(format!("{name}_code_total")),
        Kind::Counter if !name.ends_with("_total") => Cow::Owned(format!("{name}_total")),
        _ => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(kind: MatcherKind, text: &str) -> Matcher {
        Matcher { kind, text: text.to_owned() }
    }

    #[test]
    fn include_wins_over_exclude_and_both_over_the_profile() {
        let selector = Selector::new(&Selection {
            profile: Profile::Basic,
            include: vec![
                matcher(MatcherKind::Exact, "envoy_runtime_num_keys"),
                matcher(MatcherKind::Regex, "^envoy_cluster_upstream_rq_(total|xx_total)$"),
            ],
            exclude: vec![
                matcher(MatcherKind::Prefix, "envoy_cluster_"),
                matcher(MatcherKind::Contains, "downstream_rq_time"),
            ],
            include_unused: false,
        });
        let selector = selector.unwrap();
        for (name, kind, wanted) in [
            ("envoy_runtime_num_keys", Kind::Gauge, true),
            ("envoy_runtime_load_success", Kind::Counter, false),
            ("envoy_cluster_upstream_rq_xx", Kind::Counter, true),
            ("envoy_cluster_upstream_rq_retry", Kind::Counter, false),
            ("envoy_http_downstream_rq_time", Kind::Histogram, false),
            ("envoy_http_downstream_rq_xx", Kind::Counter, true),
            ("envoy_listener_worker_downstream_cx_total", Kind::Counter, false),
        ] {
            assert_eq!(selector.wants(name, kind), wanted, "{name}");
        }
        assert!(selector.wants_unused("envoy_cluster_upstream_rq_retry", Kind::Counter));
        assert!(!selector.wants_unused("envoy_cluster_upstream_rq", Kind::Counter));
        let bad =
            Selection { exclude: vec![matcher(MatcherKind::Regex, "(")], ..Selection::default() };
        let words = Selector::new(&bad).unwrap_err().to_string();
        assert_eq!(words, "the expression \"(\" cannot be used");
    }

    #[test]
    fn names_in_final_form() {
        for (name, kind, last) in [
            ("envoy_cluster_upstream_rq", Kind::Counter, "envoy_cluster_upstream_rq_code_total"),
            ("envoy_cluster_upstream_rq_total", Kind::Counter, "envoy_cluster_upstream_rq_total"),
            ("envoy_http_downstream_rq_xx", Kind::Counter, "envoy_http_downstream_rq_xx_total"),
            ("envoy_cluster_membership_total", Kind::Gauge, "envoy_cluster_membership_total"),
            ("envoy_server_live", Kind::Gauge, "envoy_server_live"),
        ] {
            assert_eq!(final_name(name, kind), last);
        }
    }
}

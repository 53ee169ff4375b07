//! Lists of Envoy's families: the profiles, and what dashboards and rules read.
//!
//! Each is a file in `profiles/` with a reason on every line, compiled in. A name stands in its final form; Envoy's own is compared as well, so that
//! an entry that is a part of both selects under either.

use std::sync::LazyLock;

/// An entry of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// How names are compared.
    pub how: How,
    /// With what.
    pub text: &'static str,
    /// Why it is in the profile.
    pub reason: &'static str,
}

/// How a rule compares the name of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Not at all: every family.
    Every,
    /// The name begins so.
    Prefix,
    /// This is somewhere in the name.
    Contains,
    /// The name is this.
    Exact,
}

impl Rule {
    /// Whether it selects the family of that name.
    pub fn selects(&self, family: &str) -> bool {
        match self.how {
            How::Every => true,
            How::Prefix => family.starts_with(self.text),
            How::Contains => family.contains(self.text),
            How::Exact => family == self.text,
        }
    }

    fn read(line: &'static str) -> Option<Self> {
        let (how, rest) = line.split_once(' ')?;
        let (text, reason) = rest.split_once(' ')?;
        let how = match how {
            "Every" => How::Every,
            "Prefix" => How::Prefix,
            "Contains" => How::Contains,
            "Exact" => How::Exact,
            _ => return None,
        };
        Some(Self { how, text, reason })
    }
}

/// A family that dashboards or rules read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Its final name; of a histogram without `_bucket`.
    pub family: &'static str,
    /// The dashboards, `rules`, or `variables`.
    pub by: Vec<&'static str>,
}

/// Profile `Basic`.
pub static BASIC: LazyLock<Vec<Rule>> =
    LazyLock::new(|| lines(BASIC_FILE).filter_map(Rule::read).collect());

/// Profile `All`.
pub static ALL: LazyLock<Vec<Rule>> =
    LazyLock::new(|| lines(ALL_FILE).filter_map(Rule::read).collect());

/// Envoy's families that dashboards and rules read, by name. They are there from the start, at 0, wherever Envoy has them.
pub static DASHBOARDS: LazyLock<Vec<Read>> = LazyLock::new(|| {
    let read = |line: &'static str| {
        let mut words = line.split(' ');
        Some(Read { family: words.next()?, by: words.collect() })
    };
    lines(DASHBOARDS_FILE).filter_map(read).collect()
});

const BASIC_FILE: &str = include_str!("../profiles/basic.profile");
const ALL_FILE: &str = include_str!("../profiles/all.profile");
const DASHBOARDS_FILE: &str = include_str!("../profiles/dashboards.families");

fn lines(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_says_what_and_why() {
        for (file, rules) in [(BASIC_FILE, &*BASIC), (ALL_FILE, &*ALL)] {
            assert_eq!(lines(file).count(), rules.len(), "no line is left out");
            for (index, rule) in rules.iter().enumerate() {
                assert!(rule.reason.contains(' ') || rule.reason.len() > 8, "{rule:?}");
                let again = |other: &Rule| (other.how, other.text) == (rule.how, rule.text);
                assert!(!rules[..index].iter().any(again), "twice: {rule:?}");
            }
        }
        assert_eq!(lines(DASHBOARDS_FILE).count(), DASHBOARDS.len());
        assert!(DASHBOARDS.is_sorted_by_key(|read| read.family));
        assert!(DASHBOARDS.iter().all(|read| !read.by.is_empty()));
    }

    #[test]
    fn basic_feeds_every_dashboard() {
        for Read { family, by } in &*DASHBOARDS {
            let selected = BASIC.iter().any(|rule| rule.selects(family));
            assert!(selected, "{by:?} would be empty: profile Basic lacks {family}");
        }
    }

    #[test]
    fn basic_leaves_most_out() {
        for family in [
            "envoy_cluster_upstream_cx_http2_total",
            "envoy_cluster_lb_subsets_active",
            "envoy_http_downstream_cx_idle",
            "envoy_runtime_num_keys",
            "envoy_http2_inbound_empty_frames_flood_total",
            "envoy_filesystem_reopen_total",
        ] {
            let by = BASIC.iter().find(|rule| rule.selects(family));
            assert!(by.is_none(), "{family} by {by:?}");
            assert!(ALL.iter().any(|rule| rule.selects(family)));
        }
    }
}

//! Which of several routes comes first: the more specific, by the rules of the Gateway API.
//!
//! Of paths an exact one, then the longest prefix, then the longest expression, then any path; a method over none; more headers; more parameters of the query. Of
//! equals the stronger policy's, and within one policy what is written first.

use std::cmp::Reverse;

use ursa_model::path::Segment;

use super::schema::{Match, PathMatch, PathMatchType};
use crate::merge::Origin;

/// The rank of any path.
const ALL: (u8, usize) = (3, 0);

/// Sorts routes: what comes first is tried first.
pub(super) fn rank(matched: &Match, origin: Option<&Origin>, strength: Option<usize>) -> impl Ord {
    let (kind, length) = match &matched.path {
        None => ALL,
        Some(PathMatch { kind, value }) => match kind {
            PathMatchType::Exact => (0, 0),
            PathMatchType::PathPrefix if value == "/" => ALL,
            PathMatchType::PathPrefix => (1, value.len()),
            PathMatchType::RegularExpression => (2, value.len()),
        },
    };
    (
        kind,
        Reverse(length),
        matched.method.is_none(),
        Reverse(matched.headers.as_ref().map_or(0, Vec::len)),
        Reverse(matched.query_params.as_ref().map_or(0, Vec::len)),
        Reverse(strength),
        written(origin),
    )
}

/// The numbers of the item of `to` and of the rule.
pub(super) fn written(origin: Option<&Origin>) -> Vec<usize> {
    let segments = origin.map(|origin| origin.path.segments()).unwrap_or_default();
    let number = |segment: &Segment| match segment {
        Segment::Index(number) => Some(*number),
        Segment::Key(_) => None,
    };
    segments.iter().filter_map(number).collect()
}

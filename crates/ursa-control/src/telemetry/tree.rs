//! Spans in the order of a waterfall: each after its parent, siblings by start. Any set of spans has one:
//! a span whose parent is missing starts a tree of its own, and so does the earliest of a cycle.

use std::collections::HashMap;

use super::facts::SpanId;

/// What the order depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) id: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) start: u64,
}

/// Index among `nodes` and depth of each, every one once.
pub(super) fn order(nodes: &[Node]) -> Vec<(usize, u32)> {
    let mut by_start: Vec<usize> = (0..nodes.len()).collect();
    by_start.sort_by_key(|&index| nodes.get(index).map(|node| node.start));
    let in_order = || by_start.iter().filter_map(|&index| Some((index, nodes.get(index)?)));

    // Of spans that share an id, the earliest is the parent of those that name it.
    let mut by_id = HashMap::new();
    for (index, node) in in_order() {
        by_id.entry(node.id).or_insert(index);
    }
    let parent_of = |index: usize, node: &Node| {
        node.parent.and_then(|parent| by_id.get(&parent).copied()).filter(|&parent| parent != index)
    };
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut roots = Vec::new();
    for (index, node) in in_order() {
        match parent_of(index, node).and_then(|parent| children.get_mut(parent)) {
            Some(siblings) => siblings.push(index),
            None => roots.push(index),
        }
    }

    let mut ordered = Vec::with_capacity(nodes.len());
    let mut placed = vec![false; nodes.len()];
    // After the roots come all others: what no root leads to is part of a cycle.
    for top in roots.into_iter().chain(by_start.iter().copied()) {
        let mut pending = vec![(top, 0)];
        while let Some((index, depth)) = pending.pop() {
            let Some(seen) = placed.get_mut(index) else { continue };
            if std::mem::replace(seen, true) {
                continue;
            }
            ordered.push((index, depth));
            pending.extend(
                children.get(index).into_iter().flatten().rev().map(|&child| (child, depth + 1)),
            );
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(id: u8, parent: u8, start: u64) -> Node {
        Node { id: [id; 8], parent: (parent != 0).then_some([parent; 8]), start }
    }

    fn ordered(nodes: &[Node]) -> Vec<(u8, u32)> {
        order(nodes).into_iter().map(|(index, depth)| (nodes[index].id[0], depth)).collect()
    }

    #[test]
    fn children_follow_their_parent_by_start() {
        let nodes = [node(4, 2, 9), node(3, 1, 5), node(2, 1, 3), node(1, 0, 0)];
        assert_eq!(ordered(&nodes), [(1, 0), (2, 1), (4, 2), (3, 1)]);
    }

    #[test]
    fn a_missing_parent_makes_a_root() {
        assert_eq!(
            ordered(&[node(1, 0, 5), node(2, 9, 1), node(3, 2, 2)]),
            [(2, 0), (3, 1), (1, 0)]
        );
    }

    #[test]
    fn clocks_may_differ() {
        assert_eq!(ordered(&[node(1, 0, 100), node(2, 1, 1)]), [(1, 0), (2, 1)]);
    }

    #[test]
    fn cycles_are_cut_at_their_earliest() {
        assert_eq!(
            ordered(&[node(1, 2, 5), node(2, 1, 3), node(3, 3, 9)]),
            [(3, 0), (2, 0), (1, 1)]
        );
    }

    proptest! {
        #[test]
        fn every_span_comes_once_and_after_its_parent(spans in prop::collection::vec((0_u8..20, 0_u8..20, 0_u64..9), 0..60)) {
            let nodes: Vec<_> = spans.into_iter().map(|(id, parent, start)| node(id, parent, start)).collect();
            let order = order(&nodes);
            let mut seen: Vec<_> = order.iter().map(|(index, _)| *index).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..nodes.len()).collect::<Vec<_>>());
            for (at, &(index, depth)) in order.iter().enumerate() {
                if depth > 0 {
                    let above = order[..at].iter().rev().find(|(_, other)| *other < depth);
                    let parent = above.map(|(parent, _)| nodes[*parent].id);
                    prop_assert_eq!(parent, nodes[index].parent);
                }
            }
        }
    }
}

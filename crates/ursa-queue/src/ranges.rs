//! A set of sequence numbers, kept as the ranges that it consists of.

use std::collections::BTreeMap;
use std::ops::Range;

/// Disjoint ranges that do not touch: start to end (not in it).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    pub(crate) fn insert(&mut self, Range { mut start, mut end }: Range<u64>) {
        if start >= end {
            return;
        }
        if let Some((&before, &until)) = self.0.range(..=start).next_back()
            && until >= start
        {
            start = before;
            end = end.max(until);
        }
        while let Some((&after, &until)) = self.0.range(start..=end).next() {
            end = end.max(until);
            self.0.remove(&after);
        }
        self.0.insert(start, end);
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, &end)| number < end)
    }

    /// In order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().map(|(&start, &end)| start..end)
    }

    /// After the last number in it; 0 if it is empty.
    pub(crate) fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, &end)| end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_set(inserted in prop::collection::vec((0..60_u64, 0..12_u64), 0..30)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (start, length) in inserted {
                ranges.insert(start..start + length);
                set.extend(start..start + length);
            }
            let listed: Vec<u64> = ranges.iter().flatten().collect();
            prop_assert!(listed.iter().eq(set.iter()));
            prop_assert!((0..80).all(|number| ranges.contains(number) == set.contains(&number)));
            prop_assert_eq!(ranges.end(), set.last().map_or(0, |last| last + 1));
            let all: Vec<_> = ranges.iter().collect();
            prop_assert!(all.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}

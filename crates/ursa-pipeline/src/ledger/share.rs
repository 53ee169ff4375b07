//! Charging part of a batch to those whose items it holds.

/// How many of `part` items each share gets, by largest remainder: in proportion to the shares,
/// whole, `part` in all, and none more than it has. A backend that rejects some spans of a batch
/// does not say which, so this is the fairest that can be said.
pub(crate) fn divide(part: u64, shares: &[u64]) -> Vec<u64> {
    let whole: u64 = shares.iter().sum();
    let part = part.min(whole);
    if whole == 0 {
        return vec![0; shares.len()];
    }
    let exact = |share: u64| u128::from(part) * u128::from(share);
    let floor = |share: u64| {
        u64::try_from(exact(share) / u128::from(whole)).expect("no more than the share")
    };
    let mut divided: Vec<u64> = shares.iter().map(|share| floor(*share)).collect();
    let mut left = part - divided.iter().sum::<u64>();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(exact(shares[*at]) % u128::from(whole)));
    for at in order {
        if left == 0 {
            break;
        }
        divided[at] += 1;
        left -= 1;
    }
    divided
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn largest_remainders_get_the_rest() {
        assert_eq!(divide(3, &[1, 1, 4]), [1, 0, 2]);
        assert_eq!(divide(10, &[5, 5]), [5, 5]);
        assert_eq!(divide(99, &[2, 0, 1]), [2, 0, 1]);
        assert_eq!(divide(1, &[]), [0; 0]);
        assert_eq!(divide(1, &[0]), [0]);
    }

    proptest! {
        #[test]
        fn whole_fair_and_within(part in 0..10_000_u64, shares in prop::collection::vec(0..1000_u64, 0..6)) {
            let whole: u64 = shares.iter().sum();
            let divided = divide(part, &shares);
            prop_assert_eq!(divided.iter().sum::<u64>(), part.min(whole));
            for (got, share) in divided.iter().zip(&shares) {
                prop_assert!(got <= share);
                let exact = part.min(whole) as f64 * *share as f64 / whole.max(1) as f64;
                prop_assert!((*got as f64 - exact).abs() < 1.0);
            }
        }
    }
}

//! Scores in the order in which clients want to see them.

use std::cmp::Ordering;

use super::vector;

/// The places and values of the `most` highest scores, the highest first; of equal ones, the first.
/// `scores` are `f32`, little-endian, and finite.
pub(super) fn highest(scores: &[u8], most: usize) -> Vec<(usize, f32)> {
    let mut all: Vec<(usize, f32)> = vector::elements(scores).enumerate().collect();
    let order = |a: &(usize, f32), b: &(usize, f32)| -> Ordering {
        b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
    };
    // A classifier may have thousands of labels, of which a client wants a handful.
    if most < all.len() {
        all.select_nth_unstable_by(most, order);
        all.truncate(most);
    }
    all.sort_unstable_by(order);
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_highest_are_what_sorting_all_would_put_first(scores in prop::collection::vec(0u8..6, 0..40), most in 0usize..50) {
            let bytes: Vec<u8> = scores.iter().flat_map(|score| f32::from(*score).to_le_bytes()).collect();
            let mut expected: Vec<_> = scores.iter().map(|score| f32::from(*score)).enumerate().collect();
            expected.sort_by(|a, b| b.1.total_cmp(&a.1));
            expected.truncate(most);
            prop_assert_eq!(highest(&bytes, most), expected);
        }
    }
}

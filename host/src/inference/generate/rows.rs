//! Which slot lies in which row.
//!
//! A step runs over the first rows, without a gap: the runtime takes one block of memory. So slots change
//! rows when texts join and leave, and whoever uses a slot need not know.

/// Slots and rows, one to one.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    row_of: Vec<usize>,
    slot_at: Vec<usize>,
}

impl Rows {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            row_of: (0..slots).collect(),
            slot_at: (0..slots).collect(),
        }
    }

    /// The row of a slot.
    pub(super) fn row(&self, slot: usize) -> usize {
        self.row_of[slot]
    }

    /// Brings these slots into the first rows, and tells which slots have to change places for it: as few as
    /// possible.
    pub(super) fn gather(&mut self, slots: &[usize]) -> Vec<(usize, usize)> {
        let count = slots.len();
        let mut swaps = Vec::new();
        let mut row = 0;
        for &slot in slots {
            if self.row_of[slot] < count {
                continue;
            }
            // As many rows hold another slot as slots are missing.
            while slots.contains(&self.slot_at[row]) {
                row += 1;
            }
            let other = self.slot_at[row];
            self.swap(slot, other);
            swaps.push((slot, other));
        }
        swaps
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.row_of.swap(a, b);
        self.slot_at[self.row_of[a]] = a;
        self.slot_at[self.row_of[b]] = b;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slots_that_are_there_stay() {
        let mut rows = Rows::new(4);
        assert_eq!(rows.gather(&[0, 1]), []);
        assert_eq!(rows.gather(&[3, 1]), [(3, 0)]);
        assert_eq!((rows.row(3), rows.row(1), rows.row(0)), (0, 1, 3));
        assert_eq!(rows.gather(&[2]), [(2, 3)]);
    }

    proptest! {
        #[test]
        fn gathered_slots_fill_the_first_rows(
            steps in prop::collection::vec(prop::collection::btree_set(0usize..8, 1..8), 1..20)
        ) {
            let mut rows = Rows::new(8);
            for slots in steps {
                let slots: Vec<usize> = slots.into_iter().collect();
                rows.gather(&slots);
                let mut taken: Vec<usize> = slots.iter().map(|slot| rows.row(*slot)).collect();
                taken.sort_unstable();
                prop_assert_eq!(taken, (0..slots.len()).collect::<Vec<_>>());
                for slot in 0..8 {
                    prop_assert_eq!(rows.slot_at[rows.row(slot)], slot);
                }
            }
        }
    }
}

//! The keys and values of every slot, in memory of our own.
//!
//! One block for the keys and one for the values of each layer, as the runtime wants them:
//! `[row, head, token, element]`. A run reads what is there and writes behind it, in place, so nothing is
//! copied from run to run.
//!
//! Blocks are asked for as zeros, which the system hands out page by page when they are written. So a slot
//! takes memory for the tokens it holds, not for those it could hold; [`Kv::release`] gives it back.

use super::layout::Layout;
use crate::inference::memory;

/// All blocks. `S` is what one element is stored as.
#[derive(Debug)]
pub(super) struct Kv<S> {
    /// Of each layer, the keys and then the values. Never reallocated: runs are bound to their addresses.
    blocks: Vec<Box<[S]>>,
    layout: Layout,
    context: usize,
}

impl<S: Copy + Default> Kv<S> {
    /// Room for so many rows.
    pub(super) fn new(
        layout: Layout,
        rows: usize,
        context: usize,
        zeros: fn(usize) -> Vec<S>,
    ) -> Self {
        let size = rows * layout.heads * context * layout.head_size;
        let blocks = (0..2 * layout.layers).map(|_| zeros(size).into_boxed_slice());
        Self {
            blocks: blocks.collect(),
            layout,
            context,
        }
    }

    /// Of a block, some rows.
    pub(super) fn rows(&mut self, block: usize, first: usize, count: usize) -> &mut [S] {
        let row = self.layout.heads * self.head();
        &mut self.blocks[block][first * row..(first + count) * row]
    }

    /// Makes a row hold the first tokens of another.
    pub(super) fn copy(&mut self, from: usize, to: usize, tokens: usize) {
        let length = tokens * self.layout.head_size;
        self.each_head(|block, head_size, heads| {
            for head in 0..heads {
                let source = (from * heads + head) * head_size;
                let target = (to * heads + head) * head_size;
                block.copy_within(source..source + length, target);
            }
        });
    }

    /// Exchanges two rows, of which only the first tokens mean anything.
    pub(super) fn swap(&mut self, a: usize, b: usize, tokens: usize) {
        let length = tokens * self.layout.head_size;
        let (low, high) = (a.min(b), a.max(b));
        self.each_head(|block, head_size, heads| {
            let (before, after) = block.split_at_mut(high * heads * head_size);
            for head in 0..heads {
                let (one, other) = ((low * heads + head) * head_size, head * head_size);
                before[one..one + length].swap_with_slice(&mut after[other..other + length]);
            }
        });
    }

    /// Gives the memory of a row's tokens from `keep` up to `held` back. They mean nothing afterwards.
    pub(super) fn release(&mut self, row: usize, keep: usize, held: usize) {
        let element = self.layout.head_size;
        self.each_head(|block, head_size, heads| {
            for head in 0..heads {
                let start = (row * heads + head) * head_size;
                memory::release(&mut block[start + keep * element..start + held * element]);
            }
        });
    }

    /// Elements of one head of a row.
    fn head(&self) -> usize {
        self.context * self.layout.head_size
    }

    fn each_head(&mut self, mut change: impl FnMut(&mut [S], usize, usize)) {
        let (head, heads) = (self.head(), self.layout.heads);
        for block in &mut self.blocks {
            change(block, head, heads);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout {
        layers: 1,
        heads: 2,
        head_size: 1,
        vocabulary: 1,
        half: false,
    };

    fn kv() -> Kv<u32> {
        let mut kv = Kv::new(LAYOUT, 3, 4, |size| vec![0; size]);
        for (place, cell) in kv.blocks[0].iter_mut().enumerate() {
            *cell = u32::try_from(place).expect("a small number");
        }
        kv
    }

    #[test]
    fn rows_are_copied_and_exchanged_head_by_head() {
        let mut one = kv();
        one.copy(0, 2, 2);
        assert_eq!(one.rows(0, 2, 1), [0, 1, 18, 19, 4, 5, 22, 23]);
        let mut two = kv();
        two.swap(2, 0, 3);
        assert_eq!(two.rows(0, 0, 1), [16, 17, 18, 3, 20, 21, 22, 7]);
        assert_eq!(two.rows(0, 2, 1), [0, 1, 2, 19, 4, 5, 6, 23]);
        assert_eq!(two.rows(0, 1, 1), [8, 9, 10, 11, 12, 13, 14, 15]);
    }
}

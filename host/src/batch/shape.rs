//! The size of a batch: how many items, and how long.

/// The size of a batch. A batch is padded to its longest item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How many items.
    pub items: usize,
    /// The size of the longest, in the units of [`Payload::size`](crate::inference::Payload::size).
    pub longest: usize,
    /// All sizes together.
    pub real: usize,
}

impl Shape {
    /// So many items of one size.
    pub fn of(items: usize, size: usize) -> Self {
        Self {
            items,
            longest: size,
            real: items * size,
        }
    }

    /// The batch with one more item.
    #[must_use]
    pub fn with(self, size: usize) -> Self {
        Self {
            items: self.items + 1,
            longest: self.longest.max(size),
            real: self.real + size,
        }
    }

    /// What is computed.
    pub fn padded(self) -> usize {
        self.items * self.longest
    }

    /// What is computed for nothing.
    pub fn padding(self) -> usize {
        self.padded() - self.real
    }
}

/// Items of these sizes.
impl FromIterator<usize> for Shape {
    fn from_iter<I: IntoIterator<Item = usize>>(sizes: I) -> Self {
        sizes.into_iter().fold(Self::of(0, 0), Self::with)
    }
}

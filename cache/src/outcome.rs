//! What happened to each item of a request: counted in metrics and told to clients.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How one item got its result at one tier (edge or host).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Outcome {
    /// A stored, usable entry answered.
    Hit,
    /// Nothing usable was stored; the next tier was asked.
    Miss,
    /// The same item was already being computed, in this request or in another one.
    Collapsed,
    /// The request forbade the look-up (`no-cache`, `no-store`).
    Bypass,
    /// An entry was there and too old for this request.
    Stale,
    /// Stored bytes could not be understood: counted, treated as a miss, and replaced by the new result.
    Broken,
    /// The store did not answer: bypassed and treated as a miss.
    StoreError,
}

impl Outcome {
    /// Every outcome, in the order in which they are reported.
    pub const ALL: [Self; 7] = [
        Self::Hit,
        Self::Miss,
        Self::Collapsed,
        Self::Bypass,
        Self::Stale,
        Self::Broken,
        Self::StoreError,
    ];

    /// The name used in metrics and in the `brink-items` header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Bypass => "bypass",
            Self::Stale => "stale",
            Self::Broken => "broken",
            Self::StoreError => "store-error",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// How many items had which outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutcomeCounts([u32; Outcome::ALL.len()]);

impl OutcomeCounts {
    /// Counts one item.
    pub fn add(&mut self, outcome: Outcome) {
        self.0[outcome as usize] = self.0[outcome as usize].saturating_add(1);
    }

    /// The count of one outcome.
    pub fn get(&self, outcome: Outcome) -> u32 {
        self.0[outcome as usize]
    }

    /// All items counted.
    pub fn total(&self) -> u32 {
        self.0.iter().copied().fold(0, u32::saturating_add)
    }

    /// The outcomes that occurred, in reporting order.
    pub fn iter(&self) -> impl Iterator<Item = (Outcome, u32)> {
        Outcome::ALL
            .into_iter()
            .map(|outcome| (outcome, self.get(outcome)))
            .filter(|(_, count)| *count > 0)
    }

    /// Reads the form that [`Display`](fmt::Display) writes. `None` for anything else, since the
    /// header may come from a component that is not ours.
    pub fn parse(value: &str) -> Option<Self> {
        let mut counts = Self::default();
        for member in value
            .split(',')
            .map(str::trim)
            .filter(|member| !member.is_empty())
        {
            let (name, count) = member.split_once('=')?;
            counts.0[Outcome::from_name(name)? as usize] = count.parse().ok()?;
        }
        Some(counts)
    }
}

impl OutcomeCounts {
    /// Appends the form that [`Display`](fmt::Display) writes. By hand, like all that a hit
    /// writes: the machinery behind `write!` costs more than the rest of it.
    pub fn write(&self, out: &mut String) {
        let mut number = itoa::Buffer::new();
        for (position, (outcome, count)) in self.iter().enumerate() {
            if position > 0 {
                out.push_str(", ");
            }
            out.push_str(outcome.name());
            out.push('=');
            out.push_str(number.format(count));
        }
    }
}

impl FromIterator<Outcome> for OutcomeCounts {
    fn from_iter<I: IntoIterator<Item = Outcome>>(outcomes: I) -> Self {
        let mut counts = Self::default();
        outcomes.into_iter().for_each(|outcome| counts.add(outcome));
        counts
    }
}

/// A structured-field dictionary (RFC 9651 §3.2), for example `hit=97, miss=3`.
impl fmt::Display for OutcomeCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn foreign_values_are_refused() {
        for value in [
            "hit",
            "hit=x",
            "hit=-1",
            "unknown=1",
            "hit=1; q",
            "hit=99999999999",
        ] {
            assert_eq!(OutcomeCounts::parse(value), None, "{value}");
        }
        assert_eq!(OutcomeCounts::parse(""), Some(OutcomeCounts::default()));
    }

    proptest! {
        #[test]
        fn written_counts_are_read_back(counts: [u32; Outcome::ALL.len()]) {
            let counts = OutcomeCounts(counts);
            prop_assert_eq!(OutcomeCounts::parse(&counts.to_string()), Some(counts));
        }
    }
}

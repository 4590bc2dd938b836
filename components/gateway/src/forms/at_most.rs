//! Lists in bodies, of which no more is kept than is allowed.
//!
//! A list of millions of tiny elements is a body of a few megabytes and many times as much once it is read.
//! What is too much is counted, skipped, and refused by whoever knows what the list is called.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

/// A list of any length, of which the first `MAX` elements are kept.
#[derive(Debug)]
pub(crate) struct AtMost<T, const MAX: usize> {
    /// The first elements.
    pub(crate) kept: Vec<T>,
    /// How many there are.
    pub(crate) count: usize,
}

impl<T, const MAX: usize> Default for AtMost<T, MAX> {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            count: 0,
        }
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for AtMost<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = AtMost<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < MAX {
            match list.next_element()? {
                Some(element) => kept.push(element),
                None => break,
            }
        }
        let count = kept.len() + skip(list)?;
        Ok(AtMost { kept, count })
    }
}

/// Passes over what is left of a list, and counts it.
pub(crate) fn skip<'de, A: SeqAccess<'de>>(mut list: A) -> Result<usize, A::Error> {
    let mut count = 0;
    while list.next_element::<IgnoredAny>()?.is_some() {
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_counted_and_not_kept() {
        let check = |json: &str, kept: &[u8], count| {
            let list: AtMost<u8, 2> = serde_json::from_str(json).unwrap();
            assert_eq!((&list.kept[..], list.count), (kept, count), "{json}");
        };
        check("[]", &[], 0);
        check("[1,2]", &[1, 2], 2);
        check(r#"[1,2,3,"x",{}]"#, &[1, 2], 5);
        assert!(serde_json::from_str::<AtMost<u8, 2>>("[1,\"x\"]").is_err());
        assert!(serde_json::from_str::<AtMost<u8, 2>>("[1,2,3").is_err());
        assert!(serde_json::from_str::<AtMost<u8, 2>>("1").is_err());
    }
}

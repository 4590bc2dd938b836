//! `Vary` (RFC 9110 §12.5.5, RFC 9111 §4.1): which request headers chose a response.

use std::collections::BTreeSet;

/// Most field names; a response that varies by more is one of a kind.
pub const MAX_FIELDS: usize = 32;

/// What a response varies by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// By something that no header tells: the response answers no other request.
    Anything,
    /// By these request fields, in lower case; by none where the set is empty.
    Fields(BTreeSet<String>),
}

/// Which variant a request asks for. Equal keys: the same fields with the same values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VariantKey(pub [u8; 32]);

impl Vary {
    /// Reads the values of all `Vary` fields, joined by commas.
    pub fn parse(value: &str) -> Self {
        let names = value
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let mut fields = BTreeSet::new();
        for name in names {
            if name == "*" || fields.len() == MAX_FIELDS {
                return Self::Anything;
            }
            fields.insert(name.to_ascii_lowercase());
        }
        Self::Fields(fields)
    }

    /// The variant that a request asks for; `None` if no stored response can answer it.
    ///
    /// `value_of` gives a request field's value by its lower-case name, several lines joined by
    /// commas. Values are bytes, because two that are no text must not become one. They are
    /// compared byte for byte but for white space at the ends: knowing more about a field could
    /// only merge variants.
    pub fn key<V: AsRef<[u8]>>(&self, value_of: impl Fn(&str) -> Option<V>) -> Option<VariantKey> {
        let Self::Fields(fields) = self else {
            return None;
        };
        let mut hasher = blake3::Hasher::new();
        for name in fields {
            update(&mut hasher, name.as_bytes());
            match value_of(name) {
                // Absent is not the same as empty.
                None => hasher.update(&[0]),
                Some(value) => {
                    hasher.update(&[1]);
                    update(&mut hasher, value.as_ref().trim_ascii())
                }
            };
        }
        Some(VariantKey(*hasher.finalize().as_bytes()))
    }
}

fn update<'h>(hasher: &'h mut blake3::Hasher, part: &[u8]) -> &'h mut blake3::Hasher {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Request<'a> = &'a [(&'a str, &'a str)];

    fn key(vary: &str, request: Request<'_>) -> Option<VariantKey> {
        let value_of = |name: &str| request.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        Vary::parse(vary).key(value_of)
    }

    #[test]
    fn variants_are_told_apart() {
        let check =
            |rule: &str, vary: &str, one: Request<'_>, other: Request<'_>, expected: bool| {
                let (one_key, other_key) = (key(vary, one), key(vary, other));
                let same = one_key.is_some() && one_key == other_key;
                assert_eq!(same, expected, "{vary} {one:?} {other:?}: {rule}");
            };
        let rule = "9111 4.1: \"unless all the presented request header fields nominated by that Vary field value \
                    match those fields in the original request\"";
        check(rule, "Accept", &[("accept", "a")], &[("accept", "a")], true);
        check(
            rule,
            "Accept",
            &[("accept", "a")],
            &[("accept", "b")],
            false,
        );
        check(rule, "Accept", &[("x", "1")], &[("x", "2")], true);
        check(
            rule,
            "a, b",
            &[("a", "1"), ("b", "2")],
            &[("a", "1"), ("b", "3")],
            false,
        );
        check(rule, "", &[("a", "1")], &[("a", "2")], true);
        let rule = "9111 4.1: \"If a header field is absent from a request, it can only match another request if it is also absent there\"";
        check(rule, "accept", &[], &[], true);
        check(rule, "accept", &[], &[("accept", "")], false);
        let rule = "9111 4.1: \"A stored response with a Vary header field value containing a member \"*\" always fails to match\"";
        check(rule, "*", &[], &[], false);
        check(rule, "accept, *", &[], &[], false);
        check(
            "9111 4.1: white space may be normalised",
            "a",
            &[("a", " 1")],
            &[("a", "1\t")],
            true,
        );
    }

    #[test]
    fn spelling_of_the_field_does_not_matter() {
        let request: Request<'_> = &[("a", "1"), ("b", "2")];
        assert_eq!(key("A, b", request), key("B ,,a, A", request));
        let many: Vec<_> = (0..=MAX_FIELDS).map(|index| format!("f{index}")).collect();
        assert_eq!(Vary::parse(&many.join(",")), Vary::Anything);
    }

    proptest! {
        /// Values never run together into one key.
        #[test]
        fn values_keep_to_their_fields(a in "[ab]{0,3}", b in "[ab]{0,3}", c in "[ab]{0,3}", d in "[ab]{0,3}") {
            let one = key("x, y", &[("x", &a), ("y", &b)]);
            let other = key("x, y", &[("x", &c), ("y", &d)]);
            prop_assert_eq!(one == other, (a, b) == (c, d));
        }

        #[test]
        fn any_value_is_read_without_a_panic(value in ".*") {
            Vary::parse(&value);
        }
    }
}

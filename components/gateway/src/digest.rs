//! `Repr-Digest` (RFC 9530): what an answer's bytes hash to, for clients that want to know.

use base64_simd::STANDARD;
use sfv::{BareItem, Dictionary, ListEntry, Parser};
use sha2::{Digest, Sha256, Sha512};

/// The field in a request.
pub const WANT_REPR_DIGEST: &str = "want-repr-digest";
/// The field in an answer.
pub const REPR_DIGEST: &str = "repr-digest";

/// A hash that may be asked for: those that RFC 9530 §5 calls active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `sha-256`
    Sha256,
    /// `sha-512`
    Sha512,
}

impl Algorithm {
    /// The one that `Want-Repr-Digest` likes best of those that are known here. Preferences are 1 to
    /// 10, and 0 means "not this one" (RFC 9530 §4). `None` also for what is no such field: it is a wish,
    /// and its mistakes are no errors.
    pub fn wanted(field: &str) -> Option<Self> {
        let wishes = Parser::new(field).parse::<Dictionary>().ok()?;
        let known = wishes.iter().filter_map(|(name, member)| {
            let algorithm = match name.as_str() {
                "sha-256" => Self::Sha256,
                "sha-512" => Self::Sha512,
                _ => return None,
            };
            Some((preference(member)?, algorithm))
        });
        let best = known.max_by_key(|(preference, _)| *preference);
        best.map(|(_, algorithm)| algorithm)
    }

    /// The field's value for these bytes: a Dictionary with one Byte Sequence.
    pub fn field(self, bytes: &[u8]) -> String {
        match self {
            Self::Sha256 => member("sha-256", &Sha256::digest(bytes)),
            Self::Sha512 => member("sha-512", &Sha512::digest(bytes)),
        }
    }
}

fn member(name: &str, digest: &[u8]) -> String {
    format!("{name}=:{}:", STANDARD.encode_to_string(digest))
}

fn preference(member: &ListEntry) -> Option<i64> {
    let ListEntry::Item(item) = member else {
        return None;
    };
    match &item.bare_item {
        BareItem::Integer(preference) => Some(i64::from(*preference)).filter(|value| *value > 0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn best_known_wish_is_taken() {
        use Algorithm::{Sha256, Sha512};
        let check = |rule: &str, field: &str, expected| {
            assert_eq!(Algorithm::wanted(field), expected, "{field}: {rule}");
        };
        let rule = "9530 4: \"The Integer value ranges from 0 to 10, 1 is the least preferred, 10 is the most \
                    preferred, and 0 means not acceptable\"";
        check(rule, "sha-256=1", Some(Sha256));
        check(rule, "sha-512=3, sha-256=10, unixsum=0", Some(Sha256));
        check(rule, "sha-256=1, sha-512=10", Some(Sha512));
        check(rule, "sha-256=0", None);
        check(
            "algorithms that are not known are passed over",
            "md5=10, sha-512=1",
            Some(Sha512),
        );
        for nonsense in ["", "sha-256", "sha-256=a", "sha-256=1,", "sha-256=(1)"] {
            check("a wish that cannot be read is none", nonsense, None);
        }
    }

    #[test]
    fn digests_are_those_of_the_rfc() {
        // RFC 9530 appendix B.1: {"hello": "world"} and a line feed.
        let bytes = b"{\"hello\": \"world\"}\n";
        assert_eq!(
            Algorithm::Sha256.field(bytes),
            "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
        );
        assert!(Algorithm::Sha512.field(bytes).starts_with("sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:"));
    }

    proptest! {
        #[test]
        fn any_field_is_read_without_a_panic(field in ".*") {
            Algorithm::wanted(&field);
        }
    }
}

//! The names under which a shared cache keeps things.
//!
//! ```text
//! primary = BLAKE3( schema | "response" | scope | URI )
//! variant = BLAKE3( schema | "variant" | primary | generation | variant key )
//! group   = BLAKE3( schema | "group" | scope | origin | group )
//! posted  = BLAKE3( schema | "posted" | scope | URI | credentials | body )
//! item    = BLAKE3( schema | "item" | scope | URI | credentials | body without items | item )
//! ```
//!
//! Each part is preceded by its length. The method is not among them: only answers to GET are kept,
//! and, apart from them, answers to JSON that is POSTed where a policy declares it.

use super::uri;
use crate::http::VariantKey;
use crate::key::{Key, Scope};
use crate::time::UnixSeconds;

/// Changes when the meaning of any part changes; everything stored before is then unreachable.
const SCHEMA: &[u8] = b"brink-http-1";

/// The key of what is known about a URI.
///
/// `target` is the absolute URI that upstream is asked for, without a fragment. URIs that
/// [`uri::normalise`] makes equal have one key.
pub fn primary_key(scope: &Scope, target: &str) -> Key {
    let (tag, name) = scope.parts();
    let target = uri::normalise(target);
    Key::of_parts(&[SCHEMA, b"response", tag, name, target.as_bytes()])
}

/// The key of one variant of a response. Raising the generation makes all earlier variants
/// unreachable at once.
pub fn variant_key(primary: &Key, generation: u64, variant: &VariantKey) -> Key {
    let generation = generation.to_le_bytes();
    Key::of_parts(&[
        SCHEMA,
        b"variant",
        primary.as_bytes(),
        &generation,
        &variant.0,
    ])
}

/// The key of the time at which a group was invalidated last (RFC 9875). Groups belong to one
/// origin, and here to one scope: what a tenant says reaches no other tenant's responses.
pub fn group_key(scope: &Scope, origin: &str, group: &str) -> Key {
    let (tag, name) = scope.parts();
    Key::of_parts(&[
        SCHEMA,
        b"group",
        tag,
        name,
        origin.as_bytes(),
        group.as_bytes(),
    ])
}

/// JSON that is POSTed, as far as keys depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Posted<'a> {
    /// Who may read the answer.
    pub scope: &'a Scope,
    /// The absolute URI that upstream is asked for.
    pub target: &'a str,
    /// What tells clients of one scope apart at the upstream, such as `Authorization`. Empty for nothing.
    pub credentials: &'a [u8],
    /// The body in canonical form, or that without its items.
    pub body: &'a str,
}

impl Posted<'_> {
    /// The key of the whole answer.
    pub fn key(&self) -> Key {
        self.of_parts(b"posted", &[])
    }

    /// The key of one item's result. `item` is its canonical form.
    pub fn item_key(&self, item: &str) -> Key {
        self.of_parts(b"item", &[item.as_bytes()])
    }

    fn of_parts(&self, kind: &[u8], more: &[&[u8]]) -> Key {
        let (tag, name) = self.scope.parts();
        let target = uri::normalise(self.target);
        let mut parts = vec![
            SCHEMA,
            kind,
            tag,
            name,
            target.as_bytes(),
            self.credentials,
            self.body.as_bytes(),
        ];
        parts.extend(more);
        Key::of_parts(&parts)
    }
}

/// What is stored under a [`group_key`]: seconds, little-endian.
pub fn encode_invalidation(at: UnixSeconds) -> [u8; 8] {
    at.0.to_le_bytes()
}

/// Reads what [`encode_invalidation`] writes; `None` for bytes of others.
pub fn decode_invalidation(bytes: &[u8]) -> Option<UnixSeconds> {
    let bytes = <[u8; 8]>::try_from(bytes).ok()?;
    Some(UnixSeconds(u64::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(name: &str) -> Scope {
        Scope::Tenant(name.to_owned())
    }

    #[test]
    fn keys_are_stable_across_releases() {
        // A change here makes every deployed cache cold: bump SCHEMA and say so in the changelog.
        let primary = primary_key(&tenant("default"), "https://example.com/a?b=1");
        let variant = variant_key(&primary, 7, &VariantKey([1; 32]));
        let group = group_key(&tenant("default"), "https://example.com", "scripts");
        assert_eq!(
            [primary, variant, group].map(Key::to_hex),
            [
                "e7e75cc16cbaff5a63e1d5f5ce5a0652df3c72510e881e27e7b5549f0165c673",
                "06e80a370f3732c628e56669aa96c54e0d0d42f0fddcc67af24f52914c82903c",
                "e8d533b443996231634fa0f99bf62f93d95b06a668e4b44aa8025c9b1b0a2544",
            ]
        );
    }

    #[test]
    fn every_part_separates_keys() {
        let primary = primary_key(&tenant("a"), "http://h/");
        let variant = variant_key(&primary, 1, &VariantKey([1; 32]));
        let group = group_key(&tenant("a"), "http://h", "g");
        let keys = [
            primary,
            variant,
            group,
            primary_key(&tenant("b"), "http://h/"),
            primary_key(&Scope::Public, "http://h/"),
            primary_key(&tenant("a"), "https://h/"),
            primary_key(&tenant("a"), "http://h/?"),
            variant_key(&primary, 2, &VariantKey([1; 32])),
            variant_key(&primary, 1, &VariantKey([2; 32])),
            variant_key(&variant, 1, &VariantKey([1; 32])),
            group_key(&tenant("b"), "http://h", "g"),
            group_key(&Scope::Public, "http://h", "g"),
            group_key(&tenant("a"), "http://i", "g"),
            group_key(&tenant("a"), "http://h", "G"),
        ];
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(primary, primary_key(&tenant("a"), "HTTP://H:80"));
    }

    #[test]
    fn every_part_separates_keys_of_posted_json() {
        let acme = tenant("a");
        let base = Posted {
            scope: &acme,
            target: "http://h/",
            credentials: b"",
            body: "{}",
        };
        let other = tenant("b");
        let others = [
            base.item_key(""),
            base.item_key("\"a\""),
            Posted {
                scope: &other,
                ..base
            }
            .key(),
            Posted {
                target: "http://h/a",
                ..base
            }
            .key(),
            Posted {
                credentials: b"k",
                ..base
            }
            .key(),
            Posted { body: "[]", ..base }.key(),
            primary_key(&acme, "http://h/"),
        ];
        let distinct: std::collections::HashSet<_> =
            others.iter().chain([&base.key()]).copied().collect();
        assert_eq!(distinct.len(), others.len() + 1);
        assert_eq!(
            base.key(),
            Posted {
                target: "HTTP://h:80/",
                ..base
            }
            .key()
        );
    }

    proptest! {
        #[test]
        fn invalidation_times_are_read_back(at: u64, noise: Vec<u8>) {
            let at = UnixSeconds(at);
            prop_assert_eq!(decode_invalidation(&encode_invalidation(at)), Some(at));
            prop_assert_eq!(decode_invalidation(&noise).is_some(), noise.len() == 8);
        }
    }
}

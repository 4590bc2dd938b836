//! The name under which a result is kept.
//!
//! A key is a BLAKE3-256 hash of everything that can change the result, in two steps, so that
//! what all items share is hashed once and kept:
//!
//! ```text
//! prefix = BLAKE3-1280( schema | scope | model name | model digest | task | parameters )
//! key    = BLAKE3-256, keyed with the part of the prefix for this kind of item, ( item )
//! ```
//!
//! Of a text above [`LONG_TEXT_BYTES`], the item is its BLAKE3-256.
//!
//! Each part of a prefix is preceded by its length, and an item is all that its key hashes, so no
//! two different requests can run together into the same bytes. All 256 bits of a key are
//! compared everywhere; there is no shorter form.
//!
//! What is left out on purpose: `encoding_format`, `dimensions`, `user`, the order of
//! JSON members. They change how a result is *rendered*, not what the model computes.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Changes when the meaning of any part changes; every old entry is then unreachable.
const SCHEMA: &[u8] = b"brink-key-2";

/// Texts of more bytes are keyed by their BLAKE3-256, so that a client can name one without sending
/// it. Shorter ones fit into a URL, and one hash less is felt on a hit.
pub const LONG_TEXT_BYTES: usize = 1024;

/// A 256-bit cache key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key([u8; 32]);

impl Key {
    /// The raw 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key as 64 lower-case hexadecimal digits: the form used in key-value stores,
    /// whose keys are text.
    pub fn to_hex(self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }

    /// Reads the form that [`to_hex`](Self::to_hex) writes, in either case; `None` if it is none.
    pub fn from_hex(hex: &str) -> Option<Self> {
        digits(hex).map(Self)
    }

    /// The key that is made of such parts. The first is a schema of its own, so that keys of
    /// different kinds never meet.
    pub(crate) fn of_parts(parts: &[&[u8]]) -> Self {
        Self(*hash_parts(parts).finalize().as_bytes())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// BLAKE3-256 of every file and setting that can change what a model answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModelDigest(pub [u8; 32]);

impl ModelDigest {
    /// Reads 64 hexadecimal digits, in either case; `None` if it is something else.
    pub fn from_hex(hex: &str) -> Option<Self> {
        digits(hex).map(Self)
    }
}

impl fmt::Display for ModelDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for ModelDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelDigest({self})")
    }
}

/// Who may read an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Everybody: only where a policy rule declares a route public.
    Public,
    /// One tenant, by name.
    Tenant(String),
}

impl Scope {
    /// A tag that no tenant name can imitate, and the name.
    pub(crate) fn parts(&self) -> (&'static [u8], &[u8]) {
        match self {
            Self::Public => (b"public", b""),
            Self::Tenant(name) => (b"tenant", name.as_bytes()),
        }
    }
}

/// What the model is asked to do. Part of the key, because one model may serve several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Task {
    /// Text or tokens in, one vector out.
    Embed,
    /// One input in, a score for each label out.
    Classify,
    /// Tensors in, tensors out.
    Generic,
    /// A prompt in, text out.
    Generate,
}

impl Task {
    /// The name in keys and policies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Classify => "classify",
            Self::Generic => "generic",
            Self::Generate => "complete",
        }
    }
}

/// The input of one result, as bytes that identify it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemBytes<'a> {
    /// UTF-8 text, byte for byte: no normalisation unless a policy asks for it.
    Text(&'a str),
    /// BLAKE3-256 of a text above [`LONG_TEXT_BYTES`]; the same item as that text.
    LongText(&'a [u8; 32]),
    /// Token ids of the model's own vocabulary.
    Tokens(&'a [u32]),
    /// A file or a picture.
    Blob(&'a [u8]),
    /// Tensors, in a form in which no two lists of them are the same: these bytes, one piece after the other. In
    /// pieces, because their elements are there already, and may be megabytes.
    Tensors(Vec<Cow<'a, [u8]>>),
}

/// Everything of a key but the item: a key of the keyed hash for each kind of item. It depends on
/// no item, so whoever answers many requests keeps it.
#[derive(Clone, Copy)]
pub struct KeyPrefix {
    text: [u8; blake3::KEY_LEN],
    tokens: [u8; blake3::KEY_LEN],
    long_text: [u8; blake3::KEY_LEN],
    blob: [u8; blake3::KEY_LEN],
    tensors: [u8; blake3::KEY_LEN],
}

/// The parts that all items of a request share.
#[derive(Clone, Copy, Debug)]
pub struct PrefixParts<'a> {
    /// Who may read the entries.
    pub scope: &'a Scope,
    /// The model's name as clients write it.
    pub model: &'a str,
    /// What the model is, byte for byte.
    pub digest: &'a ModelDigest,
    /// What the model is asked to do.
    pub task: Task,
    /// Parameters that can change the result, as canonical JSON (RFC 8785).
    pub parameters: &'a str,
}

impl KeyPrefix {
    /// Hashes the shared parts.
    pub fn new(parts: PrefixParts<'_>) -> Self {
        let (scope_tag, scope_name) = parts.scope.parts();
        let hasher = hash_parts(&[
            SCHEMA,
            scope_tag,
            scope_name,
            parts.model.as_bytes(),
            &parts.digest.0,
            parts.task.name().as_bytes(),
            parts.parameters.as_bytes(),
        ]);
        let mut prefix = Self {
            text: [0; blake3::KEY_LEN],
            tokens: [0; blake3::KEY_LEN],
            long_text: [0; blake3::KEY_LEN],
            blob: [0; blake3::KEY_LEN],
            tensors: [0; blake3::KEY_LEN],
        };
        let mut output = hasher.finalize_xof();
        output.fill(&mut prefix.text);
        output.fill(&mut prefix.tokens);
        output.fill(&mut prefix.long_text);
        output.fill(&mut prefix.blob);
        output.fill(&mut prefix.tensors);
        prefix
    }

    /// The key of one item.
    pub fn key(&self, item: ItemBytes<'_>) -> Key {
        let hash = match item {
            ItemBytes::Text(text) if text.len() > LONG_TEXT_BYTES => {
                let digest = blake3::hash(text.as_bytes());
                blake3::keyed_hash(&self.long_text, digest.as_bytes())
            }
            ItemBytes::Text(text) => blake3::keyed_hash(&self.text, text.as_bytes()),
            ItemBytes::LongText(digest) => blake3::keyed_hash(&self.long_text, digest),
            ItemBytes::Tokens(tokens) => {
                let bytes: Vec<u8> = tokens.iter().flat_map(|id| id.to_le_bytes()).collect();
                blake3::keyed_hash(&self.tokens, &bytes)
            }
            ItemBytes::Blob(bytes) => blake3::keyed_hash(&self.blob, bytes),
            ItemBytes::Tensors(pieces) => {
                let mut hasher = blake3::Hasher::new_keyed(&self.tensors);
                for piece in &pieces {
                    hasher.update(piece);
                }
                hasher.finalize()
            }
        };
        Key(*hash.as_bytes())
    }
}

/// Not shown: whoever knows a prefix can tell which items a store holds.
impl fmt::Debug for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPrefix")
    }
}

/// The canonical parameters (RFC 8785) of a request to a model.
///
/// Truncation is the only one: with it an input above the model's limit has a result,
/// without it that input is an error. Absent is the default, so that the common request
/// has one form.
pub fn task_parameters(truncate: bool) -> &'static str {
    if truncate {
        r#"{"truncate":true}"#
    } else {
        "{}"
    }
}

/// Hashes each part after its length, so that no two lists of parts run together.
fn hash_parts(parts: &[&[u8]]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher
}

/// The 32 bytes that 64 hexadecimal digits stand for.
pub(crate) fn digits(hex: &str) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(hex)
        .ok()
        .map(|hash| *hash.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(scope: &Scope, model: &str, digest: u8, truncate: bool) -> KeyPrefix {
        KeyPrefix::new(PrefixParts {
            scope,
            model,
            digest: &ModelDigest([digest; 32]),
            task: Task::Embed,
            parameters: task_parameters(truncate),
        })
    }

    fn tenant(name: &str) -> Scope {
        Scope::Tenant(name.to_owned())
    }

    #[test]
    fn every_part_separates_keys() {
        let item = || ItemBytes::Text("hello");
        let base = prefix(&tenant("a"), "m", 1, false).key(item());
        let tokens = ItemBytes::Tokens(&[u32::from_le_bytes(*b"hell")]);
        assert_ne!(
            prefix(&tenant("a"), "m", 1, false).key(ItemBytes::Text("hell")),
            prefix(&tenant("a"), "m", 1, false).key(tokens),
            "the same bytes as text and as tokens"
        );
        let others = [
            prefix(&tenant("b"), "m", 1, false).key(item()),
            prefix(&Scope::Public, "m", 1, false).key(item()),
            prefix(&tenant("a"), "n", 1, false).key(item()),
            prefix(&tenant("a"), "m", 2, false).key(item()),
            prefix(&tenant("a"), "m", 1, true).key(item()),
            prefix(&tenant("a"), "m", 1, false).key(ItemBytes::Text("hello ")),
            prefix(&tenant("a"), "m", 1, false).key(ItemBytes::Tokens(&[1])),
        ];
        for other in others {
            assert_ne!(base, other);
        }
        assert_eq!(base, prefix(&tenant("a"), "m", 1, false).key(item()));
    }

    #[test]
    fn long_text_and_its_digest_are_one_item_and_a_short_one_is_not() {
        let prefix = prefix(&tenant("a"), "m", 1, false);
        let same = |length: usize| {
            let text = "x".repeat(length);
            let digest = blake3::hash(text.as_bytes());
            let named = prefix.key(ItemBytes::LongText(digest.as_bytes()));
            named == prefix.key(ItemBytes::Text(&text))
        };
        assert!(!same(LONG_TEXT_BYTES));
        assert!(same(LONG_TEXT_BYTES + 1));
        // A text that is 32 bytes of digest is another item.
        let digest = [b'a'; 32];
        let text = "a".repeat(32);
        assert_ne!(
            prefix.key(ItemBytes::LongText(&digest)),
            prefix.key(ItemBytes::Text(&text))
        );
    }

    #[test]
    fn tensors_have_one_key_however_their_bytes_are_cut() {
        let prefix = prefix(&tenant("a"), "m", 1, false);
        let key = |pieces: &[&'static [u8]]| {
            let pieces = pieces.iter().map(|piece| Cow::Borrowed(*piece));
            prefix.key(ItemBytes::Tensors(pieces.collect()))
        };
        assert_eq!(key(&[b"abc"]), key(&[b"a", b"", b"bc"]));
        assert_ne!(key(&[b"abc"]), key(&[b"ab"]));
    }

    #[test]
    fn keys_are_stable_across_releases() {
        // A change here makes every deployed cache cold: bump SCHEMA and say so in the changelog.
        let key = prefix(&tenant("default"), "all-MiniLM-L6-v2", 7, false)
            .key(ItemBytes::Text("The cat sits outside"));
        assert_eq!(
            key.to_hex(),
            "32a283bc864b59a2bf95d0159c414003d89b595ada24603a45433adbd6d34fa0"
        );
    }

    #[test]
    fn hexadecimal_form_is_read_back() {
        let key = prefix(&Scope::Public, "m", 1, false).key(ItemBytes::Text("x"));
        assert_eq!(Key::from_hex(&key.to_hex()), Some(key));
        assert_eq!(Key::from_hex(&key.to_hex().to_uppercase()), Some(key));
        let digest = ModelDigest([0xab; 32]);
        assert_eq!(ModelDigest::from_hex(&digest.to_string()), Some(digest));
        for wrong in [
            "",
            "ab",
            &"g".repeat(64),
            &"a".repeat(63),
            &"a".repeat(65),
            &"é".repeat(32),
        ] {
            assert_eq!(Key::from_hex(wrong), None, "{wrong}");
        }
    }

    proptest! {
        /// Moving a boundary between two parts never gives the same key.
        #[test]
        fn parts_do_not_run_together(scope in "[a-c]{0,4}", model in "[a-c]{0,4}", text in "[a-c]{0,4}",
                                     scope2 in "[a-c]{0,4}", model2 in "[a-c]{0,4}", text2 in "[a-c]{0,4}") {
            let one = prefix(&tenant(&scope), &model, 1, false).key(ItemBytes::Text(&text));
            let two = prefix(&tenant(&scope2), &model2, 1, false).key(ItemBytes::Text(&text2));
            prop_assert_eq!(one == two, (scope, model, text) == (scope2, model2, text2));
        }

        /// Token lists are compared element by element.
        #[test]
        fn token_lists_with_one_key_are_equal(a in prop::collection::vec(0u32..4, 0..5), b in prop::collection::vec(0u32..4, 0..5)) {
            let prefix = prefix(&Scope::Public, "m", 1, false);
            prop_assert_eq!(prefix.key(ItemBytes::Tokens(&a)) == prefix.key(ItemBytes::Tokens(&b)), a == b);
        }
    }
}

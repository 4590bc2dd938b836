//! The files of the page, and their entity tags.

use http::HeaderValue;

/// A file of the page.
pub(crate) struct Asset {
    /// Relative to the page; empty for the page itself.
    name: &'static str,
    /// Its media type.
    pub(crate) content_type: &'static str,
    /// What is in it.
    pub(crate) bytes: &'static [u8],
    /// Of the bytes.
    hash: u64,
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

static ASSETS: [Asset; 4] = [
    asset(
        "",
        "text/html; charset=utf-8",
        include_bytes!("../assets/index.html"),
    ),
    asset("brink.js", JAVASCRIPT, include_bytes!("../assets/brink.js")),
    asset("chat.js", JAVASCRIPT, include_bytes!("../assets/chat.js")),
    asset(
        "chat.css",
        "text/css; charset=utf-8",
        include_bytes!("../assets/chat.css"),
    ),
];

const fn asset(name: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Asset {
    Asset {
        name,
        content_type,
        bytes,
        hash: fnv1a(bytes),
    }
}

/// FNV-1a, computed by the compiler. It tells versions of our own files apart, and guards against nobody.
const fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
}

impl Asset {
    /// The file of that name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        ASSETS.iter().find(|asset| asset.name == name)
    }

    /// The file's strong entity tag.
    pub(crate) fn etag(&self) -> String {
        format!("\"{:016x}\"", self.hash)
    }

    /// Whether a value of `If-None-Match` names this version of the file: a list of tags that are compared weakly, or
    /// `*` (RFC 9110, section 13.1.2). A foreign tag with a comma in it falls apart into what equals none of ours.
    pub(crate) fn is_among(&self, value: &HeaderValue) -> bool {
        let etag = self.etag();
        let listed = value.to_str().unwrap_or_default().split(',').map(str::trim);
        listed
            .into_iter()
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_that_of_the_published_vectors() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn tags_are_compared_weakly_and_in_lists() {
        let asset = &ASSETS[0];
        let own = asset.etag();
        let check = |value: &str, expected: bool| {
            let value = HeaderValue::from_str(value).unwrap();
            assert_eq!(asset.is_among(&value), expected, "{value:?}");
        };
        check(&own, true);
        check(&format!("W/{own}"), true);
        check(&format!("\"other\" ,{own}, \"x\""), true);
        check("*", true);
        check("\"other\"", false);
        check(&own.replace('"', ""), false);
        check("", false);
    }
}

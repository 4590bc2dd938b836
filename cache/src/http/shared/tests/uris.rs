//! Which URIs are the same, and what references mean.

use super::uri::{normalise, origin, resolve};
use super::*;

#[test]
fn equivalent_uris_become_one() {
    let check = |rule: &str, uri: &str, expected: &str| {
        assert_eq!(normalise(uri), expected, "{uri}: {rule}");
    };
    let rule = "9110 4.2.3: \"If the port is equal to the default port for a scheme, the normal form is to omit \
                the port subcomponent\"";
    check(rule, "http://example.com:80/a", "http://example.com/a");
    check(rule, "https://example.com:443/a", "https://example.com/a");
    check(rule, "http://example.com:443/a", "http://example.com:443/a");
    check(rule, "http://example.com:/a", "http://example.com/a");
    check(rule, "http://[::1]:80/", "http://[::1]/");
    check(rule, "http://[::80]/", "http://[::80]/");
    let rule = "9110 4.2.3: \"an empty path component is equivalent to an absolute path of \"/\"\"";
    check(rule, "http://example.com", "http://example.com/");
    check(rule, "http://example.com?a=1", "http://example.com/?a=1");
    let rule = "9110 4.2.3: \"The scheme and host are case-insensitive and normally provided in lowercase; all \
                other components are compared in a case-sensitive manner\"";
    check(rule, "HTTP://Example.COM/A?B=C", "http://example.com/A?B=C");
    check(rule, "http://User@Example.com/", "http://User@example.com/");
    let rule = "3986 6.2.2.1: \"normalized to use uppercase letters for the digits A-F\"";
    check(rule, "http://h/%7e%2F?%aa", "http://h/%7E%2F?%AA");
    check(rule, "http://h/%g0%a", "http://h/%g0%a");
    check(
        "nothing else is touched",
        "http://h/a/../b//c?x=1&&y",
        "http://h/a/../b//c?x=1&&y",
    );
    check("a fragment is not sent", "http://h/a#b", "http://h/a");
    check("no absolute URI", "/a", "/a");
    check("no absolute URI", "mailto:A@B", "mailto:A@B");
}

#[test]
fn origin_is_scheme_host_and_port() {
    let rule = "9110 4.3.1: \"the triple of scheme, host, and port\"";
    let check = |uri: &str, expected: Option<&str>| {
        assert_eq!(origin(uri).as_deref(), expected, "{uri}: {rule}");
    };
    check("http://Example.com/a", Some("http://example.com"));
    check("https://example.com:443", Some("https://example.com"));
    check(
        "https://u@example.com:8443/a?b",
        Some("https://example.com:8443"),
    );
    check(
        "https://example.com?x=@evil.com",
        Some("https://example.com"),
    );
    check("http:///a", None);
    check("/a", None);
    check("mailto:a@b", None);
}

#[test]
fn references_are_resolved_as_rfc_3986_shows() {
    let rule = "3986 5.4: within a representation with the base URI \"http://a/b/c/d;p?q\"";
    let check = |reference: &str, expected: &str| {
        let found = resolve("http://a/b/c/d;p?q", reference);
        assert_eq!(found.as_deref(), Some(expected), "{reference}: {rule}");
    };
    for (reference, expected) in [
        ("g", "http://a/b/c/g"),
        ("./g", "http://a/b/c/g"),
        ("g/", "http://a/b/c/g/"),
        ("/g", "http://a/g"),
        ("//g", "http://g/"),
        ("?y", "http://a/b/c/d;p?y"),
        ("g?y", "http://a/b/c/g?y"),
        ("#s", "http://a/b/c/d;p?q"),
        ("g#s", "http://a/b/c/g"),
        ("g?y#s", "http://a/b/c/g?y"),
        (";x", "http://a/b/c/;x"),
        ("", "http://a/b/c/d;p?q"),
        (".", "http://a/b/c/"),
        ("./", "http://a/b/c/"),
        ("..", "http://a/b/"),
        ("../", "http://a/b/"),
        ("../g", "http://a/b/g"),
        ("../..", "http://a/"),
        ("../../g", "http://a/g"),
        ("../../../g", "http://a/g"),
        ("/./g", "http://a/g"),
        ("/../g", "http://a/g"),
        ("g.", "http://a/b/c/g."),
        ("..g", "http://a/b/c/..g"),
        ("./g/.", "http://a/b/c/g/"),
        ("g/./h", "http://a/b/c/g/h"),
        ("g/../h", "http://a/b/c/h"),
        ("g?y/../x", "http://a/b/c/g?y/../x"),
        ("https://h/x/../y", "https://h/y"),
    ] {
        check(reference, expected);
    }
    assert_eq!(resolve("http://a", "g").as_deref(), Some("http://a/g"));
    assert_eq!(resolve("http://a/b", "mailto:x@y"), None, "no authority");
    assert_eq!(resolve("/b", "/c"), None, "no absolute base");
}

proptest! {
    #[test]
    fn normal_form_is_stable(uri in "[Hh]ttps?://[A-c:.@\\[\\]%]{0,6}(:80|:443)?[/?#%a-f.]{0,12}", noise in ".*") {
        for uri in [uri, noise] {
            let once = normalise(&uri);
            prop_assert_eq!(normalise(&once), once);
        }
    }

    /// Whatever a reference is, what it means is an absolute URI in normal form.
    #[test]
    fn resolved_references_are_normal(reference in "[a-c/.?#:%é]{0,12}") {
        if let Some(found) = resolve("http://h/a/b?c", &reference) {
            prop_assert!(!found.contains("/../") || found.contains('?'), "{}", found);
            prop_assert_eq!(normalise(&found), found);
        }
    }
}

//! Which origin a request goes to, and which request goes to none.

use proptest::prelude::*;

use super::super::*;
use super::file::with;
use super::policy;

const ORIGINS: &str = r#"
[[origin]]
name = "shop"
path = "/shop/"
upstream = "http://shop.internal/"

[[origin]]
name = "search"
path = "/shop/search/"
upstream = "https://127.0.0.1:8080/api/"

[[origin.json]]
path = "v1/embeddings"
task = "embed"
items = "tei"

[[origin.json]]
path = "rank"
task = "classify"
"#;

/// The origin and the rest, or the refusal.
fn routed<'a>(
    policy: &'a Policy,
    path: &'a str,
) -> Result<Option<(&'a str, &'a str)>, PathRefusal> {
    let to = policy.route_to_origin(path)?;
    Ok(to.map(|to| (&*to.origin.name, to.rest)))
}

#[test]
fn longest_prefix_wins() {
    let policy = Policy::parse(&with(ORIGINS)).unwrap();
    let check = |path: &str, expected: Option<(&str, &str)>| {
        assert_eq!(routed(&policy, path), Ok(expected), "{path}");
    };
    check("/shop/", Some(("shop", "")));
    check("/shop/cart", Some(("shop", "cart")));
    check("/shop/search", Some(("shop", "search")));
    check("/shop/search/", Some(("search", "")));
    check("/shop/search/a/b", Some(("search", "a/b")));
    check("/shop/searches/", Some(("shop", "searches/")));
    check("/shop//search/", Some(("shop", "/search/")));
    check("/shop", None);
    check("/Shop/", None);
    check("/%73hop/", None);
    check("/", None);
    check("", None);
    check("shop/", None);
    check("/v1/embeddings", None);
    assert_eq!(routed(&Policy::default(), "/shop/../x"), Ok(None));
}

#[test]
fn json_routes_are_exact() {
    let policy = Policy::parse(&with(ORIGINS)).unwrap();
    let check = |path: &str, expected: Option<(&str, Option<ItemFormat>)>| {
        let to = policy.route_to_origin(path).unwrap().unwrap();
        let found = to.json.map(|route| (&*route.task, route.items));
        assert_eq!(found, expected, "{path}");
    };
    check(
        "/shop/search/v1/embeddings",
        Some(("embed", Some(ItemFormat::Tei))),
    );
    check("/shop/search/rank", Some(("classify", None)));
    check("/shop/search/rank/", None);
    check("/shop/search/ran%6B", None);
    check("/shop/rank", None);
}

#[test]
fn upstream_takes_the_place_of_the_prefix() {
    let policy = Policy::parse(&with(ORIGINS)).unwrap();
    let check = |path: &str, query: Option<&str>, expected: &str| {
        let to = policy.route_to_origin(path).unwrap().unwrap();
        assert_eq!(to.url(query), expected, "{path}");
    };
    check("/shop/", None, "http://shop.internal/");
    check(
        "/shop/a%20b",
        Some("q=1&r=%2F"),
        "http://shop.internal/a%20b?q=1&r=%2F",
    );
    check("/shop/search/x", Some(""), "https://127.0.0.1:8080/api/x?");
}

/// "The complete path segments "." and ".." are intended only for use within relative references
/// (Section 4.1) and are removed as part of the reference resolution process (Section 5.2)" (RFC
/// 3986 §6.2.2.3).
#[test]
fn paths_that_could_lead_out_of_the_prefix_are_refused() {
    let policy = Policy::parse(&with(ORIGINS)).unwrap();
    let check = |rest: &str, expected: Result<(), PathRefusal>| {
        let path = format!("/shop/{rest}");
        let found = policy.route_to_origin(&path).map(|_| ());
        assert_eq!(found, expected, "{rest}");
    };
    let dots = Err(PathRefusal::DotSegment);
    for rest in [
        "..",
        ".",
        "../x",
        "a/../../x",
        "a/./b",
        "a/.",
        "search/..",
        "search/v1/../../x",
    ] {
        check(rest, dots);
    }
    for rest in [
        "%2e%2e/x",
        "%2E./x",
        ".%2e",
        "%2e",
        "a%2f..%2fb",
        "a%2F%2e%2E",
        "..%5cx",
        "%5C..",
    ] {
        check(rest, dots);
    }
    for rest in ["%252e%252e/x", "%25252e.", "%2%65%2e", "%%32e.", "..%253bx"] {
        check(rest, dots);
    }
    for rest in ["..;/x", "..;a=b", ".%3Bx", "..%00"] {
        check(rest, dots);
    }
    let character = Err(PathRefusal::Character);
    for rest in [
        "a\\b", "..\\x", "a?b", "a#b", "a b", "a\nb", "a\0b", "a\u{a0}b",
    ] {
        check(rest, character);
    }
    for rest in [
        "...",
        "..a",
        ".a",
        "a.",
        "a..",
        ".well-known/x",
        "%2ea",
        "a/...;x",
        "a;../b",
    ] {
        check(rest, Ok(()));
    }
    for rest in [
        "", "%", "%2", "%zz", "%e", "a%2Fb", "a%5Cb", "100%25", "é", "%C3%A9", "a//b",
    ] {
        check(rest, Ok(()));
    }
}

/// Every form that services could make of a path by decoding it again and again.
fn decodings(path: &str) -> Vec<Vec<u8>> {
    let mut all = vec![path.as_bytes().to_vec()];
    loop {
        let last = &all[all.len() - 1];
        let (mut next, mut at) = (Vec::new(), 0);
        while at < last.len() {
            let digits = last.get(at + 1..at + 3).filter(|_| last[at] == b'%');
            let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
            let digits =
                digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let byte = digits.map(|digits| u8::from_str_radix(digits, 16).unwrap());
            next.push(byte.unwrap_or(last[at]));
            at += if byte.is_some() { 3 } else { 1 };
        }
        if next == *last {
            return all;
        }
        all.push(next);
    }
}

proptest! {
    /// Whatever the path: an answer, the longest prefix, and no way out however it is decoded.
    #[test]
    fn no_path_leads_out_of_its_prefix(policy in policy(), noise: String, path in "/([ab]/){0,3}(j|\\.|%|2|5|e|E|f|c|/|\\\\|;|é){0,9}") {
        for path in [noise, path] {
            let Ok(Some(to)) = policy.route_to_origin(&path) else { continue };
            prop_assert_eq!([&*to.origin.path, to.rest].concat(), path.clone());
            prop_assert!(policy.origins().iter().all(|other| !path.starts_with(&other.path) || other.path.len() <= to.origin.path.len()));
            prop_assert!(to.json.is_none_or(|route| route.path == to.rest));
            prop_assert!(to.url(None).starts_with(&to.origin.upstream));
            for form in decodings(to.rest) {
                let mut segments = form.split(|byte| b"/\\".contains(byte));
                prop_assert!(!segments.any(|segment| matches!(segment, b"." | b"..")), "{}", path);
            }
        }
    }

    /// What is written in a policy is passed on.
    #[test]
    fn every_json_route_is_reached(policy in policy()) {
        for origin in policy.origins() {
            for route in &origin.json {
                let path = [&*origin.path, &route.path].concat();
                prop_assert_eq!(policy.route_to_origin(&path).unwrap().unwrap().json, Some(route));
            }
        }
    }
}

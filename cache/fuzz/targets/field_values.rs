//! Entity tags, `If-None-Match`, `Vary` and `Cache-Groups`: what was read is written, and read again.

#![no_main]

use brink_cache::http::groups::{
    MAX_GROUP_LENGTH, MAX_GROUPS, groups, invalidated_groups, written,
};
use brink_cache::http::vary::MAX_FIELDS;
use brink_cache::http::{EntityTag, IfNoneMatch, Vary};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &str| {
    check_tag(value);
    check_condition(value);
    check_vary(value);
    check_groups(value);
});

fn check_tag(value: &str) {
    let Some(tag) = EntityTag::parse(value) else {
        return;
    };
    assert_eq!(EntityTag::parse(&text(&tag)), Some(tag));
    assert!(tag.matches_weakly(&tag));
    assert_eq!(tag.matches_strongly(&tag), !tag.is_weak);
    assert_eq!(
        IfNoneMatch::parse(value),
        Some(IfNoneMatch::Tags(vec![tag]))
    );
}

fn check_condition(value: &str) {
    let Some(condition) = IfNoneMatch::parse(value) else {
        return;
    };
    let IfNoneMatch::Tags(tags) = &condition else {
        assert!(condition.has(None));
        return;
    };
    assert!(!condition.has(None));
    assert!(tags.iter().all(|tag| condition.has(Some(tag))));
    let texts: Vec<_> = tags.iter().map(text).collect();
    assert_eq!(
        IfNoneMatch::parse(&texts.join(", ")).as_ref(),
        Some(&condition)
    );
}

fn text(tag: &EntityTag<'_>) -> String {
    let weak = if tag.is_weak { "W/" } else { "" };
    format!("{weak}\"{}\"", tag.opaque)
}

fn check_vary(value: &str) {
    let vary = Vary::parse(value);
    let Vary::Fields(fields) = &vary else {
        assert_eq!(vary.key(|_| Some("")), None);
        return;
    };
    assert!(fields.len() <= MAX_FIELDS);
    let names: Vec<_> = fields.iter().map(String::as_str).collect();
    assert_eq!(Vary::parse(&names.join(",")), vary);
    // RFC 9111 §4.1: a field that is absent from one request and empty in another tells them apart.
    assert_eq!(
        vary.key(|_| None::<&[u8]>) == vary.key(|_| Some("")),
        fields.is_empty()
    );
}

fn check_groups(value: &str) {
    let read = groups(value);
    assert!(read.len() <= MAX_GROUPS);
    assert!(read.iter().all(|name| name.len() <= MAX_GROUP_LENGTH));
    assert_eq!(groups(&written(&read).unwrap_or_default()), read);
    assert_eq!(invalidated_groups("POST", value), read);
    assert!(invalidated_groups("GET", value).is_empty());
}

//! The stored form, and which record takes the place of another.

use std::collections::BTreeSet;

use super::*;
use crate::key::{Key, Scope};
use record::LONGEST_EXCHANGE;

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The records in `tests/fixtures`, each with its file.
fn fixtures() -> [(Record, &'static [u8]); 3] {
    let mut response = stored(
        "content-type: text/plain | cache-control: max-age=60, stale-if-error=600 | etag: \"1\" | date: @0",
        "hello",
    );
    response.head.times.received = after(2);
    [
        (
            Record::Response(response),
            &include_bytes!("../../../../tests/fixtures/response_v1.bin")[..],
        ),
        (
            Record::Variants {
                fields: names(&["accept", "accept-language"]),
                generation: SENT.0,
            },
            &include_bytes!("../../../../tests/fixtures/variants_v1.bin")[..],
        ),
        (
            Record::Invalidated { at: SENT },
            &include_bytes!("../../../../tests/fixtures/invalidated_v1.bin")[..],
        ),
    ]
}

#[test]
fn records_of_version_1_are_still_read() {
    for (record, bytes) in fixtures() {
        let read = Record::decode(Bytes::from_static(bytes));
        assert_eq!(read.as_ref(), Ok(&record));
        let written = record.encode();
        assert_eq!(
            written.as_deref(),
            Ok(bytes),
            "the writer still writes version 1"
        );
    }
}

#[test]
fn foreign_and_newer_bytes_are_named() {
    let check = |bytes: &[u8], expected| {
        assert_eq!(Record::decode(Bytes::copy_from_slice(bytes)), Err(expected));
    };
    check(b"", RecordError::Foreign);
    check(b"BRH", RecordError::Foreign);
    check(b"BRK\x01", RecordError::Foreign);
    check(b"BRH\x02", RecordError::Version(2));
    check(b"BRH\x01", RecordError::Head);
    check(b"BRH\x01\x09", RecordError::Head);
    let trailing = RecordError::Length {
        actual: 1,
        expected: 0,
    };
    check(b"BRH\x01\x02\x05x", trailing);
    // One field, whose name has a line break.
    check(
        b"BRH\x01\x00\xc8\x01\x01\x03a\r\n\x01x\x00\x00\x00",
        RecordError::Head,
    );
    let large = [&b"BRH\x01"[..], &[0; 1_000_000]].concat();
    check(&large, RecordError::TooLarge(large.len()));
}

#[test]
fn records_end_at_the_limit_of_a_value() {
    let check = |body: usize, expected: bool| {
        let mut response = stored("", "");
        response.body = vec![b'x'; body].into();
        assert_eq!(
            Record::Response(response).encode().is_ok(),
            expected,
            "{body}"
        );
    };
    check(999_000, true);
    check(1_000_000, false);
}

#[test]
fn variants_are_found_by_the_fields_that_choose() {
    let primary = keys::primary_key(&Scope::Public, "http://h/");
    let check = |rule: &str, one: &str, other: &str, expected: bool| {
        let record = Record::Variants {
            fields: names(&["accept", "accept-language"]),
            generation: 1,
        };
        let key = |lines| record.variant(&primary, &fields(lines)).unwrap();
        assert_eq!(
            key(one) == key(other),
            expected,
            "{one:?} {other:?}: {rule}"
        );
    };
    let rule = "9111 4.1: \"unless all the presented request header fields nominated by that Vary field value match\"";
    check(rule, "accept: a", "accept: a | cookie: b", true);
    check(rule, "accept: a", "accept: b", false);
    check(rule, "accept: a", "accept-language: a", false);
    let rule = "9111 4.1: \"combining multiple header field lines with the same field name\"";
    check(rule, "accept: a, b", "accept: a | accept: b", true);
    let rule = "9111 4.1: \"it can only match another request if it is also absent there\"";
    check(rule, "accept:", "", false);

    let other = Record::Invalidated { at: SENT };
    assert_eq!(other.variant(&primary, &Fields::new()), None);
}

#[test]
fn fields_that_choose_are_collected() {
    let known = Record::Variants {
        fields: names(&["accept"]),
        generation: 5,
    };
    let plain = Record::Response(stored("", ""));
    let gone = Record::Invalidated { at: UnixSeconds(5) };
    let check =
        |rule: &str, before: Option<&Record>, vary: &str, expected: Option<(&[&str], u64)>| {
            let found = Record::variants_with(before, &head(200, vary));
            let expected = expected.map(|(fields, generation)| Record::Variants {
                fields: names(fields),
                generation,
            });
            assert_eq!(found, expected, "{before:?} {vary:?}: {rule}");
        };
    let rule =
        "9110 12.5.5: the fields that \"might have had a role in selecting the representation\"";
    check(rule, None, "vary: Accept", Some((&["accept"], SENT.0)));
    check(
        rule,
        Some(&plain),
        "vary: a | vary: B",
        Some((&["a", "b"], SENT.0)),
    );
    check(rule, None, "", None);
    check(rule, Some(&plain), "", None);
    let rule = "9111 4.1: \"Some resources mistakenly omit the Vary header field from their default response\"";
    check(rule, Some(&known), "", Some((&["accept"], 5)));
    check(
        "all fields count",
        Some(&known),
        "vary: a",
        Some((&["a", "accept"], 5)),
    );
    check(
        "a generation of its own",
        Some(&gone),
        "vary: a",
        Some((&["a"], SENT.0)),
    );
    check(
        "9111 4.1: \"*\" always fails to match",
        None,
        "vary: *",
        None,
    );
}

#[test]
fn answers_from_before_a_change_are_not_stored() {
    let response = Record::Response(stored("", ""));
    let variants = Record::Variants {
        fields: names(&["accept"]),
        generation: SENT.0,
    };
    let check = |rule: &str, before: Option<&Record>, requested: UnixSeconds, expected: bool| {
        let found = Record::is_storable_now(before, requested);
        assert_eq!(found, expected, "{before:?} {requested:?}: {rule}");
    };
    let rule = "9111 4.4: invalid stored responses are \"in need of a mandatory validation before they can be sent\"";
    let invalidated = Record::Invalidated { at: SENT };
    check(rule, Some(&invalidated), UnixSeconds(SENT.0 - 1), false);
    check(rule, Some(&invalidated), SENT, false);
    check(rule, Some(&invalidated), after(1), true);
    let rule = "9111 4: \"a cache MUST use the most recent one\"";
    let clock_set_back = UnixSeconds(SENT.0 - LONGEST_EXCHANGE.as_secs() - 1);
    for newer in [&response, &variants] {
        check(rule, Some(newer), UnixSeconds(SENT.0 - 1), false);
        check(rule, Some(newer), SENT, true);
        check("a clock was set back", Some(newer), clock_set_back, true);
    }
    check("nothing is there", None, UnixSeconds(0), true);
}

proptest! {
    #[test]
    fn every_response_is_read_back(head in any_head(), body: Vec<u8>) {
        let record = Record::Response(StoredResponse { head, body: body.into() });
        prop_assert_eq!(Record::decode(record.encode().unwrap().into()), Ok(record));
    }

    #[test]
    fn every_other_record_is_read_back(fields in prop::collection::btree_set("[a-z]{1,8}", 0..5), number: u64) {
        for record in [Record::Variants { fields, generation: number }, Record::Invalidated { at: UnixSeconds(number) }] {
            prop_assert_eq!(Record::decode(record.encode().unwrap().into()), Ok(record));
        }
    }

    /// Cutting a record anywhere is noticed, and no bytes make the decoder panic.
    #[test]
    fn cut_records_are_refused(cut: prop::sample::Index, noise: Vec<u8>) {
        for (_, whole) in fixtures() {
            let kept = cut.index(whole.len());
            prop_assert!(Record::decode(Bytes::from_static(&whole[..kept])).is_err());
        }
        let _ = Record::decode([&b"BRH\x01"[..], &noise].concat().into());
        let _ = Record::decode(noise.into());
    }

    /// Two requests that differ in a field that chooses never share a key, whatever the bytes.
    #[test]
    fn variants_never_share_a_key(one in prop::option::of(prop::collection::vec(33u8..=255, 0..4)),
                                  other in prop::option::of(prop::collection::vec(33u8..=255, 0..4))) {
        let record = Record::Variants { fields: names(&["a"]), generation: 1 };
        let primary = keys::primary_key(&Scope::Public, "http://h/");
        let key = |value: &Option<Vec<u8>>| -> Option<Key> {
            let request = value.iter().map(|value| ("a", value.clone())).collect();
            record.variant(&primary, &request)
        };
        prop_assert_eq!(key(&one) == key(&other), one == other);
    }
}

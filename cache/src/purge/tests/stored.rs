//! The stored form.

use proptest::prelude::*;

use super::super::*;
use super::{key, list, mark, marks};
use crate::key::ModelDigest;

/// The marks in `tests/fixtures/marks_v1.bin`: one of each subject, and one subject with two.
fn fixture() -> Marks {
    marks(&[
        mark(Subject::Key(key(0xab)), 1_700_000_000, Mode::Hard),
        mark(
            Subject::SurrogateKey("team-search".to_owned()),
            1_700_000_001,
            Mode::Soft,
        ),
        mark(
            Subject::Model("all-MiniLM-L6-v2".to_owned()),
            1_700_000_002,
            Mode::Soft,
        ),
        mark(
            Subject::Digest(ModelDigest([7; 32])),
            1_700_000_003,
            Mode::Hard,
        ),
        mark(
            Subject::Tenant("acme".to_owned()),
            1_700_000_004,
            Mode::Hard,
        ),
        mark(
            Subject::Tenant("acme".to_owned()),
            1_700_000_005,
            Mode::Soft,
        ),
        mark(Subject::All, 1_600_000_000, Mode::Soft),
    ])
}

const STORED: &[u8] = include_bytes!("../../../tests/fixtures/marks_v1.bin");

#[test]
fn marks_of_version_1_are_still_read() {
    assert_eq!(Marks::decode(STORED), Ok(fixture()));
    assert_eq!(
        fixture().encode(),
        STORED,
        "the writer still writes version 1"
    );
}

#[test]
fn foreign_and_newer_bytes_are_named() {
    let check = |bytes: &[u8], expected| assert_eq!(Marks::decode(bytes), Err(expected));
    check(b"", DecodeError::Foreign);
    check(b"BRU", DecodeError::Foreign);
    check(b"BRK\x01", DecodeError::Foreign);
    check(b"BRU\x02", DecodeError::Version(2));
    check(b"BRU\x01", DecodeError::Broken);
    check(&[STORED, &[0]].concat(), DecodeError::Broken);
    // One mark, for the model "".
    check(
        b"BRU\x01\x01\x02\x00\x05\x00",
        NameError { bytes: 0 }.into(),
    );
    let huge = [b"BRU\x01".as_slice(), &vec![0; MAX_MARKS_BYTES]].concat();
    check(&huge, DecodeError::TooLarge(huge.len()));
    let list = vec![mark(Subject::All, 1, Mode::Soft); MAX_MARKS + 1];
    let many = postcard::to_extend(&list, b"BRU\x01".to_vec()).unwrap();
    check(&many, DecodeError::TooMany(MAX_MARKS + 1));
}

proptest! {
    #[test]
    fn marks_are_read_back(list in list(40)) {
        let marks = marks(&list);
        let stored = marks.encode();
        prop_assert!(stored.len() <= marks.most_bytes());
        prop_assert_eq!(marks.len(), marks.iter().count());
        prop_assert_eq!(Marks::decode(&stored), Ok(marks));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(noise: Vec<u8>, at in 4..STORED.len(), byte: u8) {
        let _ = Marks::decode(&noise);
        let _ = Marks::decode(&[b"BRU\x01".as_slice(), &noise].concat());
        let mut altered = STORED.to_vec();
        altered[at] = byte;
        if let Ok(marks) = Marks::decode(&altered) {
            prop_assert_eq!(Marks::decode(&marks.encode()), Ok(marks));
        }
        prop_assert!(Marks::decode(&STORED[..at]).is_err());
    }
}

//! The stored form.

use proptest::prelude::*;

use super::super::*;
use super::tenants;

const STORED: &[u8] = include_bytes!("../../../tests/fixtures/tenants_v1.bin");

/// The table in `tests/fixtures/tenants_v1.bin`: a tenant with everything, and one with nothing.
fn fixture() -> Tenants {
    let (one, two) = ("ab".repeat(32), "cd".repeat(32));
    let source = format!(
        r#"
version = 1
[[tenant]]
name = "acme"
key_hashes = ["{one}", "{two}"]
requests_per_second = 50
burst = 100
max_concurrent = 8
model_ms_per_minute = 30000
[[tenant]]
name = "closed"
key_hashes = []
"#
    );
    Tenants::parse(&source).unwrap()
}

#[test]
fn tables_of_version_1_are_still_read() {
    assert_eq!(Tenants::decode(STORED), Ok(fixture()));
    assert_eq!(
        fixture().encode(),
        STORED,
        "the writer still writes version 1"
    );
}

#[test]
fn foreign_and_newer_bytes_are_named() {
    let check = |bytes: &[u8], expected| assert_eq!(Tenants::decode(bytes), Err(expected));
    check(b"", TenantsError::Foreign);
    check(b"BRT", TenantsError::Foreign);
    check(b"BRP\x01", TenantsError::Foreign);
    check(b"BRT\x02", TenantsError::Version(2));
    check(b"BRT\x01", TenantsError::Broken);
    check(&[STORED, &[0]].concat(), TenantsError::Broken);
    let huge = [b"BRT\x01".as_slice(), &vec![0; MAX_STORED_BYTES]].concat();
    check(&huge, TenantsError::TooLarge(huge.len()));
}

#[test]
fn stored_table_is_checked_like_a_file() {
    let mut list = fixture().list().to_vec();
    list[1].key_hashes = vec![list[0].key_hashes[1]];
    let Err(TenantsError::Invalid(mistakes)) = Tenants::decode(&stored::encode(&list)) else {
        panic!("two tenants cannot have one key")
    };
    assert_eq!(
        mistakes.to_string(),
        "one thing is wrong in the table of tenants:\n  \
         tenant 2 \"closed\": key_hashes: has a hash that was given before, for \"acme\""
    );
    assert!(matches!(
        Tenants::decode(b"BRT\x01\x00"),
        Err(TenantsError::Invalid(_))
    ));
}

proptest! {
    #[test]
    fn tables_are_read_back(tenants in tenants()) {
        prop_assert_eq!(Tenants::decode(&tenants.encode()), Ok(tenants));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(noise: Vec<u8>, at in 4..STORED.len(), byte: u8) {
        let _ = Tenants::decode(&noise);
        let _ = Tenants::decode(&[b"BRT\x01".as_slice(), &noise].concat());
        let mut altered = STORED.to_vec();
        altered[at] = byte;
        if let Ok(tenants) = Tenants::decode(&altered) {
            prop_assert_eq!(Tenants::decode(&tenants.encode()), Ok(tenants));
        }
        prop_assert!(Tenants::decode(&STORED[..at]).is_err());
    }

    #[test]
    fn any_text_is_read_without_a_panic(noise in ".*", text in "[\\[\\]{}\"'=.#,a-z0-9_ \n-]{0,20}") {
        let _ = Tenants::parse(&noise);
        let _ = Tenants::parse(&format!("version = 1\n[[tenant]]\nname = \"a\"\n{text}"));
    }
}

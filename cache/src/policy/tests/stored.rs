//! The compiled form and the version.

use std::time::Duration;

use proptest::prelude::*;

use super::super::limits::MAX_COMPILED_BYTES;
use super::super::*;
use super::policy;

/// The policy in `tests/fixtures/policy_v1.bin`: one rule of each kind, every key given.
const FIXTURE: &str = r#"
version = 1
name = "fixture"

[[rule]]
name = "secret"
match.tenant = "clinic*"
store = false
reason = "contract forbids it"

[[rule]]
name = "all"
match.task = ["embed", "c*"]
match.route = "/v1/*"
match.method = ["POST", "QUERY"]
match.model = "m"
fresh = "12h"
stale_while_revalidate = "5m"
stale_if_error = "1d"
scope = "public"
key_fields = ["seed", "temperature"]
normalise = ["nfc", "trim"]
max_entry_bytes = 65536
deterministic = "temperature-zero-or-seed"
negative = { 400 = "1m", 500 = "5s" }
surrogate_keys = ["model:{model}"]
"#;

const STORED: &[u8] = include_bytes!("../../../tests/fixtures/policy_v1.bin");

#[test]
fn policies_of_version_1_are_still_read() {
    let fixture = Policy::parse(FIXTURE).unwrap();
    assert_eq!(Policy::decode(STORED).as_ref(), Ok(&fixture));
    assert_eq!(
        fixture.encode(),
        STORED,
        "the writer still writes version 1"
    );
}

#[test]
fn version_is_that_of_the_content() {
    let policy = Policy::parse(FIXTURE).unwrap();
    assert_eq!(policy.version().to_string(), "0f250c9759f3921a");
    let commented = Policy::parse(&format!("# why\n{FIXTURE}")).unwrap();
    assert_eq!(commented.version(), policy.version());
    let longer = Policy::parse(&FIXTURE.replace("12h", "13h")).unwrap();
    assert_ne!(longer.version(), policy.version());
}

#[test]
fn foreign_and_newer_bytes_are_named() {
    let check = |bytes: &[u8], expected: CompiledError| {
        assert_eq!(Policy::decode(bytes), Err(expected));
    };
    check(b"", CompiledError::Foreign);
    check(b"BRP", CompiledError::Foreign);
    check(b"BRK\x01", CompiledError::Foreign);
    check(b"BRP\x02", CompiledError::Version(2));
    check(b"BRP\x01", CompiledError::Broken);
    let long = [STORED, &[0]].concat();
    check(&long, CompiledError::Broken);
    let huge = [b"BRP\x01".as_slice(), &vec![0; MAX_COMPILED_BYTES]].concat();
    check(&huge, CompiledError::TooLarge(huge.len()));
}

#[test]
fn stored_policy_is_checked_like_a_file() {
    let mut rules = Policy::default().rules().to_vec();
    let Action::Store(storing) = &mut rules[0].action else {
        panic!("stores")
    };
    storing.lifetimes.fresh = Duration::from_millis(1_500);
    let written = compiled::encode("x", &rules);
    let Err(CompiledError::Invalid(mistakes)) = Policy::decode(&written) else {
        panic!("half a second is no lifetime of a policy")
    };
    assert_eq!(mistakes.list.len(), 1, "{mistakes}");
    assert_eq!(mistakes.list[0].key, "fresh");
}

proptest! {
    #[test]
    fn compiled_policies_are_read_back(policy in policy()) {
        let compiled = policy.encode();
        prop_assert_eq!(Policy::decode(&compiled), Ok(policy));
    }

    /// Whatever the bytes, there is an answer; and what is a policy has its own bytes' version.
    #[test]
    fn any_bytes_are_read_without_a_panic(noise: Vec<u8>, at in 4..STORED.len(), byte: u8) {
        let _ = Policy::decode(&noise);
        let _ = Policy::decode(&[b"BRP\x01".as_slice(), &noise].concat());
        let mut altered = STORED.to_vec();
        altered[at] = byte;
        if let Ok(policy) = Policy::decode(&altered) {
            prop_assert_eq!(Policy::decode(&policy.encode()), Ok(policy));
        }
        prop_assert!(Policy::decode(&STORED[..at]).is_err());
    }

    #[test]
    fn any_text_is_read_without_a_panic(noise in ".*", line in 0usize..30, text in "[\\[\\]{}\"'=.#,a-z0-9* \n-]{0,12}") {
        let _ = Policy::parse(&noise);
        let mut lines: Vec<&str> = FIXTURE.lines().collect();
        lines.insert(line.min(lines.len()), &text);
        let _ = Policy::parse(&lines.join("\n"));
    }
}

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

/// What `tests/fixtures/policy_v2.bin` has beside that.
const ADDED_BY_VERSION_2: &str = r#"
[[origin]]
name = "search"
path = "/search/"
upstream = "http://127.0.0.1:8080/"
timeout = "45s"

[[origin.json]]
path = "v1/embeddings"
task = "embed"
items = "openai"

[[origin.json]]
path = "embed"
task = "embed"
items = "tei"

[[origin.json]]
path = "rank"
task = "classify"

[[alias]]
name = "fast"
model = "m"

[[alias]]
name = "best"
model = "n"
"#;

const STORED: &[u8] = include_bytes!("../../../tests/fixtures/policy_v1.bin");
const STORED_2: &[u8] = include_bytes!("../../../tests/fixtures/policy_v2.bin");

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
fn policies_of_version_2_are_still_read() {
    let fixture = Policy::parse(&[FIXTURE, ADDED_BY_VERSION_2].concat()).unwrap();
    assert_eq!(Policy::decode(STORED_2).as_ref(), Ok(&fixture));
    assert_eq!(
        fixture.encode(),
        STORED_2,
        "the writer still writes version 2"
    );
    assert_eq!(fixture.version().to_string(), "3b4dfafec00e7be1");
}

#[test]
fn version_of_the_form_is_the_oldest_that_holds_the_policy() {
    let check = |lines: &str, expected: u8| {
        let policy = Policy::parse(&[FIXTURE, lines].concat()).unwrap();
        assert_eq!(policy.encode()[3], expected, "{lines}");
    };
    let (origins, aliases) = ADDED_BY_VERSION_2.split_once("[[alias]]").unwrap();
    check("", 1);
    check(origins, 2);
    check(&format!("[[alias]]{aliases}"), 2);
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
    check(b"BRP\x00", CompiledError::Version(0));
    check(b"BRP\x03", CompiledError::Version(3));
    check(b"BRP\x02", CompiledError::Broken);
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
    let written = compiled::encode(&PolicyParts {
        name: "x".to_owned(),
        rules,
        ..PolicyParts::default()
    });
    let Err(CompiledError::Invalid(mistakes)) = Policy::decode(&written) else {
        panic!("half a second is no lifetime of a policy")
    };
    assert_eq!(mistakes.list.len(), 1, "{mistakes}");
    assert_eq!(mistakes.list[0].key, "fresh");
}

#[test]
fn stored_origins_and_aliases_are_checked_like_a_file() {
    let check = |change: fn(&mut PolicyParts), expected: &str| {
        let mut parts = Policy::decode(STORED_2).unwrap().parts;
        change(&mut parts);
        let Err(CompiledError::Invalid(mistakes)) = Policy::decode(&compiled::encode(&parts))
        else {
            panic!("{expected}")
        };
        let found = mistakes.to_string();
        assert!(found.contains(expected), "{found}");
    };
    check(
        |parts| parts.origins[0].path = "/../".to_owned(),
        "origin 1 \"search\": path: is \"/../\"",
    );
    check(
        |parts| parts.origins[0].json[2].items = Some(ItemFormat::Tei),
        "origin 1 \"search\": json.3.items: has no meaning",
    );
    check(
        |parts| parts.aliases[1].model = "best".to_owned(),
        "alias 1 \"best\": name: is \"best\", the model of alias 2",
    );
}

/// Such a rule was allowed before there were origins, and may be in force somewhere.
#[test]
fn stored_rule_without_effect_is_still_read() {
    let mut rules = Policy::default().rules().to_vec();
    rules[0].matching.task = super::patterns(&["origin"]);
    let Action::Store(storing) = &mut rules[0].action else {
        panic!("stores")
    };
    storing.deterministic = Deterministic::Always;
    let policy = Policy::new("x".to_owned(), rules).unwrap();
    assert_eq!(Policy::decode(&policy.encode()), Ok(policy));
}

proptest! {
    #[test]
    fn compiled_policies_are_read_back(policy in policy()) {
        let compiled = policy.encode();
        prop_assert_eq!(Policy::decode(&compiled), Ok(policy));
    }

    /// Whatever the bytes, there is an answer; and what is a policy has its own bytes' version.
    #[test]
    fn any_bytes_are_read_without_a_panic(noise: Vec<u8>, stored in prop::sample::select(&[STORED, STORED_2]), at: prop::sample::Index, byte: u8) {
        let _ = Policy::decode(&noise);
        let _ = Policy::decode(&[&stored[..4], &noise].concat());
        let at = 4 + at.index(stored.len() - 4);
        let mut altered = stored.to_vec();
        altered[at] = byte;
        if let Ok(policy) = Policy::decode(&altered) {
            prop_assert_eq!(Policy::decode(&policy.encode()), Ok(policy));
        }
        prop_assert!(Policy::decode(&stored[..at]).is_err());
    }

    /// Whatever the text, there is an answer; and what is a policy is stored and read as it is.
    #[test]
    fn any_text_is_read_without_a_panic(noise in ".*", line in 0usize..60, text in "[\\[\\]{}\"'=.#,a-z0-9* \n-]{0,12}") {
        let _ = Policy::parse(&noise);
        let source = [FIXTURE, ADDED_BY_VERSION_2].concat();
        let mut lines: Vec<&str> = source.lines().collect();
        lines.insert(line.min(lines.len()), &text);
        if let Ok(policy) = Policy::parse(&lines.join("\n")) {
            prop_assert_eq!(Policy::decode(&policy.encode()), Ok(policy));
        }
    }
}

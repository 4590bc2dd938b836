//! The documented file, and what is told about wrong ones.

use super::super::{KeyHash, Tenants, source};
use crate::file::Mistake;

const EXAMPLE: &str = include_str!("../../../tenants.toml");

fn mistakes(source: &str) -> Vec<String> {
    match Tenants::parse(source) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.list.iter().map(Mistake::to_string).collect(),
    }
}

#[test]
fn example_is_right() {
    let tenants = Tenants::parse(EXAMPLE).unwrap();
    let tenant = &tenants.list()[0];
    assert_eq!((tenant.name.as_str(), tenant.key_hashes.len()), ("acme", 0));
    let quota = tenant.limits.request_quota().unwrap();
    assert_eq!((quota.capacity.get(), quota.refill.get()), (100, 50));
}

#[test]
fn example_documents_every_key() {
    for key in source::TENANT_KEYS {
        assert!(EXAMPLE.contains(&format!("\n{key} = ")), "{key}");
    }
}

#[test]
fn commented_example_is_right_too() {
    let with_key = EXAMPLE.replace("\nkey_hashes = []\n# key_hashes", "\nkey_hashes");
    let tenants = Tenants::parse(&with_key).unwrap();
    assert_eq!(tenants.list()[0].key_hashes.len(), 1);
}

#[test]
fn burst_is_one_second_unless_it_is_given() {
    let source = "version = 1\n[[tenant]]\nname = \"a\"\nkey_hashes = []\n";
    let tenants = Tenants::parse(&format!("{source}requests_per_second = 7")).unwrap();
    let rate = tenants.list()[0].limits.requests_per_second.unwrap();
    assert_eq!((rate.per_second.get(), rate.burst.get()), (7, 7));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let hash = "ab".repeat(32);
    let source = format!(
        r#"version = "1"
tenants = 3

[[tenant]]
name = "two words"
key_hashes = ["sk-a-pasted-secret", "{hash}", "{hash}"]
requests_per_second = 0
burst = 1000001
max_concurrent = -1
model_ms_per_minute = "1m"
keys = 1

[[tenant]]
burst = 5

[[tenant]]
name = "tenant-2"
key_hashes = "{hash}"
max_concurrent = 100001
model_ms_per_minute = 600000001
"#
    );
    let expected = [
        "line 1: version: is \"1\"; 1 is wanted",
        "line 2: tenants: is no known key here; there are version, tenant",
        "line 5: tenant 1 \"two words\": name: is \"two words\"; 1 to 64 letters, digits, \"-\", \"_\" or \".\" are wanted",
        "line 6: tenant 1 \"two words\": key_hashes: element 1 is no hash; 64 hexadecimal digits are wanted",
        "line 6: tenant 1 \"two words\": key_hashes: has a hash that was given before, for \"two words\"",
        "line 7: tenant 1 \"two words\": requests_per_second: is 0; a whole number from 1 to 1000000 is wanted",
        "line 8: tenant 1 \"two words\": burst: is 1000001; a whole number from 1 to 1000000 is wanted",
        "line 9: tenant 1 \"two words\": max_concurrent: is -1; a whole number is wanted",
        "line 10: tenant 1 \"two words\": model_ms_per_minute: is \"1m\"; a whole number is wanted",
        "line 11: tenant 1 \"two words\": keys: is no known key here; there are name, key_hashes, requests_per_second, burst, max_concurrent, model_ms_per_minute",
        "line 13: tenant 2 \"\": name: is missing; a name for cache keys, logs and metrics is wanted",
        "line 13: tenant 2 \"tenant-2\": key_hashes: is missing; a list of hashes of API keys is wanted",
        "line 14: tenant 2 \"tenant-2\": burst: has no effect without requests_per_second",
        "line 17: tenant 3 \"tenant-2\": name: is \"tenant-2\", as of an earlier tenant",
        "line 18: tenant 3 \"tenant-2\": key_hashes: has a hash that was given before, for \"two words\"",
        "line 19: tenant 3 \"tenant-2\": max_concurrent: is 100001; a whole number from 1 to 100000 is wanted",
        "line 20: tenant 3 \"tenant-2\": model_ms_per_minute: is 600000001; a whole number from 1 to 600000000 is wanted",
    ];
    let found = mistakes(&source);
    assert_eq!(found, expected);
    assert!(KeyHash::from_hex(&hash).is_some_and(|hash| hash.to_string() == "ab".repeat(32)));
}

#[test]
fn single_mistakes_are_named() {
    let check = |source: &str, expected: &str| assert_eq!(mistakes(source), [expected]);
    check(
        "version = 1",
        "tenant: has 0 tenants; 1 to 10000 are wanted",
    );
    check(
        "version = 1\ntenant = 5",
        "line 2: tenant: is 5; a table [[tenant]] per tenant is wanted",
    );
    check(
        &" ".repeat(source::MAX_SOURCE_BYTES + 1),
        "has 4194305 bytes; at most 4194304 are read",
    );
    let keys: Vec<_> = (0..17).map(|index| format!("{index:064}")).collect();
    check(
        &format!("version = 1\n[[tenant]]\nname = \"a\"\nkey_hashes = {keys:?}"),
        "line 4: tenant 1 \"a\": key_hashes: has 17 elements; at most 16 are allowed",
    );
    let syntax = mistakes("version = 1\n[[tenant");
    assert!(syntax[0].starts_with("line 2: "), "{syntax:?}");
}

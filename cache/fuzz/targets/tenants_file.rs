//! Tables of tenants as operators write them: one that is read survives being stored.

#![no_main]

use brink_cache::Tenants;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let mistakes = match Tenants::parse(source) {
        Ok(tenants) => {
            assert_eq!(Tenants::decode(&tenants.encode()), Ok(tenants));
            return;
        }
        Err(mistakes) => mistakes,
    };
    assert!(!mistakes.list.is_empty());
    assert!(mistakes.to_string().starts_with(char::is_alphanumeric));
    let last = source.lines().count().max(1) + 1;
    let lines = mistakes.list.iter().filter_map(|mistake| mistake.line);
    assert!(lines.into_iter().all(|line| (1..=last).contains(&line)));
});

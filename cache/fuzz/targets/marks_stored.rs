//! Stored purge marks: what is read is stored again as it was, and every mark reaches what it names.

#![no_main]

use brink_cache::purge::{LONGEST_LIFETIME, MAX_MARKS, MAX_MARKS_BYTES, Mode, Purged, Subject};
use brink_cache::{Key, Mark, Marked, Marks, ModelDigest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stored: &[u8]| {
    let Ok(mut marks) = Marks::decode(stored) else {
        return;
    };
    let encoded = marks.encode();
    assert!(encoded.len() <= MAX_MARKS_BYTES && marks.len() <= MAX_MARKS);
    let again = Marks::decode(&encoded);
    assert_eq!(again.as_ref(), Ok(&marks));
    assert_eq!(marks.iter().count(), marks.len());

    let all: Vec<Mark> = marks.iter().collect();
    for mark in &all {
        check_reach(&marks, mark);
    }
    if let Some(mark) = all.first() {
        let purge = Mark {
            mode: Mode::Hard,
            ..mark.clone()
        };
        if marks.add(&purge, mark.at, LONGEST_LIFETIME).is_ok() {
            assert_eq!(judge(&marks, &purge), Some(Purged::Absent));
        }
    }
});

/// An entry that was made when the mark was is purged by it.
fn check_reach(marks: &Marks, mark: &Mark) {
    let judged = judge(marks, mark);
    match mark.mode {
        Mode::Hard => assert_eq!(judged, Some(Purged::Absent)),
        Mode::Soft => assert!(judged.is_some()),
    }
}

/// What the marks say about an entry of the mark's time and subject.
fn judge(marks: &Marks, mark: &Mark) -> Option<Purged> {
    let mut label = Vec::new();
    let (key, digest) = (Key::from_hex(&"a".repeat(64)), ModelDigest([7; 32]));
    let key = key.expect("64 digits are a key");
    let mut entry = Marked {
        key: &key,
        created: mark.at,
        model: "",
        digest: &digest,
        tenant: None,
        surrogate_keys: &[],
    };
    match &mark.subject {
        Subject::Key(key) => entry.key = key,
        Subject::SurrogateKey(name) => label.push(name.clone()),
        Subject::Model(name) => entry.model = name,
        Subject::Digest(digest) => entry.digest = digest,
        Subject::Tenant(name) => entry.tenant = Some(name),
        Subject::All => {}
    }
    entry.surrogate_keys = &label;
    marks.judge(&entry)
}

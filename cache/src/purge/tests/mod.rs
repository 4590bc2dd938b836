//! Purge marks as a whole.

mod promises;
mod reach;
mod stored;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::freshness::{self, Decision, Lifetimes};
use crate::key::{Key, ModelDigest};
use crate::time::UnixSeconds;

/// The longest lifetime where times are small.
const LONGEST: Duration = Duration::from_secs(30);

fn key(byte: u8) -> Key {
    Key::from_hex(&format!("{byte:02x}").repeat(32)).unwrap()
}

fn mark(subject: Subject, at: u64, mode: Mode) -> Mark {
    let at = UnixSeconds(at);
    Mark { subject, at, mode }
}

fn marks(list: &[Mark]) -> Marks {
    let mut marks = Marks::default();
    for mark in list {
        marks.add(mark, UnixSeconds(0), LONGEST_LIFETIME).unwrap();
    }
    marks
}

/// An entry that owns its names.
#[derive(Clone, Debug)]
struct Stored {
    key: Key,
    created: UnixSeconds,
    model: String,
    digest: ModelDigest,
    tenant: Option<String>,
    labels: Vec<String>,
}

impl Stored {
    fn of_time(created: u64) -> Self {
        Self {
            key: key(1),
            created: UnixSeconds(created),
            model: "m".to_owned(),
            digest: ModelDigest([1; 32]),
            tenant: Some("t".to_owned()),
            labels: vec!["one".to_owned(), "two".to_owned()],
        }
    }

    fn marked(&self) -> Marked<'_> {
        Marked {
            key: &self.key,
            created: self.created,
            model: &self.model,
            digest: &self.digest,
            tenant: self.tenant.as_deref(),
            surrogate_keys: &self.labels,
        }
    }

    fn is_named_by(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Key(key) => *key == self.key,
            Subject::SurrogateKey(label) => self.labels.contains(label),
            Subject::Model(name) => *name == self.model,
            Subject::Digest(digest) => *digest == self.digest,
            Subject::Tenant(name) => Some(name) == self.tenant.as_ref(),
            Subject::All => true,
        }
    }

    /// What may be done with it under marks.
    fn decide(&self, marks: &Marks, lifetimes: Lifetimes, now: UnixSeconds) -> Decision {
        let age = now.since(self.created);
        match marks.judge(&self.marked()) {
            Some(purged) => purged.decide(age, lifetimes, now),
            None => freshness::decide(age, lifetimes),
        }
    }
}

/// Few names, so that marks and entries often meet.
fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        (0u8..2).prop_map(|byte| Subject::Key(key(byte))),
        "[ab]".prop_map(Subject::SurrogateKey),
        "[ab]".prop_map(Subject::Model),
        (0u8..2).prop_map(|byte| Subject::Digest(ModelDigest([byte; 32]))),
        "[ab]".prop_map(Subject::Tenant),
        Just(Subject::All),
    ]
}

fn any_mark() -> impl Strategy<Value = Mark> {
    let mode = prop_oneof![Just(Mode::Soft), Just(Mode::Hard)];
    (subject(), 0u64..60, mode).prop_map(|(subject, at, mode)| mark(subject, at, mode))
}

fn list(most: usize) -> impl Strategy<Value = Vec<Mark>> {
    prop::collection::vec(any_mark(), 0..most)
}

prop_compose! {
    fn entry()(
        byte in 0u8..2, created in 0u64..60, model in "[ab]", digest in 0u8..2,
        tenant in prop::option::of("[ab]"), labels in prop::collection::vec("[ab]", 0..3),
    ) -> Stored {
        Stored { key: key(byte), created: UnixSeconds(created), model, digest: ModelDigest([digest; 32]), tenant, labels }
    }
}

prop_compose! {
    fn lifetimes()(fresh in 0u64..11, swr in 0u64..10, sie in 0u64..10) -> Lifetimes {
        Lifetimes {
            fresh: Duration::from_secs(fresh),
            stale_while_revalidate: Duration::from_secs(swr),
            stale_if_error: Duration::from_secs(sie),
        }
    }
}

//! Cost of a look-up among a million entries, before and after all of them are purged at once.
//!
//! Question: is a purge by a label that all entries carry one small write, and do look-ups cost
//! afterwards what they did? Target: at most 5 % more. A look-up is what is done with bytes at hand:
//! find them by their key, read the head of the entry, judge it by the marks, and decide by its
//! age. There is no store, because asking one takes so long that it would hide any difference.
//!
//! Run with `cargo bench -p brink-cache --bench purge`; it takes 300 MB. Read the column `ratio`:
//! the time of a look-up divided by that without marks in the same round, the median over all
//! rounds, and beside it the quartiles. Rows:
//!
//! - `none` has no marks, and `none again` neither: how far its ratio is from 1 is noise.
//! - `refreshed` has a purge that is older than the entries, as after all were computed anew.
//! - `soft` and `hard` have a purge of everything.
//!
//! `judge ns` is the decision alone, about one entry that stays in the processor's cache. The last
//! lines tell what the purge itself costs: making a mark and adding it. Bodies are empty, since
//! reading an entry does not touch its body.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use brink_cache::entry::Content;
use brink_cache::key::{ItemBytes, ModelDigest, PrefixParts, Task, task_parameters};
use brink_cache::purge::{LONGEST_LIFETIME, Mode, Subject};
use brink_cache::{
    Decision, Entry, EntryMeta, Key, KeyPrefix, Lifetimes, Mark, Marked, Marks, Scope, UnixSeconds,
    freshness,
};
use bytes::Bytes;

const ENTRIES: usize = 1_000_000;
const ROUNDS: usize = 201;
/// Look-ups of one variant in one round: about 10 ms.
const LOOK_UPS: usize = 10_000;
/// Purges that are timed, each of marks as they are without it.
const PURGES: usize = 10_001;

const LABEL: &str = "team-search";
const MODEL: &str = "all-MiniLM-L6-v2";
const TENANT: &str = "acme";
const DIGEST: ModelDigest = ModelDigest([7; 32]);
const CREATED: UnixSeconds = UnixSeconds(1_000_000);
const PURGED: UnixSeconds = UnixSeconds(1_000_060);
const NOW: UnixSeconds = UnixSeconds(1_000_120);

type Store = HashMap<Key, Bytes>;

/// Marks to judge by, and the times that were measured with them.
struct Variant {
    name: &'static str,
    marks: Marks,
    /// What every look-up must come to.
    expected: Decision,
    /// Nanoseconds of a look-up: one figure a round.
    look_ups: Vec<f64>,
}

fn main() {
    let keys = keys();
    let store: Store = keys.iter().map(|key| (*key, entry())).collect();
    let mut variants = variants();
    let mut random = Random(1);
    for round in 0..ROUNDS {
        for turn in 0..variants.len() {
            // Another one goes first in each round, so that none always follows the same.
            let place = (round + turn) % variants.len();
            let sample: Vec<Key> = (0..LOOK_UPS).map(|_| random.choose(&keys)).collect();
            measure(&mut variants[place], &store, &sample);
        }
    }
    print(&variants);
}

fn keys() -> Vec<Key> {
    let prefix = KeyPrefix::new(PrefixParts {
        scope: &Scope::Tenant(TENANT.to_owned()),
        model: MODEL,
        digest: &DIGEST,
        task: Task::Embed,
        parameters: task_parameters(false),
    });
    let texts = (0..ENTRIES).map(|index| index.to_string());
    texts
        .map(|text| prefix.key(ItemBytes::Text(&text)))
        .collect()
}

/// The stored form, in memory of its own like that of any entry.
fn entry() -> Bytes {
    let entry = Entry {
        meta: EntryMeta {
            created: CREATED,
            lifetimes: Lifetimes {
                stale_while_revalidate: Duration::from_secs(3_600),
                ..Lifetimes::IMMUTABLE
            },
            model_digest: DIGEST,
            cost_us: 900,
            tokens: 12,
            content: Content::EmbeddingF32,
            surrogate_keys: vec![LABEL.to_owned()],
        },
        body: Bytes::new(),
    };
    entry.encode().into()
}

fn variants() -> Vec<Variant> {
    let variant = |name, marks, expected| Variant {
        name,
        marks,
        expected,
        look_ups: Vec::with_capacity(ROUNDS),
    };
    let before_all = UnixSeconds(CREATED.0 - 60);
    vec![
        variant("none", Marks::default(), Decision::Fresh),
        variant("none again", Marks::default(), Decision::Fresh),
        variant("refreshed", purge(Mode::Hard, before_all), Decision::Fresh),
        variant(
            "soft",
            purge(Mode::Soft, PURGED),
            Decision::StaleWhileRevalidate,
        ),
        variant("hard", purge(Mode::Hard, PURGED), Decision::Expired),
    ]
}

/// Takes all entries back: one mark.
fn purge(mode: Mode, at: UnixSeconds) -> Marks {
    let mark = Mark {
        subject: Subject::SurrogateKey(LABEL.to_owned()),
        at,
        mode,
    };
    let mut marks = Marks::default();
    marks
        .add(&mark, at, LONGEST_LIFETIME)
        .expect("there is room for one mark");
    marks
}

fn measure(variant: &mut Variant, store: &Store, sample: &[Key]) {
    let start = now();
    for key in sample {
        let decision = look_up(store, key, &variant.marks);
        assert_eq!(black_box(decision), Some(variant.expected));
    }
    let elapsed = start.elapsed();
    variant
        .look_ups
        .push(elapsed.as_nanos() as f64 / sample.len() as f64);
}

/// What may be done with the entry of this key; `None` if there is none, or none that can be read.
fn look_up(store: &Store, key: &Key, marks: &Marks) -> Option<Decision> {
    let entry = Entry::decode(store.get(key)?.clone()).ok()?;
    Some(decide(&entry, key, marks))
}

fn decide(entry: &Entry, key: &Key, marks: &Marks) -> Decision {
    let marked = Marked {
        key,
        created: entry.meta.created,
        model: MODEL,
        digest: &entry.meta.model_digest,
        tenant: Some(TENANT),
        surrogate_keys: &entry.meta.surrogate_keys,
    };
    let (age, lifetimes) = (entry.age(NOW), entry.meta.lifetimes);
    match marks.judge(&marked) {
        None => freshness::decide(age, lifetimes),
        Some(purged) => purged.decide(age, lifetimes, NOW),
    }
}

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
fn print(variants: &[Variant]) {
    println!(
        "{:<10} {:>10} {:>8} {:>15} {:>9}",
        "marks", "look-up ns", "ratio", "quartiles", "judge ns"
    );
    let base = &variants[0].look_ups;
    for variant in variants {
        let pairs = variant.look_ups.iter().zip(base);
        let [low, ratio, high] = quartiles(pairs.map(|(time, base)| time / base).collect());
        let [_, look_up, _] = quartiles(variant.look_ups.clone());
        let judge = judge(&variant.marks);
        let (name, spread) = (variant.name, format!("{low:.3} to {high:.3}"));
        println!("{name:<10} {look_up:>10.0} {ratio:>8.3} {spread:>15} {judge:>9.1}");
    }
    for (name, mode) in [("soft", Mode::Soft), ("hard", Mode::Hard)] {
        let purges = (0..PURGES).map(|_| nanoseconds(|| purge(mode, PURGED)));
        let [_, purge, _] = quartiles(purges.collect());
        println!("a {name} purge of all {ENTRIES} entries: {purge:.0} ns");
    }
}

/// The decision alone, over and over about one entry.
fn judge(marks: &Marks) -> f64 {
    let key = Key::from_hex(&"a".repeat(64)).expect("64 digits are a key");
    let entry = Entry::decode(entry()).expect("it was just encoded");
    let rounds = (0..ROUNDS).map(|_| {
        let all = nanoseconds(|| {
            for _ in 0..LOOK_UPS {
                black_box(decide(black_box(&entry), &key, marks));
            }
        });
        all / LOOK_UPS as f64
    });
    let [_, median, _] = quartiles(rounds.collect());
    median
}

fn nanoseconds<T>(work: impl FnOnce() -> T) -> f64 {
    let start = now();
    black_box(work());
    start.elapsed().as_nanos() as f64
}

fn quartiles(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_unstable_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| figures[(figures.len() - 1) * quarter / 4])
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

/// A sequence that is the same in each run (SplitMix64): no caller needs one that cannot be guessed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn choose(&mut self, keys: &[Key]) -> Key {
        keys[self.next() as usize % keys.len()]
    }
}

//! Cost of the cache's own thinking on a hit: policy, key, freshness.
//!
//! Question: how much of a hit is caching rules? Budget: under 3 µs natively for a text of
//! 1 KiB, with any policy; most of that is hashing the text. Read the column `hit`: it is
//! everything from the facts of a request to "this entry may answer". `decide` is the policy
//! alone, where the *last* rule matches and every earlier one differs in its tenant only. The
//! column `judge` is what purge marks add to that: it must not grow with their number.
//!
//! Run with `cargo bench -p brink-cache --example decision`. Edges run the same rules as Wasm, so
//! this is a WASI command too: it needs a clock and standard output, and prints the same table.
//!
//! ```text
//! cargo build --release -p brink-cache --example decision --target wasm32-wasip2
//! wasmtime run target/wasm32-wasip2/release/examples/decision.wasm
//! ```
//!
//! Each figure is the median of several rounds, so that a busy machine disturbs it little. No
//! statistics library: what is looked for is a factor, not a percent.

use std::hint::black_box;
use std::time::{Duration, Instant};

use brink_cache::key::{ItemBytes, PrefixParts, Task, task_parameters};
use brink_cache::policy::{RequestFacts, Sampling};
use brink_cache::purge::{LONGEST_LIFETIME, Mode, Subject};
use brink_cache::{
    KeyPrefix, Lifetimes, Mark, Marked, Marks, ModelDigest, Policy, UnixSeconds, canonical,
    freshness,
};

const RULES: [usize; 3] = [1, 20, 256];
const MARKS: [usize; 3] = [0, 1, 10_000];
const ROUNDS: usize = 501;
const CALLS: u32 = 200;

const FACTS: RequestFacts<'_> = RequestFacts {
    method: "POST",
    route: "/v1/embeddings",
    tenant: "tenant-without-a-rule",
    model: "all-MiniLM-L6-v2",
    task: "embed",
    sampling: Sampling {
        temperature_is_zero: false,
        has_seed: false,
    },
};

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
fn main() {
    let text = "The cat sits outside. ".repeat(47)[..1024].to_owned();
    let body = format!(r#"{{"seed": 7, "model": "m", "prompt": {text:?}, "max_tokens": 64}}"#);
    println!("{:>5} {:>14} {:>11}", "rules", "decide ns", "hit ns");
    for count in RULES {
        let policy = policy(count);
        let decide = nanoseconds(|| policy.decide(black_box(&FACTS)).storing().is_some());
        let hit = nanoseconds(|| hit(&policy, black_box(&FACTS), black_box(&text)));
        println!("{count:>5} {decide:>14.0} {hit:>11.0}");
    }
    let found = key(&text, "tenant");
    let labels = ["model:m".to_owned(), "team-search".to_owned()];
    println!("{:>5} {:>14}", "marks", "judge ns");
    for count in MARKS {
        let marks = marks(count);
        let judge = nanoseconds(|| judge(&marks, black_box(&found), &labels));
        println!("{count:>5} {judge:>14.1}");
    }
    let key = nanoseconds(|| key(black_box(&text), "tenant"));
    println!("the key of 1 KiB alone: {key:.0} ns");
    let canonical = nanoseconds(|| {
        let body = canonical::parse(black_box(body.as_bytes())).expect("the body is JSON");
        canonical::members(&body, |_, _| true).expect("its numbers are small")
    });
    println!("a JSON body of 1 KiB, read and made canonical: {canonical:.0} ns");
}

/// A policy whose last rule is the only one that matches.
fn policy(count: usize) -> Policy {
    let mut source = "version = 1\n".to_owned();
    for index in 0..count {
        source +=
            &format!("[[rule]]\nname = \"rule-{index}\"\nmatch.task = \"embed\"\nfresh = \"1d\"\n");
        if index + 1 < count {
            source += &format!("match.route = \"/v1/*\"\nmatch.tenant = \"tenant-{index}\"\n");
        }
    }
    Policy::parse(&source).expect("the policy is in order")
}

fn key(text: &str, tenant: &str) -> brink_cache::Key {
    let prefix = KeyPrefix::new(PrefixParts {
        scope: &brink_cache::Scope::Tenant(tenant.to_owned()),
        model: FACTS.model,
        digest: &ModelDigest([7; 32]),
        task: Task::Embed,
        parameters: task_parameters(false),
    });
    prefix.key(ItemBytes::Text(text))
}

/// Marks that name other entries than the one that is looked up, half of them by a label.
fn marks(count: usize) -> Marks {
    let at = UnixSeconds(2_000);
    let mut list = (0..count).map(|index| match index % 2 {
        0 => Subject::SurrogateKey(format!("label-{index}")),
        _ => Subject::Tenant(format!("tenant-{index}")),
    });
    let add = |mut marks: Marks, subject| {
        let mode = Mode::Soft;
        let added = marks.add(&Mark { subject, at, mode }, at, LONGEST_LIFETIME);
        added.map(|()| marks)
    };
    list.try_fold(Marks::default(), add)
        .expect("the marks are within the limits")
}

/// The entry is older than every mark, so that all kinds of subject are looked up.
fn judge(marks: &Marks, key: &brink_cache::Key, labels: &[String]) -> bool {
    let entry = Marked {
        key,
        created: UnixSeconds(1_000),
        model: FACTS.model,
        digest: &ModelDigest([7; 32]),
        tenant: Some(FACTS.tenant),
        surrogate_keys: labels,
    };
    marks.judge(&entry).is_some()
}

/// Everything between a request's facts and the permission to answer from an entry, except the
/// look-up itself.
fn hit(policy: &Policy, facts: &RequestFacts<'_>, text: &str) -> (brink_cache::Key, bool) {
    let decision = policy.decide(facts);
    let storing = decision.storing().expect("the last rule stores");
    let prefix = KeyPrefix::new(PrefixParts {
        scope: &storing.scope(facts.tenant),
        model: facts.model,
        digest: &ModelDigest([7; 32]),
        task: Task::Embed,
        parameters: task_parameters(false),
    });
    let key = prefix.key(ItemBytes::Text(&storing.normalise.apply(text)));
    let stored = black_box(Lifetimes::IMMUTABLE).at_most(storing.lifetimes);
    let usable = freshness::decide(black_box(Duration::from_secs(60)), stored);
    (key, usable == freshness::Decision::Fresh)
}

/// Time of one call: the median of the rounds' means.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn nanoseconds<T>(mut call: impl FnMut() -> T) -> f64 {
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..CALLS {
                black_box(call());
            }
            start.elapsed()
        })
        .collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2].as_nanos() as f64 / f64::from(CALLS)
}

//! Prompts that have nothing in common, not even a beginning: the host goes on from beginnings that it has read before.

use crate::load::Call;
use crate::texts::{self, Random};

use super::MODEL;

/// What the system and the user say.
pub(super) type Conversation = (String, String);

/// Words at the beginning that make a prompt one of its own.
const OWN_WORDS: usize = 12;

/// The conversation of that number of a series: some 80 tokens, and an answer that is rarely short.
pub(super) fn short(series: u64, number: usize) -> Conversation {
    let mut random = random(series, number);
    let system = format!(
        "{} {number}. You are a storyteller.",
        texts::of_words(&mut random, OWN_WORDS)
    );
    let about = texts::of_words(&mut random, OWN_WORDS);
    (system, format!("Tell me a long story about {about}."))
}

/// A conversation whose answer goes on and on.
pub(super) fn endless(series: u64, number: usize) -> Conversation {
    let mut random = random(series, number);
    let system = format!(
        "{} {number}. You write lists.",
        texts::of_words(&mut random, OWN_WORDS)
    );
    let first = 1 + random.below(99);
    let user = format!(
        "Count from {first} to 9999. Write each number, one after another, and leave none out."
    );
    (system, user)
}

/// A conversation of so many words.
pub(super) fn long(series: u64, number: usize, words: usize) -> Conversation {
    let mut random = random(series, number);
    let system = format!("{} {number}.", texts::of_words(&mut random, OWN_WORDS));
    let text = texts::of_words(&mut random, words.saturating_sub(OWN_WORDS));
    (system, format!("What is this about? {text}"))
}

fn random(series: u64, number: usize) -> Random {
    Random::new((series << 32) + number as u64)
}

/// The request for a greedy answer.
pub(super) fn call((system, user): &Conversation, max_tokens: u32, stream: bool) -> Call {
    let mut body = serde_json::json!({
        "model": MODEL,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
        "temperature": 0,
        "max_tokens": max_tokens,
    });
    if stream {
        body["stream"] = true.into();
        body["stream_options"] = serde_json::json!({"include_usage": true});
    }
    Call::post("/v1/chat/completions", body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_the_same_in_every_run_and_begin_differently() {
        assert_eq!(short(1, 7), short(1, 7));
        let beginning = |(system, _): Conversation| {
            let words: Vec<_> = system.split(' ').take(4).map(str::to_owned).collect();
            words
        };
        let series = (0..3).flat_map(|series| (0..500).map(move |number| short(series, number)));
        let mut all: Vec<_> = series.map(beginning).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}

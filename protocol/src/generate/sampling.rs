//! How each token is chosen, and when to end.

use serde::{Deserialize, Serialize};

/// Most tokens beside the chosen one whose probabilities are told, as in OpenAI's API.
pub const MAX_LOGPROBS: u8 = 20;
/// Most stop strings. OpenAI allows four; more cost a comparison each, for every token.
pub const MAX_STOPS: usize = 16;
/// Most bytes of a stop string: as much text is held back while it may still become one.
const MAX_STOP_BYTES: usize = 256;
/// Above this every token is as probable as any other.
const MAX_TEMPERATURE: f32 = 2.0;
/// Largest penalty, either way, as in OpenAI's API.
const MAX_PENALTY: f32 = 2.0;

/// How tokens are chosen. The defaults are OpenAI's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Most tokens to write; `None` for as many as the model allows.
    pub max_tokens: Option<u32>,
    /// 0 always takes the most probable token. 0 to 2.
    pub temperature: f32,
    /// Only the most probable tokens that together have this probability. Above 0, at most 1.
    pub top_p: f32,
    /// Only so many of the most probable tokens; 0 for all.
    pub top_k: u32,
    /// Only tokens at least so probable, compared with the most probable one. 0 to 1.
    pub min_p: f32,
    /// Taken from the logit of every token that was written already. -2 to 2.
    pub presence_penalty: f32,
    /// The same, as often as it was written. -2 to 2.
    pub frequency_penalty: f32,
    /// Two calls with one seed, and everything else equal, get one text. `None` draws a seed.
    pub seed: Option<u64>,
    /// The text ends before the first of these.
    pub stop: Vec<String>,
    /// Whether probabilities are told, and of how many tokens beside the chosen one.
    pub logprobs: Option<u8>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            max_tokens: None,
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: None,
            stop: Vec::new(),
            logprobs: None,
        }
    }
}

impl Sampling {
    /// Whether the same call always gets the same text, whatever the seed.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    /// Why it cannot be followed. The first word is the member's name.
    pub fn refusal(&self) -> Option<String> {
        self.number_out_of_range()
            .or_else(|| self.top_p_refusal())
            .or_else(|| self.count_refusal())
            .or_else(|| self.stop_refusal())
    }

    fn number_out_of_range(&self) -> Option<String> {
        let numbers = [
            ("temperature", self.temperature, 0.0, MAX_TEMPERATURE),
            ("min_p", self.min_p, 0.0, 1.0),
            (
                "presence_penalty",
                self.presence_penalty,
                -MAX_PENALTY,
                MAX_PENALTY,
            ),
            (
                "frequency_penalty",
                self.frequency_penalty,
                -MAX_PENALTY,
                MAX_PENALTY,
            ),
        ];
        // NaN is in no range.
        let wrong = |(_, value, low, high): &(&str, f32, f32, f32)| !(low..=high).contains(&value);
        let (name, value, low, high) = numbers.into_iter().find(wrong)?;
        Some(format!("{name} is {value}; {low} to {high} are allowed"))
    }

    fn top_p_refusal(&self) -> Option<String> {
        let top_p = self.top_p;
        let allowed = top_p > 0.0 && top_p <= 1.0;
        (!allowed).then(|| format!("top_p is {top_p}; above 0 and up to 1 is allowed"))
    }

    fn count_refusal(&self) -> Option<String> {
        if self.max_tokens == Some(0) {
            return Some("max_tokens is 0; at least 1 is needed".to_owned());
        }
        let top = self.logprobs.filter(|top| *top > MAX_LOGPROBS)?;
        Some(format!(
            "logprobs is {top}; at most {MAX_LOGPROBS} are allowed"
        ))
    }

    fn stop_refusal(&self) -> Option<String> {
        let count = self.stop.len();
        if count > MAX_STOPS {
            return Some(format!(
                "stop has {count} strings; at most {MAX_STOPS} are allowed"
            ));
        }
        let wrong = |stop: &String| stop.is_empty() || stop.len() > MAX_STOP_BYTES;
        let place = self.stop.iter().position(wrong)?;
        let bytes = self.stop[place].len();
        Some(format!(
            "stop[{place}] has {bytes} bytes; 1 to {MAX_STOP_BYTES} are allowed"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_be_followed_are_refused_by_name_and_value() {
        let check = |change: fn(&mut Sampling), expected: &str| {
            let mut sampling = Sampling::default();
            change(&mut sampling);
            assert_eq!(sampling.refusal().as_deref(), Some(expected));
        };
        assert_eq!(Sampling::default().refusal(), None);
        check(
            |it| it.temperature = 2.5,
            "temperature is 2.5; 0 to 2 are allowed",
        );
        check(
            |it| it.temperature = f32::NAN,
            "temperature is NaN; 0 to 2 are allowed",
        );
        check(
            |it| it.presence_penalty = -3.0,
            "presence_penalty is -3; -2 to 2 are allowed",
        );
        check(
            |it| it.top_p = 0.0,
            "top_p is 0; above 0 and up to 1 is allowed",
        );
        check(
            |it| it.max_tokens = Some(0),
            "max_tokens is 0; at least 1 is needed",
        );
        check(
            |it| it.logprobs = Some(21),
            "logprobs is 21; at most 20 are allowed",
        );
        check(
            |it| it.stop = vec!["a".to_owned(), String::new()],
            "stop[1] has 0 bytes; 1 to 256 are allowed",
        );
        check(
            |it| it.stop = vec!["a".to_owned(); 17],
            "stop has 17 strings; at most 16 are allowed",
        );
    }
}

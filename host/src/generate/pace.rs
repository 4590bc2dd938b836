//! How long runs take, and so how much of a prompt may be read between two steps of those who write.
//!
//! A run of `n` prompt tokens takes a time by itself and one for each token; both are learnt from the runs
//! of late, because a run takes longer the more its text has. Pure: times come in.

use std::time::Duration;

/// How much of what was learnt is kept when a run comes in: the last twenty or so count.
const KEPT: f64 = 0.95;
/// Least tokens that are read at once, whatever the gap: less would cost a whole run for next to nothing.
pub(super) const MIN_CHUNK: usize = 8;
/// Read at once while nothing was measured.
const FIRST_CHUNK: usize = 16;

/// What runs took.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    prefill: Line,
    /// Seconds of a step.
    step: Option<f64>,
    /// Of all texts together.
    tokens_per_second: Option<f64>,
}

/// Seconds by tokens, by least squares with fading weights.
#[derive(Clone, Debug, Default)]
struct Line {
    weight: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Pace {
    /// A run that read so many tokens of a prompt.
    pub(super) fn read(&mut self, tokens: usize, took: Duration) {
        self.prefill.add(tokens as f64, took.as_secs_f64());
    }

    /// A step of so many texts.
    pub(super) fn stepped(&mut self, texts: usize, took: Duration) {
        let took = took.as_secs_f64();
        fade(&mut self.step, took);
        fade(&mut self.tokens_per_second, texts as f64 / took.max(1e-6));
    }

    /// Tokens that may be read between two steps, so that these are no further apart than so many times a step.
    pub(super) fn chunk(&self, max_gap_ratio: f64) -> usize {
        let Some(step) = self.step else {
            return FIRST_CHUNK;
        };
        let tokens = self.prefill.within(step * (max_gap_ratio - 1.0));
        tokens.map_or(FIRST_CHUNK, |tokens| {
            (tokens.round() as usize).max(MIN_CHUNK)
        })
    }

    /// How long so many tokens take to be written, with as many texts at a time as lately.
    pub(super) fn time_for(&self, tokens: usize) -> Option<Duration> {
        let seconds = tokens as f64 / self.tokens_per_second?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

fn fade(value: &mut Option<f64>, new: f64) {
    *value = Some(value.map_or(new, |old| KEPT * old + (1.0 - KEPT) * new));
}

impl Line {
    fn add(&mut self, x: f64, y: f64) {
        for (sum, value) in [
            (&mut self.weight, 1.0),
            (&mut self.x, x),
            (&mut self.y, y),
            (&mut self.xx, x * x),
            (&mut self.xy, x * y),
        ] {
            *sum = KEPT * *sum + value;
        }
    }

    /// Tokens of a run that takes so long; `None` while nothing was measured.
    fn within(&self, seconds: f64) -> Option<f64> {
        if self.weight == 0.0 {
            return None;
        }
        let (x, y) = (self.x / self.weight, self.y / self.weight);
        let spread = self.xx / self.weight - x * x;
        let slope = (self.xy / self.weight - x * y) / spread;
        // Runs that were all alike say nothing about what a run takes by itself.
        let known = spread > 0.01 * x * x && slope > 0.0 && slope * x <= y;
        let (run, token) = if known {
            (y - slope * x, slope)
        } else {
            (0.0, y / x)
        };
        Some(((seconds - run) / token).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: f64) -> Duration {
        Duration::from_secs_f64(ms / 1e3)
    }

    /// A model that takes 20 ms for a run and 3 ms for each token.
    fn measured(step: f64) -> Pace {
        let mut pace = Pace::default();
        for tokens in [16, 40, 8, 512, 100] {
            pace.read(tokens, ms(20.0 + 3.0 * tokens as f64));
        }
        pace.stepped(4, ms(step));
        pace
    }

    #[test]
    fn piece_of_a_prompt_takes_no_longer_than_a_step() {
        assert_eq!(measured(80.0).chunk(2.0), 20);
        assert_eq!(measured(80.0).chunk(3.0), 47);
        assert_eq!(measured(30.0).chunk(2.0), MIN_CHUNK);
        assert_eq!(Pace::default().chunk(2.0), FIRST_CHUNK);
    }

    #[test]
    fn pieces_that_are_all_alike_are_taken_to_be_proportional() {
        let mut pace = Pace::default();
        for _ in 0..10 {
            pace.read(10, ms(50.0));
        }
        pace.stepped(1, ms(100.0));
        assert_eq!(pace.chunk(2.0), 20);
    }

    #[test]
    fn what_waits_takes_as_long_as_it_would_be_written() {
        assert_eq!(Pace::default().time_for(100), None);
        assert_eq!(measured(80.0).time_for(100), Some(Duration::from_secs(2)));
    }
}

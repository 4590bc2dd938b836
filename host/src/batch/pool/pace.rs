//! How fast a session works, for telling refused callers when to come back.

use std::time::Duration;

/// Weight of the newest run: the last dozen runs count.
const NEWEST: f64 = 0.15;
/// Told before anything was measured, and the least ever told.
const UNKNOWN: Duration = Duration::from_secs(1);

/// Moving average of real tokens per second of one session.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    tokens_per_second: Option<f64>,
}

impl Pace {
    /// Counts a run.
    pub(crate) fn ran(&mut self, tokens: usize, took: Duration) {
        let newest = tokens as f64 / took.as_secs_f64().max(1e-6);
        self.tokens_per_second = Some(match self.tokens_per_second {
            None => newest,
            Some(average) => average + NEWEST * (newest - average),
        });
    }

    /// The time that some sessions need for so many tokens.
    pub(crate) fn time_for(&self, tokens: usize, sessions: usize) -> Duration {
        match self.tokens_per_second {
            None => UNKNOWN,
            Some(pace) => {
                let seconds = tokens as f64 / (pace * sessions.max(1) as f64);
                Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_follows_the_measured_pace_and_the_number_of_sessions() {
        let mut pace = Pace::default();
        assert_eq!(pace.time_for(1_000, 1), UNKNOWN);
        for _ in 0..50 {
            pace.ran(100, Duration::from_millis(50));
        }
        assert_eq!(pace.time_for(4_000, 1), Duration::from_secs(2));
        assert_eq!(pace.time_for(4_000, 2), Duration::from_secs(1));
    }
}

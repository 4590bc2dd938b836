//! The `[results]` settings.

use std::time::Duration;

use brink_protocol::limits::MAX_INPUTS;

/// How results are kept and how identical requests are collapsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultsConfig {
    /// Memory for results, in bytes, keys and bookkeeping included. Default: 256 MiB, some
    /// 130,000 vectors of 384 numbers. 0 keeps nothing.
    pub max_bytes: u64,
    /// Longest time that a follower waits before it computes the result itself. Default: 15 s,
    /// half of the longest call, so that there is time left to do so.
    pub max_follower_wait: Duration,
    /// Age of a computation above which new requests do not follow it but start their own.
    /// Default: 15 s.
    pub max_leader_age: Duration,
    /// Most results being computed at once; beyond it callers are refused. Default: 16,384.
    pub max_flights: usize,
}

impl Default for ResultsConfig {
    fn default() -> Self {
        Self {
            max_bytes: 256 << 20,
            max_follower_wait: Duration::from_secs(15),
            max_leader_age: Duration::from_secs(15),
            max_flights: 16_384,
        }
    }
}

/// A setting of `[results]` that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResultsConfigError {
    /// The largest call would be refused for ever.
    #[error("results.max_flights is {0}; at least {MAX_INPUTS} are needed, the inputs of one call")]
    Flights(usize),
    /// Nobody would ever follow.
    #[error("results.max_follower_wait is 0; at least 1 ms is needed")]
    FollowerWait,
    /// Nobody would ever follow.
    #[error("results.max_leader_age is 0; at least 1 ms is needed")]
    LeaderAge,
}

impl ResultsConfig {
    /// Every setting that cannot be used.
    pub fn validate(&self) -> Vec<ResultsConfigError> {
        let checks = [
            (
                self.max_flights < MAX_INPUTS,
                ResultsConfigError::Flights(self.max_flights),
            ),
            (
                self.max_follower_wait.is_zero(),
                ResultsConfigError::FollowerWait,
            ),
            (self.max_leader_age.is_zero(), ResultsConfigError::LeaderAge),
        ];
        let wrong = checks.into_iter().filter(|(wrong, _)| *wrong);
        wrong.map(|(_, error)| error).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_reported_with_setting_and_value() {
        assert_eq!(ResultsConfig::default().validate(), []);
        let wrong = ResultsConfig {
            max_bytes: 0,
            max_follower_wait: Duration::ZERO,
            max_leader_age: Duration::ZERO,
            max_flights: 1,
        };
        let messages: Vec<_> = wrong.validate().iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "results.max_flights is 1; at least 2048 are needed, the inputs of one call",
                "results.max_follower_wait is 0; at least 1 ms is needed",
                "results.max_leader_age is 0; at least 1 ms is needed",
            ]
        );
    }
}

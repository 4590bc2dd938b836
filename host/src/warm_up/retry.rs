//! When a request is sent again, and how long that takes.
//!
//! An edge that refuses with `Retry-After` has computed nothing and says when it may: that is waited
//! for. Whatever else fails would fail again, or is for a person to look at.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::sleep;

use super::edge::{Answered, Reply};

/// Tries of one request, the first one included.
pub(super) const MAX_TRIES: u32 = 10;
/// Longest wait before one more try, whatever the edge asks for.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Shortest wait: an edge that says "at once" would be asked ten times within milliseconds.
const MIN_WAIT: Duration = Duration::from_secs(1);

/// Asks until there is an answer, a failure, or no patience left.
pub(super) async fn patiently<F>(mut ask: impl FnMut() -> F) -> Answered
where
    F: Future<Output = Reply>,
{
    let mut tries = 1;
    loop {
        match ask().await {
            Reply::Final(answered) => return answered,
            Reply::Later { failure, .. } if tries == MAX_TRIES => return Err(failure),
            Reply::Later { after, .. } => sleep(wait(after, fraction())).await,
        }
        tries += 1;
    }
}

/// Never shorter than asked for, unless that is beyond the limit; up to a quarter longer, by
/// `fraction` (0 to 1), so that requests refused together do not come back together.
fn wait(after: Duration, fraction: f64) -> Duration {
    let least = after.clamp(MIN_WAIT, MAX_WAIT);
    (least + least.mul_f64(0.25 * fraction)).min(MAX_WAIT)
}

/// A random number from 0 to 1.
fn fraction() -> f64 {
    let random = RandomState::new().hash_one(());
    // As many bits as a double holds exactly.
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;
    use crate::warm_up::edge::Failure;

    fn refused() -> Failure {
        Failure::Refused {
            status: StatusCode::TOO_MANY_REQUESTS,
            message: String::new(),
        }
    }

    fn later(seconds: u64) -> Reply {
        Reply::Later {
            after: Duration::from_secs(seconds),
            failure: refused(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_edge_is_asked_again_when_it_says_so() {
        // The scripted replies, how many are asked for, the seconds this takes at least, and the end.
        let check = async |script: Vec<Reply>, asked: usize, seconds: u64, answered: bool| {
            let mut replies = script.into_iter();
            let start = Instant::now();
            let mut count = 0;
            let end = patiently(|| {
                count += 1;
                std::future::ready(replies.next().unwrap())
            });
            assert_eq!(end.await.is_ok(), answered);
            assert_eq!(count, asked);
            // A quarter for jitter, and the timer's granularity.
            let most = Duration::from_millis(seconds * 1250 + 100);
            assert!(start.elapsed() >= Duration::from_secs(seconds));
            assert!(start.elapsed() <= most, "{:?}", start.elapsed());
        };
        let good = || Reply::Final(Ok(Default::default()));
        let bad = || Reply::Final(Err(Failure::Timeout));
        check(vec![good()], 1, 0, true).await;
        check(vec![bad()], 1, 0, false).await;
        check(vec![later(3), later(5), good()], 3, 8, true).await;
        check(vec![later(3), bad()], 2, 3, false).await;
        check(vec![later(0), good()], 2, 1, true).await;
        check(vec![later(86_400), good()], 2, 60, true).await;
        check((0..10).map(|_| later(60)).collect(), 10, 9 * 60, false).await;
    }

    #[test]
    fn fractions_differ_and_lie_between_0_and_1() {
        let fractions: Vec<f64> = (0..100).map(|_| fraction()).collect();
        assert!(fractions.iter().all(|value| (0.0..1.0).contains(value)));
        assert!(fractions.windows(2).all(|pair| pair[0] != pair[1]));
    }

    proptest! {
        /// What the edge asks for is kept, up to the limit; the limit always is.
        #[test]
        fn waits_are_as_long_as_asked_and_bounded(seconds: u64, fraction in 0.0..1.0) {
            let after = Duration::from_secs(seconds);
            let wait = wait(after, fraction);
            prop_assert!(wait >= after.min(MAX_WAIT) && wait >= MIN_WAIT);
            prop_assert!(wait <= MAX_WAIT && wait <= after.max(MIN_WAIT).saturating_mul(2));
        }
    }
}

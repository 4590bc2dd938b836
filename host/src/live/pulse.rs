//! Is the client still there, and does it read? What a socket's session waits for, and until when.
//!
//! Pure: the session tells what happened and asks what is due.
//!
//! ```text
//!  nothing heard for ping_interval -> ping -> nothing heard for pong_timeout -> half-open
//!  writing, and no byte taken for write_timeout -> stalled
//!  older than max_lifetime -> old
//! ```

use tokio::time::Instant;

use super::config::LiveConfig;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask the client whether it is there.
    Ping,
    /// It did not answer: the connection is half open.
    HalfOpen,
    /// It takes nothing.
    Stalled,
    /// The socket has lived long enough.
    Old,
}

/// One socket's times.
#[derive(Debug)]
pub(super) struct Pulse {
    heard: Instant,
    /// Since when an answer to a ping is waited for.
    pinged: Option<Instant>,
    /// Since when a write makes no headway, and how much had been written then.
    writing: Option<(Instant, u64)>,
    /// When it is old; `None` once that was said.
    old_at: Option<Instant>,
}

impl Pulse {
    pub(super) fn new(now: Instant, config: &LiveConfig) -> Self {
        Self {
            heard: now,
            pinged: None,
            writing: None,
            old_at: Some(now + config.max_lifetime),
        }
    }

    /// Something came from the client.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
    }

    /// Something is being written.
    pub(super) fn writes(&mut self, now: Instant, written: u64) {
        self.writing.get_or_insert((now, written));
    }

    /// Everything was written.
    pub(super) fn flushed(&mut self) {
        self.writing = None;
    }

    /// Whether something is being written.
    pub(super) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// When something may be due.
    pub(super) fn next(&self, config: &LiveConfig) -> Instant {
        let heartbeat = match self.pinged {
            Some(pinged) => pinged + config.pong_timeout,
            None => self.heard + config.ping_interval,
        };
        let stalled = self.writing.map(|(since, _)| since + config.write_timeout);
        let others = [stalled, self.old_at].into_iter().flatten();
        others.fold(heartbeat, Instant::min)
    }

    /// What is due; asked again until nothing is.
    pub(super) fn due(&mut self, now: Instant, written: u64, config: &LiveConfig) -> Option<Due> {
        if let Some((since, before)) = self.writing
            && now >= since + config.write_timeout
        {
            if written == before {
                return Some(Due::Stalled);
            }
            self.writing = Some((now, written));
        }
        if self.old_at.is_some_and(|at| now >= at) {
            self.old_at = None;
            return Some(Due::Old);
        }
        match self.pinged {
            Some(pinged) => (now >= pinged + config.pong_timeout).then_some(Due::HalfOpen),
            None if now >= self.heard + config.ping_interval => {
                self.pinged = Some(now);
                Some(Due::Ping)
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn config() -> LiveConfig {
        LiveConfig::default()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_asked_and_then_given_up() {
        let (config, start) = (config(), Instant::now());
        let mut pulse = Pulse::new(start, &config);
        let mut due = |after: u64| pulse.due(start + seconds(after), 0, &config);
        assert_eq!(due(29), None);
        assert_eq!(due(30), Some(Due::Ping));
        assert_eq!(due(30), None);
        assert_eq!(due(40), Some(Due::HalfOpen));
        pulse.heard(start + seconds(39));
        assert_eq!(pulse.due(start + seconds(40), 0, &config), None);
        assert_eq!(pulse.next(&config), start + seconds(69));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_write_may_take_its_time_while_it_makes_headway() {
        let (config, start) = (config(), Instant::now());
        let mut pulse = Pulse::new(start, &config);
        pulse.writes(start, 0);
        pulse.writes(start + seconds(5), 0);
        assert_eq!(pulse.next(&config), start + seconds(10));
        assert_eq!(pulse.due(start + seconds(10), 1, &config), None);
        assert_eq!(pulse.due(start + seconds(19), 1, &config), None);
        assert_eq!(
            pulse.due(start + seconds(20), 1, &config),
            Some(Due::Stalled)
        );
        pulse.flushed();
        assert!(!pulse.is_writing());
        assert_eq!(pulse.due(start + seconds(20), 1, &config), None);
    }

    #[tokio::test(start_paused = true)]
    async fn age_is_told_once() {
        let config = LiveConfig {
            max_lifetime: seconds(5),
            ..config()
        };
        let start = Instant::now();
        let mut pulse = Pulse::new(start, &config);
        assert_eq!(pulse.next(&config), start + seconds(5));
        assert_eq!(pulse.due(start + seconds(5), 0, &config), Some(Due::Old));
        assert_eq!(pulse.due(start + seconds(5), 0, &config), None);
    }
}

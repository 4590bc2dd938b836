//! Limits of guest execution.

use std::{path::PathBuf, time::Duration};

use super::body::BodyLimits;

/// Limits of guest execution, one set for all components. Check with
/// [`GuestConfig::validate`] before use; the fields are public, so that the
/// server's configuration can fill them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestConfig {
    /// Most requests that run in a guest at the same time, over all components.
    /// One more is refused with `Busy`. Default 512. Each costs up to
    /// `max_memory_bytes`.
    pub max_instances: usize,
    /// Most warm instances that wait for a request, per component. Default 64.
    pub max_idle: usize,
    /// Requests that one instance answers before it is replaced, which bounds what
    /// a leak in a guest can cost. Default 10,000.
    pub max_uses: u32,
    /// A warm instance that waited this long is dropped. Default 30 s.
    pub idle_timeout: Duration,
    /// Most linear memory of one instance, in bytes. Growing beyond it traps. Default 64 MiB.
    pub max_memory_bytes: usize,
    /// Longest time until the response head. Default 30 s.
    pub request_timeout: Duration,
    /// Longest time that a guest may compute for one request, what it waits for left out; then it traps. Noticed at
    /// ticks of 10 ms. Default 30 s.
    pub max_run: Duration,
    /// Longest time in which a response body makes no progress. Default 120 s.
    pub response_idle_timeout: Duration,
    /// Most guests that finish work after their response, over all components. One
    /// more is cut off, and counted. Default 256; they count as running instances too.
    pub max_background: usize,
    /// Longest time for work after the response. Default 30 s.
    pub background_timeout: Duration,
    /// Limits of a request body. Default 8 MiB, 15 s idle, 60 s in all.
    pub request_body: BodyLimits,
    /// A request body is read up to this many bytes before an instance is taken,
    /// so that a slow sender holds no instance. Default 64 KiB. Zero reads nothing:
    /// needed only by clients that wait for the answer before they send.
    pub read_ahead_bytes: usize,
    /// The synchronous door for cached hits.
    pub fast_door: FastDoorConfig,
    /// Requests of guests to other hosts.
    pub outbound: OutboundConfig,
    /// Where compiled components are kept; `None` compiles at each start. The folder
    /// must be writable by this user only: what lies there is run as native code.
    pub cache_dir: Option<PathBuf>,
}

/// How components with a synchronous door (`brink:edge/fast`) are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FastDoorConfig {
    /// Whether the door is asked at all. Default true.
    pub enabled: bool,
    /// Longest time for one call: it holds a thread that serves. Measured in ticks of
    /// 10 ms, and up to two more. Default 200 ms: a busy machine may
    /// pause an innocent call for some ticks.
    pub timeout: Duration,
}

impl Default for FastDoorConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            timeout: Duration::from_millis(200),
        }
    }
}

/// Limits of requests that guests send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundConfig {
    /// Longest time for a TCP connection; with TLS, twice that for both. Default 5 s.
    pub connect_timeout: Duration,
    /// Longest time until the response head; a guest may ask for less. Default 60 s.
    pub first_byte_timeout: Duration,
    /// Longest time between two frames of a response body; a guest may ask for less. Default 120 s.
    pub between_bytes_timeout: Duration,
    /// Most idle connections per upstream. Default 32.
    pub max_idle_connections: usize,
    /// An idle connection is closed after this time. Default 30 s.
    pub idle_connection_timeout: Duration,
}

impl Default for GuestConfig {
    fn default() -> Self {
        Self {
            max_instances: 512,
            max_idle: 64,
            max_uses: 10_000,
            idle_timeout: Duration::from_secs(30),
            max_memory_bytes: 64 << 20,
            request_timeout: Duration::from_secs(30),
            max_run: Duration::from_secs(30),
            response_idle_timeout: Duration::from_secs(120),
            max_background: 256,
            background_timeout: Duration::from_secs(30),
            request_body: BodyLimits {
                max_bytes: 8 << 20,
                idle_timeout: Duration::from_secs(15),
                total_timeout: Duration::from_secs(60),
            },
            read_ahead_bytes: 64 << 10,
            fast_door: FastDoorConfig::default(),
            outbound: OutboundConfig::default(),
            cache_dir: None,
        }
    }
}

impl Default for OutboundConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(60),
            between_bytes_timeout: Duration::from_secs(120),
            max_idle_connections: 32,
            idle_connection_timeout: Duration::from_secs(30),
        }
    }
}

/// A limit that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {value}; {expected}")]
pub struct GuestConfigError {
    /// The field's name.
    pub setting: &'static str,
    /// Its value.
    pub value: String,
    /// What is allowed.
    pub expected: &'static str,
}

/// The pooling allocator reserves address space for every instance.
const MAX_INSTANCES: usize = 10_000;
/// Below this a component cannot even start.
const MIN_MEMORY_BYTES: usize = 2 << 20;
/// The largest memory of a 32-bit guest.
const MAX_MEMORY_BYTES: usize = 4 << 30;

/// No guest has a reason to wait longer; a bound keeps sums of times from overflowing.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

impl GuestConfig {
    /// Checks the limits and returns every one that cannot work.
    pub fn validate(&self) -> Result<(), Vec<GuestConfigError>> {
        let mut errors = Vec::new();
        let mut require = |ok: bool, setting, value: String, expected| {
            if !ok {
                errors.push(GuestConfigError {
                    setting,
                    value,
                    expected,
                });
            }
        };
        for (setting, value, max) in [
            ("max_instances", self.max_instances, MAX_INSTANCES),
            ("max_background", self.max_background, self.max_instances),
        ] {
            let ok = (1..=max).contains(&value);
            let expected = "1 to 10000 is allowed, and max_background is at most max_instances";
            require(ok, setting, value.to_string(), expected);
        }
        let ok = self.max_idle <= MAX_INSTANCES;
        require(
            ok,
            "max_idle",
            self.max_idle.to_string(),
            "at most 10000 is allowed",
        );
        require(
            self.max_uses > 0,
            "max_uses",
            "0".into(),
            "at least 1 is required",
        );
        let memory = self.max_memory_bytes;
        let ok = (MIN_MEMORY_BYTES..=MAX_MEMORY_BYTES).contains(&memory);
        let expected = "2 MiB to 4 GiB is allowed";
        require(ok, "max_memory_bytes", memory.to_string(), expected);
        for (setting, value) in [
            ("idle_timeout", self.idle_timeout),
            ("request_timeout", self.request_timeout),
            ("max_run", self.max_run),
            ("response_idle_timeout", self.response_idle_timeout),
            ("background_timeout", self.background_timeout),
            ("fast_door.timeout", self.fast_door.timeout),
            ("request_body.idle_timeout", self.request_body.idle_timeout),
            (
                "request_body.total_timeout",
                self.request_body.total_timeout,
            ),
            ("outbound.connect_timeout", self.outbound.connect_timeout),
            (
                "outbound.first_byte_timeout",
                self.outbound.first_byte_timeout,
            ),
            (
                "outbound.between_bytes_timeout",
                self.outbound.between_bytes_timeout,
            ),
        ] {
            let ok = !value.is_zero() && value <= MAX_TIMEOUT;
            let expected = "more than zero and at most 24 hours is allowed";
            require(ok, setting, format!("{value:?}"), expected);
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(GuestConfig::default().validate(), Ok(()));
    }

    #[test]
    fn every_wrong_limit_is_reported() {
        let config = GuestConfig {
            max_instances: 0,
            max_uses: 0,
            max_memory_bytes: 1,
            request_timeout: Duration::ZERO,
            ..GuestConfig::default()
        };
        let errors = config.validate().unwrap_err();
        let settings: Vec<_> = errors.iter().map(|error| error.setting).collect();
        let expected = [
            "max_instances",
            "max_background",
            "max_uses",
            "max_memory_bytes",
            "request_timeout",
        ];
        assert_eq!(settings, expected);
    }
}

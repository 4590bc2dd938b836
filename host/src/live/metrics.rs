//! What is counted about WebSockets.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What became of a request for a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgrade {
    /// It is open.
    Opened,
    /// It is open and compressed.
    Compressed,
    /// It was no proper handshake.
    Malformed,
    /// Its caller may not ask: what the same request over HTTP would have got.
    Unwelcome,
    /// Its page is of an origin that is not allowed.
    Origin,
    /// There are too many, here or of this tenant.
    Full,
    /// The host shuts down.
    Draining,
}

impl Upgrade {
    const ALL: [Self; 7] = [
        Self::Opened,
        Self::Compressed,
        Self::Malformed,
        Self::Unwelcome,
        Self::Origin,
        Self::Full,
        Self::Draining,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Compressed => "compressed",
            Self::Malformed => "malformed",
            Self::Unwelcome => "unwelcome",
            Self::Origin => "origin",
            Self::Full => "full",
            Self::Draining => "draining",
        }
    }
}

/// Why a socket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its client closed it.
    Client,
    /// Its connection broke.
    Gone,
    /// Its client did not answer a ping.
    HalfOpen,
    /// Its client did not read.
    Slow,
    /// A message was too big.
    TooBig,
    /// A message was none.
    Protocol,
    /// Its client sent nonsense again and again.
    Policy,
    /// It had lived long enough.
    Lifetime,
    /// The host shut down.
    Drain,
    /// The host shut down, and requests had not ended in time.
    Cut,
}

impl Ended {
    const ALL: [Self; 10] = [
        Self::Client,
        Self::Gone,
        Self::HalfOpen,
        Self::Slow,
        Self::TooBig,
        Self::Protocol,
        Self::Policy,
        Self::Lifetime,
        Self::Drain,
        Self::Cut,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Gone => "gone",
            Self::HalfOpen => "half-open",
            Self::Slow => "slow",
            Self::TooBig => "too-big",
            Self::Protocol => "protocol",
            Self::Policy => "policy",
            Self::Lifetime => "lifetime",
            Self::Drain => "drain",
            Self::Cut => "cut",
        }
    }
}

/// What became of a request on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestOutcome {
    /// One frame with a result.
    Answered,
    /// A stream to its end.
    Streamed,
    /// An error, here or by whoever answers.
    Refused,
    /// Its client cancelled it, or left.
    Cancelled,
    /// Its client did not read.
    Slow,
}

impl RequestOutcome {
    const ALL: [Self; 5] = [
        Self::Answered,
        Self::Streamed,
        Self::Refused,
        Self::Cancelled,
        Self::Slow,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Streamed => "streamed",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Slow => "slow",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// Counts of WebSockets; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LiveMetrics {
    open: Gauge,
    upgrades: Family<OutcomeLabels, Counter>,
    ended: Family<ReasonLabels, Counter>,
    requests: Family<OutcomeLabels, Counter>,
    texts: Counter,
    updates: Counter,
    sent: Counter,
}

impl LiveMetrics {
    /// Registers every metric, each series at zero.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "brink_websockets",
            "WebSockets that are open",
            metrics.open.clone(),
        );
        registry.register(
            "brink_websocket_upgrades",
            "Requests for a WebSocket",
            metrics.upgrades.clone(),
        );
        registry.register(
            "brink_websocket_ends",
            "WebSockets that ended",
            metrics.ended.clone(),
        );
        registry.register(
            "brink_websocket_requests",
            "Requests on WebSockets",
            metrics.requests.clone(),
        );
        registry.register(
            "brink_websocket_texts",
            "Pieces of text that answers brought",
            metrics.texts.clone(),
        );
        registry.register(
            "brink_websocket_updates",
            "Messages of text that were sent",
            metrics.updates.clone(),
        );
        registry.register(
            "brink_websocket_sent_bytes",
            "Bytes of messages that were sent, before compression",
            metrics.sent.clone(),
        );
        metrics.begin_at_zero();
        metrics
    }

    fn begin_at_zero(&self) {
        for outcome in Upgrade::ALL {
            self.upgrade_counter(outcome).inc_by(0);
        }
        for reason in Ended::ALL {
            self.ended_counter(reason).inc_by(0);
        }
        for outcome in RequestOutcome::ALL {
            self.request_counter(outcome).inc_by(0);
        }
    }

    fn upgrade_counter(&self, outcome: Upgrade) -> Counter {
        let outcome = outcome.label();
        self.upgrades
            .get_or_create_owned(&OutcomeLabels { outcome })
    }

    fn ended_counter(&self, reason: Ended) -> Counter {
        let reason = reason.label();
        self.ended.get_or_create_owned(&ReasonLabels { reason })
    }

    fn request_counter(&self, outcome: RequestOutcome) -> Counter {
        let outcome = outcome.label();
        self.requests
            .get_or_create_owned(&OutcomeLabels { outcome })
    }

    pub(super) fn upgrade(&self, outcome: Upgrade) {
        self.upgrade_counter(outcome).inc();
    }

    pub(super) fn request(&self, outcome: RequestOutcome) {
        self.request_counter(outcome).inc();
    }

    /// Requests that ended so.
    #[cfg(test)]
    pub(super) fn requests(&self, outcome: RequestOutcome) -> u64 {
        self.request_counter(outcome).get()
    }

    /// Counts texts that were put into an outbox.
    pub(super) fn texts(&self, count: u64) {
        self.texts.inc_by(count);
    }

    /// Counts one message.
    pub(super) fn sent(&self, bytes: usize, is_text: bool) {
        self.sent.inc_by(bytes as u64);
        if is_text {
            self.updates.inc();
        }
    }

    /// Counts a socket for as long as the returned value lives.
    pub(super) fn opened(&self) -> OpenSocket {
        self.open.inc();
        OpenSocket {
            metrics: self.clone(),
            ended: Ended::Cut,
        }
    }
}

/// An open socket.
#[derive(Debug)]
pub(super) struct OpenSocket {
    metrics: LiveMetrics,
    /// Told when it is dropped; a task that is dropped in the middle was cut.
    pub(super) ended: Ended,
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.metrics.open.dec();
        self.metrics.ended_counter(self.ended).inc();
    }
}

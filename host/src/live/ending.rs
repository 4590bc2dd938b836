//! How sockets end: what is counted, and what their clients are told (docs/websocket.md).

use super::metrics::Ended;

/// The end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// What is counted.
    pub(super) ended: Ended,
    /// Code and reason of the closing frame; `None` where nobody would read it.
    pub(super) close: Option<(u16, &'static str)>,
}

/// RFC 6455 §7.4.1.
const GOING_AWAY: u16 = 1001;
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED: u16 = 1003;
const NOT_UTF8: u16 = 1007;
const POLICY: u16 = 1008;
const TOO_BIG: u16 = 1009;
/// One of ours, as 4000 to 4999 are for applications.
const SLOW: u16 = 4008;

impl End {
    /// The client does not read.
    pub(super) const SLOW: Self = Self::with(
        Ended::Slow,
        SLOW,
        "too slow: more waited than live.send_budget_bytes, or a write made no headway",
    );
    /// A message was too big.
    pub(super) const TOO_BIG: Self = Self::with(
        Ended::TooBig,
        TOO_BIG,
        "a message is larger than live.max_frame_bytes",
    );
    /// A text was none.
    pub(super) const NOT_UTF8: Self =
        Self::with(Ended::Protocol, NOT_UTF8, "a message is no UTF-8");
    /// A frame was none.
    pub(super) const PROTOCOL: Self =
        Self::with(Ended::Protocol, PROTOCOL_ERROR, "a frame breaks RFC 6455");
    /// A binary message.
    pub(super) const BINARY: Self = Self::with(
        Ended::Protocol,
        UNSUPPORTED,
        "binary messages have no meaning here",
    );
    /// Too many mistakes.
    pub(super) const POLICY: Self =
        Self::with(Ended::Policy, POLICY, "too many messages without a meaning");

    const fn with(ended: Ended, code: u16, reason: &'static str) -> Self {
        Self {
            ended,
            close: Some((code, reason)),
        }
    }

    /// The host goes away, or this socket is old: another one is welcome.
    pub(super) fn going_away(ended: Ended) -> Self {
        Self::with(ended, GOING_AWAY, "open another socket")
    }

    /// Nobody is there to be told.
    pub(super) fn silent(ended: Ended) -> Self {
        Self { ended, close: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_fits_into_its_frame() {
        let all = [
            End::SLOW,
            End::TOO_BIG,
            End::NOT_UTF8,
            End::PROTOCOL,
            End::BINARY,
            End::POLICY,
            End::going_away(Ended::Drain),
        ];
        for end in all {
            let (_, reason) = end.close.unwrap();
            assert!(reason.len() <= 123, "RFC 6455 §5.5: {reason}");
        }
    }
}

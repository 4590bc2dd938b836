//! The `Cache-Status` header (RFC 9211): what each cache did, told to the client.

use std::fmt;

use crate::key::Key;
use crate::outcome::{Outcome, OutcomeCounts};

/// Why a request went past a cache (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The request's own directives forbade the look-up.
    Request,
    /// Nothing was stored under the key.
    Miss,
    /// Something was stored, and too old.
    Stale,
    /// Some items were stored and others were not.
    Partial,
    /// The cache was configured, or forced by a failing store, not to handle it.
    Bypass,
    /// The request's method has to be forwarded.
    Method,
}

impl Forward {
    fn token(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Partial => "partial",
            Self::Bypass => "bypass",
            Self::Method => "method",
        }
    }
}

/// One cache's member of the `Cache-Status` list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheStatus {
    /// The cache's name: a token such as `brink-edge`.
    pub cache: &'static str,
    /// `None` for a hit.
    pub forward: Option<Forward>,
    /// Whether the results were stored.
    pub stored: bool,
    /// Whether all that was forwarded was collapsed onto requests already in flight.
    pub collapsed: bool,
    /// Status of the answer to what was forwarded, where a stored result answered instead.
    pub forward_status: Option<u16>,
    /// Freshness left, in seconds, for a stored result; negative once it is stale.
    pub ttl: Option<i64>,
    /// Under which key a single result lies, for a client that asks: to purge it.
    pub key: Option<Key>,
    /// What else there is to say: a token.
    pub detail: Option<&'static str>,
}

impl CacheStatus {
    /// Sums up what happened to a request's items.
    ///
    /// Duplicates inside one request count as what their first occurrence was, so a
    /// request whose only miss occurs twice is a miss and not "partial".
    pub fn of_items(cache: &'static str, counts: &OutcomeCounts) -> Self {
        let forward = forward_reason(counts);
        Self {
            cache,
            forward,
            stored: false,
            collapsed: counts.get(Outcome::Collapsed) > 0
                && only(counts, &[Outcome::Collapsed, Outcome::Hit]),
            forward_status: None,
            ttl: None,
            key: None,
            detail: None,
        }
    }
}

fn forward_reason(counts: &OutcomeCounts) -> Option<Forward> {
    if only(counts, &[Outcome::Hit]) {
        return None;
    }
    Some(if counts.get(Outcome::Bypass) > 0 {
        Forward::Request
    } else if counts.get(Outcome::Hit) > 0 {
        Forward::Partial
    } else if counts.get(Outcome::StoreError) > 0 {
        Forward::Bypass
    } else if counts.get(Outcome::Stale) > 0 {
        Forward::Stale
    } else {
        Forward::Miss
    })
}

/// Whether no other outcome occurred. Counts are not added for this: each may be the largest there
/// is, since they also come from headers that others write.
fn only(counts: &OutcomeCounts, outcomes: &[Outcome]) -> bool {
    counts
        .iter()
        .all(|(outcome, _)| outcomes.contains(&outcome))
}

impl CacheStatus {
    /// Appends the member. By hand, because every hit writes one.
    pub fn write(&self, out: &mut String) {
        out.push_str(self.cache);
        match self.forward {
            None => out.push_str("; hit"),
            Some(reason) => {
                out.push_str("; fwd=");
                out.push_str(reason.token());
            }
        }
        if let Some(status) = self.forward_status {
            out.push_str("; fwd-status=");
            out.push_str(itoa::Buffer::new().format(status));
        }
        if self.collapsed {
            out.push_str("; collapsed");
        }
        if self.stored {
            out.push_str("; stored");
        }
        if let Some(ttl) = self.ttl {
            out.push_str("; ttl=");
            out.push_str(itoa::Buffer::new().format(ttl));
        }
        if let Some(key) = self.key {
            // A String (RFC 9211 §2.8).
            out.push_str("; key=\"");
            out.push_str(&key.to_hex());
            out.push('"');
        }
        if let Some(detail) = self.detail {
            out.push_str("; detail=");
            out.push_str(detail);
        }
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_become_one_status() {
        let check = |outcomes: &[Outcome], expected: &str| {
            let counts = outcomes.iter().copied().collect();
            assert_eq!(
                CacheStatus::of_items("brink-edge", &counts).to_string(),
                expected
            );
        };
        use Outcome::{Broken, Bypass, Collapsed, Hit, Miss, Stale, StoreError};
        check(&[Hit, Hit], "brink-edge; hit");
        check(&[Hit, Miss], "brink-edge; fwd=partial");
        check(&[Miss], "brink-edge; fwd=miss");
        check(&[Broken], "brink-edge; fwd=miss");
        check(&[Stale], "brink-edge; fwd=stale");
        check(&[StoreError], "brink-edge; fwd=bypass");
        check(&[Bypass], "brink-edge; fwd=request");
        check(&[Collapsed], "brink-edge; fwd=miss; collapsed");
        check(&[Collapsed, Miss], "brink-edge; fwd=miss");
    }

    #[test]
    fn the_largest_counts_become_the_same_status_as_small_ones() {
        let check = |items: &str, expected: &str| {
            let counts = OutcomeCounts::parse(items).unwrap();
            let status = CacheStatus::of_items("brink-edge", &counts);
            assert_eq!(status.to_string(), expected, "{items}");
        };
        check("hit=4294967295", "brink-edge; hit");
        check("hit=4294967295, miss=1", "brink-edge; fwd=partial");
        let collapsed = "brink-edge; fwd=partial; collapsed";
        check("hit=1, collapsed=4294967295", collapsed);
        check("hit=4294967295, collapsed=4294967295", collapsed);
    }

    #[test]
    fn parameters_follow_in_order() {
        let status = CacheStatus {
            cache: "brink-edge",
            forward: None,
            stored: false,
            collapsed: false,
            forward_status: None,
            ttl: Some(30),
            key: None,
            detail: None,
        };
        assert_eq!(status.to_string(), "brink-edge; hit; ttl=30");
        let keyed = CacheStatus {
            key: Key::from_hex(&"0a".repeat(32)),
            ..status.clone()
        };
        let expected = format!("brink-edge; hit; ttl=30; key=\"{}\"", "0a".repeat(32));
        assert_eq!(keyed.to_string(), expected);
        let status = CacheStatus {
            forward: Some(Forward::Stale),
            forward_status: Some(503),
            ttl: Some(-5),
            detail: Some("stale-if-error"),
            ..status
        };
        assert_eq!(
            status.to_string(),
            "brink-edge; fwd=stale; fwd-status=503; ttl=-5; detail=stale-if-error"
        );
    }
}

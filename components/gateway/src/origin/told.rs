//! What the client is told about the way its answer went.

use brink_cache::http::shared::{Fields, hop};
use brink_cache::status::{CacheStatus, Forward};
use brink_cache::{Outcome, OutcomeCounts, UnixSeconds};

use super::Call;
use crate::reply::{BRINK_ITEMS, BRINK_POLICY, CACHE_STATUS, X_REQUEST_ID};

/// The name of the edge's cache in `Cache-Status`.
const EDGE: &str = "brink-edge";

/// How an answer came about.
#[derive(Clone, Debug)]
pub struct Told {
    /// What happened to each item.
    pub outcomes: OutcomeCounts,
    /// The same for the client.
    pub status: CacheStatus,
}

impl Told {
    /// Answered from the store.
    pub fn hit(ttl: i64) -> Self {
        Self {
            outcomes: [Outcome::Hit].into_iter().collect(),
            status: CacheStatus {
                ttl: Some(ttl),
                ..status(None)
            },
        }
    }

    /// Asked of the origin.
    pub fn forwarded(outcome: Outcome, reason: Forward) -> Self {
        Self {
            outcomes: [outcome].into_iter().collect(),
            status: status(Some(reason)),
        }
    }

    /// Some of each.
    pub fn items(outcomes: OutcomeCounts) -> Self {
        Self {
            status: CacheStatus::of_items(EDGE, &outcomes),
            outcomes,
        }
    }

    /// With this to say besides.
    pub fn detail(mut self, detail: &'static str) -> Self {
        self.status.detail = Some(detail);
        self
    }

    /// With the status of the origin's answer, where another one goes to the client.
    pub fn forward_status(mut self, status: u16) -> Self {
        self.status.forward_status = Some(status);
        self
    }

    /// The fields of the answer to the client. `Cache-Status` of caches nearer to the origin stays in
    /// front (RFC 9211 §2).
    pub fn fields(&self, call: &Call, request_id: &str, mut fields: Fields) -> Fields {
        let mut member = match fields.joined(CACHE_STATUS) {
            Some(earlier) if !earlier.is_empty() => format!("{earlier}, "),
            _ => String::new(),
        };
        match call.told_key {
            None => self.status.write(&mut member),
            key => CacheStatus {
                key,
                ..self.status.clone()
            }
            .write(&mut member),
        }
        fields.insert(CACHE_STATUS, member);
        let via = hop::via(fields.joined("via").as_deref(), "1.1");
        fields.insert("via", via);
        fields.insert(BRINK_POLICY, call.ruling.label().to_owned());
        fields.insert(BRINK_ITEMS, self.outcomes.to_string());
        fields.insert(X_REQUEST_ID, request_id.to_owned());
        fields
    }
}

fn status(forward: Option<Forward>) -> CacheStatus {
    CacheStatus {
        cache: EDGE,
        forward,
        stored: false,
        collapsed: false,
        forward_status: None,
        ttl: None,
        key: None,
        detail: None,
    }
}

/// Gives a message that has no date the time of reception (RFC 9110 §6.6.1).
pub fn with_date(mut fields: Fields, now: UnixSeconds) -> Fields {
    if !fields.contains("date") {
        fields.insert("date", brink_cache::http::shared::date::format(now));
    }
    fields
}

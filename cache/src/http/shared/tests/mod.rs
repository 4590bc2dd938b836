//! The rules of RFC 9111 as tables: each row quotes what it checks.

mod ages;
mod answers;
mod freshening;
mod invalidations;
mod records;
mod requests;
mod reuses;
mod storing;
mod uris;

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::time::UnixSeconds;

/// 1994-11-06T08:49:37Z: when requests are sent, in most rows.
const SENT: UnixSeconds = UnixSeconds(784_111_777);

/// The operator allows freshness for a year, and stale use only where a response names it.
const LIMITS: Limits = Limits {
    max_fresh: Duration::from_secs(365 * 24 * 60 * 60),
    stale_while_revalidate: Duration::ZERO,
    stale_if_error: Duration::ZERO,
};

fn after(seconds: u64) -> UnixSeconds {
    UnixSeconds(SENT.0 + seconds)
}

/// Lines such as `age: 5 | expires: @60`, where `@60` is the date of 60 seconds after [`SENT`].
fn fields(lines: &str) -> Fields {
    let lines = lines.split('|').filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            let value = value.trim();
            let value = match value.strip_prefix('@') {
                Some(offset) => at(offset.parse().unwrap()),
                None => value.to_owned(),
            };
            (name.trim().to_owned(), value)
        })
        .collect()
}

/// The date of so many seconds after [`SENT`].
fn at(offset: i64) -> String {
    date::format(UnixSeconds(SENT.0.saturating_add_signed(offset)))
}

/// A response that was asked for and arrived at [`SENT`].
fn head(status: u16, lines: &str) -> ResponseHead {
    let times = Times {
        requested: SENT,
        received: SENT,
    };
    ResponseHead::new(status, &fields(lines), times)
}

fn stored(lines: &str, body: &'static str) -> StoredResponse {
    StoredResponse {
        head: head(200, lines),
        body: Bytes::from_static(body.as_bytes()),
    }
}

/// Lines of any kind, those that matter here among them.
fn any_lines() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = "age|date|expires|etag|last-modified|vary|cache-control|cdn-cache-control|content-(length|encoding)|x-[a-c]";
    let value = prop_oneof![
        "[ -~]{0,24}",
        "(max-age|s-maxage|stale-while-revalidate|stale-if-error)=[0-9]{1,6}",
        "(W/)?\"[a-c]{0,2}\"",
        "no-cache|no-store|public|private|must-revalidate|accept, accept-language",
        any_seconds().prop_map(|at| date::format(UnixSeconds(at))),
    ];
    prop::collection::vec((name, value), 0..8)
}

/// Moments near each other, and the ends of time.
fn any_seconds() -> impl Strategy<Value = u64> {
    prop_oneof![784_000_000u64..784_200_000, 0..100u64, Just(u64::MAX)]
}

fn any_head() -> impl Strategy<Value = ResponseHead> {
    (200u16..600, any_lines(), any_seconds(), any_seconds()).prop_map(
        |(status, lines, requested, received)| {
            let times = Times {
                requested: UnixSeconds(requested),
                received: UnixSeconds(received),
            };
            ResponseHead::new(status, &lines.into_iter().collect(), times)
        },
    )
}

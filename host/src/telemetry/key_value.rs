//! Look-ups and writes of one request, told as two spans and not as one for each key.

use tokio::time::{Duration, Instant};

use super::SpanKind;
use super::span::{Span, Trace};

/// What was done to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Something was looked up or listed.
    Read,
    /// Something was changed.
    Write,
}

/// What one request did in key-value stores. Dropping it tells.
#[derive(Debug)]
pub struct KeyValueCalls {
    trace: Trace,
    reads: Option<Calls>,
    writes: Option<Calls>,
}

/// From the first call to the last.
#[derive(Debug)]
struct Calls {
    began: Instant,
    ended: Instant,
    calls: u32,
    failed: u32,
    /// Time inside the store. The rest is the component's, or that of what it waited for.
    busy: Duration,
}

impl KeyValueCalls {
    /// Counts for a trace; nothing if that is not recorded.
    pub fn under(trace: &Trace) -> Option<Self> {
        trace.is_sampled().then(|| Self {
            trace: trace.clone(),
            reads: None,
            writes: None,
        })
    }

    /// Counts a call that began then and ends now.
    pub fn count(&mut self, access: Access, began: Instant, succeeded: bool) {
        let calls = match access {
            Access::Read => &mut self.reads,
            Access::Write => &mut self.writes,
        };
        let calls = calls.get_or_insert(Calls {
            began,
            ended: began,
            calls: 0,
            failed: 0,
            busy: Duration::ZERO,
        });
        calls.ended = Instant::now();
        calls.calls += 1;
        calls.failed += u32::from(!succeeded);
        calls.busy += calls.ended.saturating_duration_since(began);
    }
}

impl Drop for KeyValueCalls {
    fn drop(&mut self) {
        for (name, calls) in [
            ("key-value read", self.reads.take()),
            ("key-value write", self.writes.take()),
        ] {
            if let Some(calls) = calls {
                let span = self.trace.span_since(name, SpanKind::Internal, calls.began);
                if let Some(span) = span {
                    calls.tell(span);
                }
            }
        }
    }
}

impl Calls {
    fn tell(self, mut span: Span) {
        span.set("brink.calls", i64::from(self.calls));
        span.set("brink.busy_us", self.busy.as_micros() as i64);
        if self.failed > 0 {
            span.set("brink.calls.failed", i64::from(self.failed));
            span.fail("store");
        }
        span.end_at(self.ended);
    }
}

//! Pieces of work, and where they belong.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use brink_cache::{Outcome, OutcomeCounts};
use http::{Extensions, HeaderMap, Method};
use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use tokio::time::Instant;

use super::clock::Clock;
use super::context;
use super::export::Sink;

/// Most links of one span, as the specification of OpenTelemetry has it by default; further ones are counted.
const MAX_LINKS: usize = 128;

/// Why a span always has its data.
const HELD: &str = "taken only when dropped";

/// Where work belongs: a trace, and the span above it. One pointer; carried in the extensions of requests.
#[derive(Clone)]
pub struct Trace(Arc<Place>);

struct Place {
    context: SpanContext,
    sink: Arc<Sink>,
    clock: Clock,
}

impl Trace {
    pub(super) fn new(context: SpanContext, sink: &Arc<Sink>, clock: Clock) -> Self {
        Self(Arc::new(Place {
            context,
            sink: Arc::clone(sink),
            clock,
        }))
    }

    /// The one that a request carries.
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// Whether its spans are recorded.
    pub fn is_sampled(&self) -> bool {
        self.0.context.is_sampled()
    }

    /// Names the span above as the parent of the request with these header fields.
    pub fn write(&self, headers: &mut HeaderMap) {
        context::write(&self.0.context, headers);
    }

    /// A span that begins now; `None` if the trace is not recorded.
    pub fn span(&self, name: &'static str, kind: SpanKind) -> Option<Span> {
        self.span_since(name, kind, Instant::now())
    }

    /// A span that began then.
    pub fn span_since(&self, name: &'static str, kind: SpanKind, since: Instant) -> Option<Span> {
        let parent = &self.0.context;
        if !parent.is_sampled() {
            return None;
        }
        let own = SpanContext::new(
            parent.trace_id(),
            RandomIdGenerator::default().new_span_id(),
            parent.trace_flags(),
            false,
            parent.trace_state().clone(),
        );
        let mut span = Span::begin(own, name, kind, since, self);
        let data = span.data_mut();
        data.parent_span_id = parent.span_id();
        data.parent_span_is_remote = parent.is_remote();
        Some(span)
    }

    /// Which span it is, for grouping.
    pub(super) fn span_id(&self) -> SpanId {
        self.0.context.span_id()
    }

    /// A place in another trace, which goes to the same collector.
    pub(super) fn elsewhere(&self, context: SpanContext) -> Self {
        Self::new(context, &self.0.sink, self.0.clock)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Trace({}-{})",
            self.0.context.trace_id(),
            self.0.context.span_id()
        )
    }
}

/// A piece of work that is recorded. [`end`](Self::end) tells the collector. Dropping it does too, as one that
/// was cancelled: futures are dropped when a client leaves or a limit is reached.
pub struct Span {
    /// Boxed: it is large, and lies in futures. `None` only while dropping.
    data: Option<Box<SpanData>>,
    sink: Arc<Sink>,
    clock: Clock,
    ended: bool,
}

impl Span {
    /// The first span of a trace, or of what is known of it here; `place` is its own.
    pub(super) fn root(name: &'static str, kind: SpanKind, since: Instant, place: &Trace) -> Self {
        Self::begin(place.0.context.clone(), name, kind, since, place)
    }

    fn begin(
        span_context: SpanContext,
        name: &'static str,
        span_kind: SpanKind,
        since: Instant,
        near: &Trace,
    ) -> Self {
        let clock = near.0.clock;
        let start_time = clock.wall(since);
        let data = SpanData {
            span_context,
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind,
            name: Cow::Borrowed(name),
            start_time,
            end_time: start_time,
            attributes: Vec::with_capacity(8),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("brink").build(),
        };
        Self {
            data: Some(Box::new(data)),
            sink: Arc::clone(&near.0.sink),
            clock,
            ended: false,
        }
    }

    /// Where work below it belongs.
    pub fn trace(&self) -> Trace {
        Trace::new(self.context().clone(), &self.sink, self.clock)
    }

    /// The trace's id in hexadecimal digits, as collectors search for it.
    pub fn trace_id(&self) -> String {
        self.context().trace_id().to_string()
    }

    /// Another name than it began with. Of a small set: collectors group by it.
    pub fn rename(&mut self, name: String) {
        self.data_mut().name = Cow::Owned(name);
    }

    /// Says something about the work. Never anything that a client chose, unless it is in the log as well.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.data_mut().attributes.push(KeyValue::new(key, value));
    }

    /// Says what became of a request's items.
    pub fn set_items(&mut self, counts: &OutcomeCounts) {
        for (outcome, count) in counts.iter() {
            self.set(items_with(outcome), i64::from(count));
        }
        self.set("brink.items", i64::from(counts.total()));
    }

    /// Says that it failed, and in which way: a word of a small set.
    pub fn fail(&mut self, kind: impl Into<Cow<'static, str>>) {
        let kind = match kind.into() {
            Cow::Borrowed(kind) => Value::from(kind),
            Cow::Owned(kind) => Value::from(kind),
        };
        self.set("error.type", kind);
        self.data_mut().status = Status::error("");
    }

    /// Points to another span that has to do with it.
    pub(super) fn link(&mut self, other: &SpanContext) {
        let links = &mut self.data_mut().links;
        if links.links.len() < MAX_LINKS {
            links.links.push(Link::with_context(other.clone()));
        } else {
            links.dropped_count += 1;
        }
    }

    pub(super) fn context(&self) -> &SpanContext {
        &self.data.as_ref().expect(HELD).span_context
    }

    fn data_mut(&mut self) -> &mut SpanData {
        self.data.as_mut().expect(HELD)
    }

    /// It ends now.
    pub fn end(self) {
        self.end_at(Instant::now());
    }

    /// It ended then.
    pub fn end_at(mut self, at: Instant) {
        self.finish(at);
    }

    fn finish(&mut self, at: Instant) {
        self.ended = true;
        let end_time = self.clock.wall(at);
        self.data_mut().end_time = end_time;
    }
}

/// The method as spans name it: those that RFC 9110 and RFC 5789 know, since a client may send any word.
pub fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::CONNECT => "CONNECT",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::PATCH => "PATCH",
        // RFC 10008, which the crate does not know yet.
        _ if method.as_str() == "QUERY" => "QUERY",
        _ => "_OTHER",
    }
}

fn items_with(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Hit => "brink.items.hit",
        Outcome::Miss => "brink.items.miss",
        Outcome::Collapsed => "brink.items.collapsed",
        Outcome::Bypass => "brink.items.bypass",
        Outcome::Stale => "brink.items.stale",
        Outcome::Broken => "brink.items.broken",
        Outcome::StoreError => "brink.items.store_error",
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if !self.ended {
            self.fail("cancelled");
            self.finish(Instant::now());
        }
        if let Some(data) = self.data.take() {
            self.sink.put(data);
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Span({:?})", self.context())
    }
}

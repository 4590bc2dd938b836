//! The synchronous door of a component (`brink:edge/fast`): cached hits at native cost.
//!
//! A component that exports the door is asked here first. It answers what stored entries alone
//! can answer, and gives "not a plain hit" for everything else, which then goes through
//! `wasi:http` as if there were no door. So a door that fails costs time and never a request.
//!
//! ```text
//!  request (body read) -> Breaker -> Pool of instances -> Instance::call -> the whole answer
//!                            |                                 |
//!                            '---- closed ----.                '-- none, trap, time-out
//!                                             '------------------------> wasi:http
//! ```
//!
//! A call is synchronous: it runs on the caller's thread, never suspends, and is stopped at a
//! deadline. `code` finds and checks the core module, `imports` binds what it may call.
//! Why the core module and not the component: `docs/decisions/0012`.

mod breaker;
mod code;
mod head;
mod imports;
mod instance;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Response, request::Parts};

pub(super) use code::DoorCode;

use super::{
    config::GuestConfig,
    engine::TICK,
    response::GuestBody,
    state::ComponentContext,
    stats::{PoolStats, add},
};
use crate::telemetry::{KeyValueCalls, Span, SpanKind, Trace};
use breaker::Breaker;
use instance::Instance;

/// The door of one component.
pub(super) struct Door {
    code: DoorCode,
    context: Arc<ComponentContext>,
    stats: Arc<PoolStats>,
    breaker: Breaker,
    deadline_ticks: u64,
    max_uses: u32,
    /// Warm instances. Never more than threads that serve, because a call never suspends.
    /// The lock guards pushes and pops only.
    idle: Mutex<Vec<Instance>>,
}

impl Door {
    pub(super) fn new(
        code: DoorCode,
        context: Arc<ComponentContext>,
        stats: Arc<PoolStats>,
        config: &GuestConfig,
    ) -> Self {
        Self {
            code,
            context,
            stats,
            breaker: Breaker::default(),
            deadline_ticks: ticks(config.fast_door.timeout),
            max_uses: config.max_uses,
            idle: Mutex::default(),
        }
    }

    /// The component's answer to a whole request; `None` if it has to go through `wasi:http`.
    pub(super) fn answer(&self, head: &Parts, body: &Bytes) -> Option<Response<GuestBody>> {
        if self.breaker.is_closed() {
            add(&self.stats.door_skipped);
            return None;
        }
        let span = Trace::of(&head.extensions)
            .and_then(|trace| trace.span("fast door", SpanKind::Internal));
        let called = self.call(head, body, span.as_ref());
        if let Some(span) = span {
            self.tell(span, &called);
        }
        match called {
            Ok(answer) => {
                self.breaker.succeeded();
                add(match &answer {
                    Some(_) => &self.stats.door_answered,
                    None => &self.stats.door_passed,
                });
                answer
            }
            Err(error) => {
                add(&self.stats.door_failed);
                let closed_for = self.breaker.failed();
                let component = &*self.context.id;
                tracing::warn!(
                    component,
                    error = format!("{error:#}"),
                    ?closed_for,
                    "the fast door failed"
                );
                None
            }
        }
    }

    /// An instance that failed is dropped here, whatever state it was in.
    fn call(
        &self,
        head: &Parts,
        body: &Bytes,
        span: Option<&Span>,
    ) -> wasmtime::Result<Option<Response<GuestBody>>> {
        let warm = self.idle().pop();
        let mut instance = match warm {
            Some(instance) => instance,
            None => Instance::new(&self.code, self.context.clone())?,
        };
        instance.count_calls(span.and_then(|span| KeyValueCalls::under(&span.trace())));
        let answer = instance.call(head, body, self.deadline_ticks)?;
        instance.count_calls(None);
        if instance.uses() < self.max_uses {
            self.idle().push(instance);
        }
        Ok(answer)
    }

    fn tell(&self, mut span: Span, called: &wasmtime::Result<Option<Response<GuestBody>>>) {
        span.set("brink.component", self.context.id.to_string());
        match called {
            Ok(answer) => span.set("brink.answered", answer.is_some()),
            Err(_) => span.fail("door"),
        }
        span.end();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Instance>> {
        // Pushing and popping leave the list whole even if something panics in between.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At least as long as asked for: the first tick may come at once.
fn ticks(timeout: Duration) -> u64 {
    let ticks = timeout.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1)
}

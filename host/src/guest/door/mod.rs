//! The synchronous door of a component (`brink:edge/fast`): cached hits at native cost.
//!
//! A component that exports the door is asked here first. It answers what stored entries can answer,
//! has the host make a call for what is missing, and gives "not here" for everything else, which then goes
//! through `wasi:http` as if there were no door. So a door that fails costs time and never a request.
//!
//! ```text
//!  request (body read) -> Breaker -> an instance: answer --+-> the whole answer
//!                            |                             |
//!                            |                             +-> a call -> made by the host, no instance held
//!                            |                             |               '-> any instance: resume -> answer
//!                            |                             |               '-> or piece by piece: pass -> answer (`stream`)
//!                            '------- closed ----.         '-- none, trap, time-out
//!                                                '------------------------> wasi:http
//! ```
//!
//! The guest runs synchronously: on the caller's thread, never suspended, and stopped at a
//! deadline. `code` finds and checks the core module, `imports` binds what it may call, `call` makes calls.
//! Why the core module and not the component: `docs/decisions/0012`.

mod breaker;
mod call;
mod code;
mod head;
mod imports;
mod instance;
mod stream;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Response, request::Parts};
use wasmtime::format_err;
use wasmtime_wasi_http::WasiBody;

pub(super) use code::DoorCode;
pub(super) use stream::Passing;

use super::{
    config::GuestConfig,
    engine::TICK,
    outbound::Network,
    response::GuestBody,
    state::ComponentContext,
    stats::{PoolStats, add, subtract},
};
use crate::telemetry::{KeyValueCalls, Span, SpanKind, Trace};
use breaker::Breaker;
use call::Brought;
use instance::{Instance, Message};
use stream::Made;

/// The door of one component.
pub(super) struct Door {
    code: DoorCode,
    context: Arc<ComponentContext>,
    stats: Arc<PoolStats>,
    breaker: Breaker,
    deadline_ticks: u64,
    max_uses: u32,
    response_idle_timeout: Duration,
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
            response_idle_timeout: config.response_idle_timeout,
            idle: Mutex::default(),
        }
    }

    /// The component's answer to a whole request; `None` if it has to go through `wasi:http`.
    pub(super) async fn answer(
        self: &Arc<Self>,
        head: &Parts,
        body: &Bytes,
        network: &Arc<Network>,
    ) -> Option<Response<GuestBody>> {
        if self.breaker.is_closed() {
            add(&self.stats.door_skipped);
            return None;
        }
        let call = match self.ask(head, body, None)? {
            Said::Answer(answer) => {
                add(&self.stats.door_answered);
                return Some(*answer);
            }
            Said::Call(call) => call,
        };
        let trace = Trace::of(&head.extensions);
        let calling = Calling::begin(&self.stats);
        let made = call::make(&call, &self.context, network, trace).await;
        drop(calling);
        let brought = made.map_err(|error| self.failed(&error)).ok()?;
        let result = match brought {
            Brought::Whole(result) => result,
            Brought::Begun(upstream) => {
                let made = Made {
                    request: head,
                    body,
                    call,
                };
                return self.begin_passing(made, upstream);
            }
        };
        match self.ask(head, body, Some((&call, &result)))? {
            Said::Answer(answer) => {
                add(&self.stats.door_resumed);
                Some(*answer)
            }
            Said::Call(_) => {
                self.failed(&format_err!("a call was answered with another call"));
                None
            }
        }
    }

    /// The answer that passes on what comes from upstream.
    fn begin_passing(
        self: &Arc<Self>,
        made: Made<'_>,
        upstream: WasiBody,
    ) -> Option<Response<GuestBody>> {
        let begun = Message {
            head: Bytes::from_static(b"streaming"),
            body: Bytes::new(),
        };
        let asked = Some((&made.call, &begun));
        match self.ask(made.request, made.body, asked)? {
            Said::Answer(answer) => {
                add(&self.stats.door_streamed);
                let passing = Passing::new(Arc::clone(self), made, upstream);
                Some(answer.map(|_| GuestBody::passing(passing)))
            }
            Said::Call(_) => {
                self.failed(&format_err!("a call was answered with another call"));
                None
            }
        }
    }

    /// What the component says at first, or once its call has been made. `None` if it says nothing, or
    /// nothing valid.
    fn ask(&self, head: &Parts, body: &Bytes, call: Option<(&Message, &Message)>) -> Option<Said> {
        let span = Trace::of(&head.extensions)
            .and_then(|trace| trace.span("fast door", SpanKind::Internal));
        let said = self.call(head, body, call, span.as_ref());
        if let Some(span) = span {
            self.tell(span, &said);
        }
        match said {
            Ok(said) => {
                self.breaker.succeeded();
                if said.is_none() {
                    add(&self.stats.door_passed);
                }
                said
            }
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    fn failed(&self, error: &wasmtime::Error) {
        add(&self.stats.door_failed);
        let closed_for = self.breaker.failed();
        let component = &*self.context.id;
        tracing::warn!(
            component,
            error = format!("{error:#}"),
            ?closed_for,
            "the fast door failed"
        );
    }

    /// An instance that failed is dropped here, whatever state it was in.
    fn call(
        &self,
        head: &Parts,
        body: &Bytes,
        call: Option<(&Message, &Message)>,
        span: Option<&Span>,
    ) -> wasmtime::Result<Option<Said>> {
        self.in_instance(|instance| {
            instance.count_calls(span.and_then(|span| KeyValueCalls::under(&span.trace())));
            let said = match call {
                None => instance.answer(head, body, self.deadline_ticks)?,
                Some(made) => instance.resume(head, body, made, self.deadline_ticks)?,
            };
            let said = said.map(|said| Said::of(head, said)).transpose()?;
            instance.count_calls(None);
            Ok(said)
        })
    }

    /// Calls into an instance, which serves again unless that fails.
    fn in_instance<T>(
        &self,
        call: impl FnOnce(&mut Instance) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        let warm = self.idle().pop();
        let mut instance = match warm {
            Some(instance) => instance,
            None => Instance::new(&self.code, self.context.clone())?,
        };
        let said = call(&mut instance)?;
        if instance.uses() < self.max_uses {
            self.idle().push(instance);
        }
        Ok(said)
    }

    fn tell(&self, mut span: Span, said: &wasmtime::Result<Option<Said>>) {
        span.set("brink.component", self.context.id.to_string());
        match said {
            Ok(said) => span.set("brink.answered", matches!(said, Some(Said::Answer(_)))),
            Err(_) => span.fail("door"),
        }
        span.end();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Instance>> {
        // Pushing and popping leave the list whole even if something panics in between.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a call for as long as it is under way, however it ends.
struct Calling<'a>(&'a PoolStats);

impl<'a> Calling<'a> {
    fn begin(stats: &'a PoolStats) -> Self {
        add(&stats.door_calls);
        add(&stats.door_calling);
        Self(stats)
    }
}

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        subtract(&self.0.door_calling, 1);
    }
}

/// What a component says at its door.
enum Said {
    /// The whole answer. Boxed: it is large, and the other one is not.
    Answer(Box<Response<GuestBody>>),
    /// A call that is to be made first.
    Call(Message),
}

impl Said {
    fn of(request: &Parts, said: Message) -> wasmtime::Result<Self> {
        if call::is_call(&said) {
            return Ok(Self::Call(said));
        }
        let answer = head::read_response(request, said.head, said.body)?;
        Ok(Self::Answer(Box::new(answer)))
    }
}

/// At least as long as asked for: the first tick may come at once.
fn ticks(timeout: Duration) -> u64 {
    let ticks = timeout.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1)
}

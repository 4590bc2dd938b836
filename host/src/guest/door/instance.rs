//! One instance of a door, and a call into it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use tokio::time::Instant;
use wasmtime::{
    AsContextMut, Memory, Store, StoreLimits, StoreLimitsBuilder, TypedFunc, format_err,
};

use super::{
    code::{ANSWER, DoorCode, PASS, POST_ANSWER, POST_PASS, POST_RESUME, RESUME},
    head,
};
use crate::guest::{keyvalue::Bucket, state::ComponentContext};
use crate::telemetry::KeyValueCalls;

/// Ticks that making an instance may take: it runs little code, on a machine that may be busy.
const START_TICKS: u64 = 100;

/// The state behind an instance.
pub(super) struct DoorState {
    pub(super) component: Arc<ComponentContext>,
    /// Open stores by handle, counted from one; `None` once closed.
    pub(super) stores: Vec<Option<Bucket>>,
    /// Set once the instance is made.
    pub(super) abi: Option<Arc<Abi>>,
    pub(super) made: Instant,
    /// Of the request being answered, if it is recorded.
    pub(super) calls: Option<KeyValueCalls>,
    limits: StoreLimits,
}

/// What the canonical ABI needs of an instance. Shared, because cloning a function's type costs more
/// than a look-up.
pub(super) struct Abi {
    pub(super) memory: Memory,
    /// Old pointer, old size, alignment, new size.
    realloc: TypedFunc<(u32, u32, u32, u32), u32>,
}

impl Abi {
    /// A part of the memory, or a trap.
    pub(super) fn bytes<'a, T: 'static>(
        &self,
        store: impl Into<wasmtime::StoreContext<'a, T>>,
        pointer: u32,
        length: u32,
    ) -> wasmtime::Result<&'a [u8]> {
        let start = pointer as usize;
        let end = start.saturating_add(length as usize);
        let memory = self.memory.data(store);
        memory
            .get(start..end)
            .ok_or_else(|| format_err!("{pointer}+{length} is outside of the memory"))
    }

    /// Copies `bytes` into memory that the guest will own.
    pub(super) fn put(
        &self,
        mut store: impl AsContextMut,
        bytes: &[u8],
    ) -> wasmtime::Result<(u32, u32)> {
        let length = u32::try_from(bytes.len())?;
        if length == 0 {
            // Any aligned pointer stands for an empty list.
            return Ok((1, 0));
        }
        let pointer = self.realloc.call(&mut store, (0, 0, 1, length))?;
        self.memory.write(&mut store, pointer as usize, bytes)?;
        Ok((pointer, length))
    }
}

/// A head and a body, as they go in and out.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) head: Bytes,
    pub(super) body: Bytes,
}

/// Pointers and lengths of a request's head and body.
type Request = (u32, u32, u32, u32);
/// The same, and those of a call's head and body and of its result's.
#[rustfmt::skip]
type Resumed = (u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32);

/// Pointers and lengths of a call's head, of what was noted and of a piece, and whether it is the last.
type Passed = (u32, u32, u32, u32, u32, u32, u32);

/// An instance that answers one request after the other.
pub(super) struct Instance {
    store: Store<DoorState>,
    abi: Arc<Abi>,
    answer: TypedFunc<Request, u32>,
    post_answer: TypedFunc<u32, ()>,
    resume: TypedFunc<Resumed, u32>,
    post_resume: TypedFunc<u32, ()>,
    pass: TypedFunc<Passed, u32>,
    post_pass: TypedFunc<u32, ()>,
    /// Kept from call to call.
    head: Vec<u8>,
    uses: u32,
}

impl Instance {
    pub(super) fn new(code: &DoorCode, component: Arc<ComponentContext>) -> wasmtime::Result<Self> {
        let limits = StoreLimitsBuilder::new()
            .memory_size(component.max_memory_bytes)
            .trap_on_grow_failure(true)
            .build();
        let state = DoorState {
            component,
            stores: Vec::new(),
            abi: None,
            made: Instant::now(),
            calls: None,
            limits,
        };
        let mut store = Store::new(code.pre.module().engine(), state);
        store.limiter(|state| &mut state.limits);
        store.set_epoch_deadline(START_TICKS);
        let instance = code.pre.instantiate(&mut store)?;
        let memory = instance.get_memory(&mut store, "memory");
        let abi = Arc::new(Abi {
            memory: memory.ok_or_else(|| format_err!("the core module exports no memory"))?,
            realloc: instance.get_typed_func(&mut store, "cabi_realloc")?,
        });
        store.data_mut().abi = Some(abi.clone());
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut store, "_initialize") {
            initialize.call(&mut store, ())?;
        }
        Ok(Self {
            answer: instance.get_typed_func(&mut store, ANSWER)?,
            post_answer: instance.get_typed_func(&mut store, POST_ANSWER)?,
            resume: instance.get_typed_func(&mut store, RESUME)?,
            post_resume: instance.get_typed_func(&mut store, POST_RESUME)?,
            pass: instance.get_typed_func(&mut store, PASS)?,
            post_pass: instance.get_typed_func(&mut store, POST_PASS)?,
            store,
            abi,
            head: Vec::new(),
            uses: 0,
        })
    }

    /// How many calls it has answered.
    pub(super) fn uses(&self) -> u32 {
        self.uses
    }

    /// Where key-value calls are counted from now on.
    pub(super) fn count_calls(&mut self, calls: Option<KeyValueCalls>) {
        self.store.data_mut().calls = calls;
    }

    /// What the guest makes of a request, or `None` if it leaves it to the other door. After an error the
    /// instance must be dropped.
    pub(super) fn answer(
        &mut self,
        request: &Parts,
        body: &[u8],
        deadline_ticks: u64,
    ) -> wasmtime::Result<Option<Message>> {
        let (head, body) = self.begin(request, body, deadline_ticks)?;
        let arguments = (head.0, head.1, body.0, body.1);
        let result = self.answer.call(&mut self.store, arguments)?;
        let said = self.read(result)?;
        self.post_answer.call(&mut self.store, result)?;
        Ok(said)
    }

    /// What it makes of the request once its call has been made. After an error the instance must be dropped.
    pub(super) fn resume(
        &mut self,
        request: &Parts,
        body: &[u8],
        (made, result): (&Message, &Message),
        deadline_ticks: u64,
    ) -> wasmtime::Result<Option<Message>> {
        let (head, body) = self.begin(request, body, deadline_ticks)?;
        let (made, result) = (self.put(made)?, self.put(result)?);
        #[rustfmt::skip]
        let arguments = (
            head.0, head.1, body.0, body.1,
            made.0, made.1, made.2, made.3, result.0, result.1, result.2, result.3,
        );
        let result = self.resume.call(&mut self.store, arguments)?;
        let said = self.read(result)?;
        self.post_resume.call(&mut self.store, result)?;
        Ok(said)
    }

    /// What it makes of a piece of an answer that is passed on. After an error the instance must be dropped.
    pub(super) fn pass(
        &mut self,
        (call, notes, piece): (&[u8], &[u8], &[u8]),
        last: bool,
        deadline_ticks: u64,
    ) -> wasmtime::Result<Option<Message>> {
        self.uses += 1;
        self.store.set_epoch_deadline(deadline_ticks);
        let call = self.abi.put(&mut self.store, call)?;
        let notes = self.abi.put(&mut self.store, notes)?;
        let piece = self.abi.put(&mut self.store, piece)?;
        #[rustfmt::skip]
        let arguments = (call.0, call.1, notes.0, notes.1, piece.0, piece.1, u32::from(last));
        let result = self.pass.call(&mut self.store, arguments)?;
        let said = self.read(result)?;
        self.post_pass.call(&mut self.store, result)?;
        Ok(said)
    }

    fn begin(
        &mut self,
        request: &Parts,
        body: &[u8],
        deadline_ticks: u64,
    ) -> wasmtime::Result<((u32, u32), (u32, u32))> {
        self.uses += 1;
        self.store.set_epoch_deadline(deadline_ticks);
        head::write_request(request, &mut self.head);
        let head = self.abi.put(&mut self.store, &self.head)?;
        let body = self.abi.put(&mut self.store, body)?;
        Ok((head, body))
    }

    fn put(&mut self, message: &Message) -> wasmtime::Result<Request> {
        let head = self.abi.put(&mut self.store, &message.head)?;
        let body = self.abi.put(&mut self.store, &message.body)?;
        Ok((head.0, head.1, body.0, body.1))
    }

    /// Reads `option<message>`: a discriminant, and two lists. Both are copied out at once: the guest
    /// takes its memory back.
    fn read(&self, result: u32) -> wasmtime::Result<Option<Message>> {
        let store = &self.store;
        let option = self.abi.bytes(store, result, 20)?;
        if option[0] == 0 {
            return Ok(None);
        }
        let word = |index: usize| {
            let bytes = option[4 * index..4 * index + 4].try_into();
            u32::from_le_bytes(bytes.expect("four bytes"))
        };
        let head = self.abi.bytes(store, word(1), word(2))?;
        let body = self.abi.bytes(store, word(3), word(4))?;
        let mut both = BytesMut::with_capacity(head.len() + body.len());
        both.extend_from_slice(head);
        both.extend_from_slice(body);
        let mut body = both.freeze();
        let head = body.split_to(head.len());
        Ok(Some(Message { head, body }))
    }
}

//! [`Decoder`] by ONNX Runtime.
//!
//! Inputs and outputs are bound to memory of our own, which stays where it is: a run is then a call without
//! allocation, and keys and values are extended in place. What is bound for a step is kept for each number
//! of rows; a prompt's pieces are bound anew, because their rows and lengths vary.

use std::ffi::CString;
use std::sync::Arc;

use ort::session::{IoBinding, NoSelectedOutputs, RunOptions, Session};
use ort::value::PrimitiveTensorElementType;

use super::kv::Kv;
use super::layout::{IDS, LENGTHS, LOGITS, Layout, TOTAL, WANTED};
use super::rows::Rows;
use super::{Decoder, Logits};
use crate::inference::backend::BackendError;
use crate::inference::memory;
use crate::inference::session::{Side, bind, runtime_error};

/// What keys and values consist of.
pub(super) trait Element: 'static {
    /// As the runtime knows it.
    type Tensor: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static;
    /// As it is stored: of the same size, and asked for as zeros without touching the memory.
    type Store: Copy + Default + Send;

    /// So many zeros.
    fn zeros(count: usize) -> Vec<Self::Store>;
}

/// 32 bits.
#[derive(Debug)]
pub(super) struct Single;

/// 16 bits.
#[derive(Debug)]
pub(super) struct Half;

impl Element for Single {
    type Tensor = f32;
    type Store = f32;

    fn zeros(count: usize) -> Vec<f32> {
        vec![0.0; count]
    }
}

impl Element for Half {
    type Tensor = half::f16;
    type Store = u16;

    fn zeros(count: usize) -> Vec<u16> {
        vec![0; count]
    }
}

/// A session and the memory that it is bound to.
pub(super) struct OnnxDecoder<E: Element> {
    /// What is bound for steps, by the number of rows less one. Before the memory that it points to.
    steps: Vec<Option<IoBinding>>,
    memory: Bound<E>,
    session: Session,
    names: Vec<(CString, CString)>,
    rows: Rows,
    /// Tokens that each slot holds.
    held: Vec<usize>,
    /// Where the logits of each row of the last step are.
    order: Vec<usize>,
    shrinking: Arc<RunOptions<NoSelectedOutputs>>,
    /// Last, so that what the session took is free by then.
    _give_back: memory::GiveBack,
}

/// Memory that runs are bound to: allocated once, at its largest.
struct Bound<E: Element> {
    layout: Layout,
    context: usize,
    slots: usize,
    kv: Kv<E::Store>,
    ids: Box<[i64]>,
    lengths: Box<[i32]>,
    total: Box<[i32]>,
    wanted: Box<[i64]>,
    logits: Box<[f32]>,
}

/// Which part of the memory a run is about.
#[derive(Clone, Copy)]
struct Run {
    first: usize,
    rows: usize,
    /// Tokens of each row.
    tokens: usize,
    /// Logits of each row: of the last token, or none.
    wanted: usize,
}

impl<E: Element> Bound<E> {
    fn new(layout: Layout, slots: usize, context: usize) -> Self {
        Self {
            kv: Kv::new(layout, slots, context, E::zeros),
            ids: vec![0; slots.max(context)].into(),
            lengths: vec![0; slots].into(),
            total: vec![0; 1].into(),
            wanted: vec![0; slots].into(),
            logits: vec![0.0; slots * layout.vocabulary].into(),
            layout,
            context,
            slots,
        }
    }

    /// Binds what a run reads and writes.
    fn bind(
        &mut self,
        io: &mut IoBinding,
        names: &[(CString, CString)],
        run: Run,
    ) -> ort::Result<()> {
        let Run {
            first,
            rows,
            tokens,
            wanted,
        } = run;
        let Layout {
            heads,
            head_size,
            vocabulary,
            ..
        } = self.layout;
        bind::<i64, _>(io, Side::Input, IDS, (&mut self.ids, &[rows, tokens]))?;
        bind::<i32, _>(io, Side::Input, LENGTHS, (&mut self.lengths, &[rows]))?;
        bind::<i32, _>(io, Side::Input, TOTAL, (&mut self.total, &[]))?;
        bind::<i64, _>(io, Side::Input, WANTED, (&mut self.wanted, &[rows, wanted]))?;
        let shape = [rows, wanted, vocabulary];
        bind::<f32, _>(io, Side::Output, LOGITS, (&mut self.logits, &shape))?;
        let shape = [rows, heads, self.context, head_size];
        for (block, (past, present)) in names.iter().enumerate() {
            for (side, name) in [(Side::Input, past), (Side::Output, present)] {
                let memory = self.kv.rows(block, first, rows);
                bind::<E::Tensor, _>(io, side, name, (memory, &shape))?;
            }
        }
        Ok(())
    }
}

impl<E: Element> OnnxDecoder<E> {
    pub(super) fn new(
        session: Session,
        layout: Layout,
        (slots, context): (usize, usize),
        shrinking: RunOptions<NoSelectedOutputs>,
    ) -> Self {
        Self {
            steps: (0..slots).map(|_| None).collect(),
            memory: Bound::new(layout, slots, context),
            names: layout.names(),
            session,
            rows: Rows::new(slots),
            held: vec![0; slots],
            order: Vec::with_capacity(slots),
            shrinking: Arc::new(shrinking),
            _give_back: memory::GiveBack,
        }
    }

    /// Moves these slots to the first rows.
    fn gather(&mut self, rows: &[(usize, u32)]) {
        let slots: Vec<usize> = rows.iter().map(|(slot, _)| *slot).collect();
        for (a, b) in self.rows.gather(&slots) {
            let (to_a, to_b) = (self.rows.row(a), self.rows.row(b));
            let (held_a, held_b) = (self.held[a], self.held[b]);
            let kv = &mut self.memory.kv;
            if held_b == 0 {
                kv.copy(to_b, to_a, held_a);
                kv.release(to_b, 0, held_a);
            } else if held_a == 0 {
                kv.copy(to_a, to_b, held_b);
                kv.release(to_a, 0, held_b);
            } else {
                kv.swap(to_a, to_b, held_a.max(held_b));
            }
        }
    }

    fn run_prefill(
        &mut self,
        slot: usize,
        tokens: &[u32],
        options: Option<&RunOptions<NoSelectedOutputs>>,
    ) -> ort::Result<()> {
        let run = Run {
            first: self.rows.row(slot),
            rows: 1,
            tokens: tokens.len(),
            wanted: usize::from(self.memory.wanted[0] >= 0),
        };
        let mut io = self.session.create_binding()?;
        self.memory.bind(&mut io, &self.names, run)?;
        match options {
            None => self.session.run_binding(&io).map(drop),
            Some(options) => self
                .session
                .run_binding_with_options(&io, options)
                .map(drop),
        }
    }

    fn run_step(&mut self, rows: usize) -> ort::Result<()> {
        let io = match &mut self.steps[rows - 1] {
            Some(io) => io,
            bound => {
                let run = Run {
                    first: 0,
                    rows,
                    tokens: 1,
                    wanted: 1,
                };
                let mut io = self.session.create_binding()?;
                self.memory.bind(&mut io, &self.names, run)?;
                bound.insert(io)
            }
        };
        self.session.run_binding(io).map(drop)
    }

    /// Writes the inputs of a prompt's piece.
    fn write_prefill(&mut self, slot: usize, tokens: &[u32], last: bool) {
        let memory = &mut self.memory;
        for (cell, token) in memory.ids.iter_mut().zip(tokens) {
            *cell = (*token).into();
        }
        let total = self.held[slot] + tokens.len();
        memory.lengths[0] = number(total - 1);
        memory.total[0] = number(total);
        // Nothing is read of this input where no logits are wanted.
        memory.wanted[0] = if last { tokens.len() as i64 - 1 } else { -1 };
    }

    fn fits(&self, slot: usize, tokens: usize) -> Result<(), BackendError> {
        let fits = tokens > 0 && self.held[slot] + tokens <= self.memory.context;
        if fits {
            Ok(())
        } else {
            Err(BackendError::Payload)
        }
    }
}

impl<E: Element> Decoder for OnnxDecoder<E> {
    fn slots(&self) -> usize {
        self.memory.slots
    }

    fn context(&self) -> usize {
        self.memory.context
    }

    fn token_bytes(&self) -> usize {
        self.memory.layout.token_bytes()
    }

    fn prefill(
        &mut self,
        slot: usize,
        tokens: &[u32],
        last: bool,
    ) -> Result<Option<&[f32]>, BackendError> {
        self.fits(slot, tokens.len())?;
        self.write_prefill(slot, tokens, last);
        self.run_prefill(slot, tokens, None)
            .map_err(runtime_error)?;
        self.held[slot] += tokens.len();
        let vocabulary = self.memory.layout.vocabulary;
        Ok(last.then(|| &self.memory.logits[..vocabulary]))
    }

    fn step(&mut self, rows: &[(usize, u32)]) -> Result<Logits<'_>, BackendError> {
        if rows.is_empty() || rows.len() > self.memory.slots {
            return Err(BackendError::Payload);
        }
        for (slot, _) in rows {
            self.fits(*slot, 1)?;
        }
        self.gather(rows);
        self.order.clear();
        let mut most = 0;
        for (slot, token) in rows {
            let (row, held) = (self.rows.row(*slot), self.held[*slot]);
            self.order.push(row);
            self.memory.ids[row] = (*token).into();
            self.memory.lengths[row] = number(held);
            self.memory.wanted[row] = 0;
            most = most.max(held + 1);
        }
        self.memory.total[0] = number(most);
        self.run_step(rows.len()).map_err(runtime_error)?;
        for (slot, _) in rows {
            self.held[*slot] += 1;
        }
        let logits = &self.memory.logits[..rows.len() * self.memory.layout.vocabulary];
        Ok(Logits::new(logits, &self.order))
    }

    fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) {
        self.truncate(to, 0);
        let tokens = tokens.min(self.held[from]);
        let (from, row) = (self.rows.row(from), self.rows.row(to));
        self.memory.kv.copy(from, row, tokens);
        self.held[to] = tokens;
    }

    fn truncate(&mut self, slot: usize, tokens: usize) {
        let held = self.held[slot];
        if tokens < held {
            let row = self.rows.row(slot);
            self.memory.kv.release(row, tokens, held);
            self.held[slot] = tokens;
        }
    }

    /// The runtime gives memory back at the end of a run, so a small one is made for that, in a slot that
    /// holds nothing. If all hold something, there is none.
    fn shrink(&mut self) -> Result<(), BackendError> {
        let free = self.held.iter().position(|held| *held == 0);
        let shrunk = match free {
            None => Ok(()),
            Some(slot) => {
                self.write_prefill(slot, &[0], true);
                let options = Arc::clone(&self.shrinking);
                let run = self.run_prefill(slot, &[0], Some(&options));
                let row = self.rows.row(slot);
                self.memory.kv.release(row, 0, 1);
                run.map_err(runtime_error)
            }
        };
        memory::give_back();
        shrunk
    }
}

/// Tokens of a context, which is far below the limit of this type.
fn number(tokens: usize) -> i32 {
    i32::try_from(tokens).unwrap_or(i32::MAX)
}

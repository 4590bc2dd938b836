//! What a decoder's ONNX file looks like: how many layers, of what.
//!
//! The names are those of Optimum and of ONNX Runtime's GenAI (`past_key_values.N.key`), with one addition:
//! `last_pos` says after which tokens logits are wanted, so that a prompt does not pay for the vocabulary
//! at each of its tokens.

use std::ffi::CString;

use ort::session::Session;
use ort::value::{Outlet, TensorElementType};

use crate::inference::session::WiringError;

/// Tokens, `[batch, seq]`.
pub(super) const IDS: &std::ffi::CStr = c"input_ids";
/// Tokens of each row less one, those of this run included, `[batch]`.
pub(super) const LENGTHS: &std::ffi::CStr = c"seqlens_k";
/// The most tokens of a row.
pub(super) const TOTAL: &std::ffi::CStr = c"total_sequence_length";
/// After which tokens of the run logits are wanted, `[batch, wanted]`.
pub(super) const WANTED: &std::ffi::CStr = c"last_pos";
/// `[batch, wanted, vocabulary]`.
pub(super) const LOGITS: &std::ffi::CStr = c"logits";

/// The sizes of a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) layers: usize,
    /// Heads of keys and values.
    pub(super) heads: usize,
    pub(super) head_size: usize,
    pub(super) vocabulary: usize,
    /// Whether keys and values have 16 bits.
    pub(super) half: bool,
}

impl Layout {
    /// Reads it out of a loaded file.
    pub(super) fn of(session: &Session) -> Result<Self, WiringError> {
        let (inputs, outputs) = (session.inputs(), session.outputs());
        for name in [IDS, LENGTHS, TOTAL, WANTED] {
            find(inputs, &name.to_string_lossy())?;
        }
        let logits = find(outputs, &LOGITS.to_string_lossy())?;
        let vocabulary = size(logits, 2)?;
        let first = find(inputs, "past_key_values.0.key")?;
        let layers = inputs
            .iter()
            .filter(|it| it.name().ends_with(".key"))
            .count();
        let layout = Self {
            layers,
            heads: size(first, 1)?,
            head_size: size(first, 3)?,
            vocabulary,
            half: is_half(first)?,
        };
        for (past, present) in layout.names() {
            let (past, present) = (past.to_string_lossy(), present.to_string_lossy());
            for outlet in [find(inputs, &past)?, find(outputs, &present)?] {
                let shape = (size(outlet, 1)?, size(outlet, 3)?, is_half(outlet)?);
                if shape != (layout.heads, layout.head_size, layout.half) {
                    return Err(wrong(format!("{} is not like the first", outlet.name())));
                }
            }
        }
        Ok(layout)
    }

    /// The input and the output of each block of keys or values.
    pub(super) fn names(&self) -> Vec<(CString, CString)> {
        let name = |text: String| CString::new(text).expect("a name of ours has no zero in it");
        let blocks = (0..self.layers).flat_map(|layer| ["key", "value"].map(|kind| (layer, kind)));
        let names = blocks.map(|(layer, kind)| {
            let past = name(format!("past_key_values.{layer}.{kind}"));
            (past, name(format!("present.{layer}.{kind}")))
        });
        names.collect()
    }

    /// Bytes of what is remembered of one token.
    pub(super) fn token_bytes(&self) -> usize {
        let element = if self.half { 2 } else { 4 };
        2 * self.layers * self.heads * self.head_size * element
    }
}

fn find<'o>(outlets: &'o [Outlet], name: &str) -> Result<&'o Outlet, WiringError> {
    let mut named = outlets.iter().filter(|outlet| outlet.name() == name);
    named
        .next()
        .ok_or_else(|| wrong(format!("there is no {name}")))
}

/// A dimension, which must be fixed.
fn size(outlet: &Outlet, dimension: usize) -> Result<usize, WiringError> {
    let shape = outlet.dtype().tensor_shape();
    let size = shape.and_then(|shape| shape.get(dimension).copied());
    let size = size.and_then(|size| usize::try_from(size).ok());
    size.filter(|size| *size > 0).ok_or_else(|| {
        let name = outlet.name();
        wrong(format!("{name} has no fixed dimension {dimension}"))
    })
}

fn is_half(outlet: &Outlet) -> Result<bool, WiringError> {
    match outlet.dtype().tensor_type() {
        Some(TensorElementType::Float32) => Ok(false),
        Some(TensorElementType::Float16) => Ok(true),
        other => {
            let name = outlet.name();
            Err(wrong(format!("{name} has elements of type {other:?}")))
        }
    }
}

fn wrong(problem: String) -> WiringError {
    WiringError::NoDecoder(problem)
}

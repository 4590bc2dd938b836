//! `[warm_up]`: what a model of any tensors is run with before it serves.
//!
//! A dimension that is free is one in the first run. Some models cannot compute that: a network that halves
//! a picture three times needs eight pixels in a row. What they need only they know, so it is said here. It
//! changes no result, so it is no part of the digest.

use std::collections::BTreeMap;

use brink_protocol::tensor::{MAX_ELEMENTS, MAX_RANK};
use toml::Value;

use super::ModelTask;
use super::keys::Keys;

/// Shapes of inputs, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WarmUp {
    /// As the ONNX file has them: where the first dimension counts items, it is there, and 1. Inputs that
    /// are not named have one of each dimension that is free.
    pub shapes: BTreeMap<String, Vec<u64>>,
}

impl WarmUp {
    pub(super) fn read(keys: &mut Keys<'_>, task: &ModelTask) -> Self {
        let ModelTask::Generic { batched } = *task else {
            // Left where it is, so that what is wrong with it is told.
            keys.optional::<()>(
                "warm_up",
                "left out: only task = \"generic\" has it",
                |_| None,
            );
            return Self::default();
        };
        let mut keys = keys.section("warm_up").section("shapes");
        let what = format!(
            "a list of up to {MAX_RANK} whole numbers from 1{}, {MAX_ELEMENTS} elements at most",
            if batched {
                ", of which the first, that of the batch, is 1"
            } else {
                ""
            }
        );
        let mut shapes = BTreeMap::new();
        for name in keys.names() {
            if let Some(shape) = keys.optional(&name, &what, |value| shape(value, batched)) {
                shapes.insert(name, shape);
            }
        }
        Self { shapes }
    }
}

fn shape(value: &Value, batched: bool) -> Option<Vec<u64>> {
    let sizes = value.as_array()?.iter();
    let size = |size: &Value| u64::try_from(size.as_integer()?).ok().filter(|it| *it > 0);
    let shape: Vec<u64> = sizes.map(size).collect::<Option<_>>()?;
    let elements = shape
        .iter()
        .try_fold(1u64, |product, size| product.checked_mul(*size))?;
    let is_one_item = !batched || shape.first() == Some(&1);
    (is_one_item && shape.len() <= MAX_RANK && elements <= MAX_ELEMENTS).then_some(shape)
}

//! Vectors and scores: what a run gave, cut into one result for each item.

use std::borrow::Cow;

use bytes::Bytes;
use half::f16;
use ort::value::{TensorElementType, TensorValueTypeMarker, Value};

use super::runtime_error;
use crate::inference::backend::{BackendError, Output};
use crate::inference::model::Pooling;

/// What becomes of an output of numbers.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    /// The output's name.
    pub(super) output: String,
    /// Numbers of one result.
    pub(super) per_item: usize,
    /// How one result is made of them.
    pub(super) shape: NumbersShape,
}

/// How one result is made of a model's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NumbersShape {
    /// A vector.
    Vector {
        /// Of several, or as it is.
        pooling: Pooling,
        /// Whether it is divided by its length.
        normalize: bool,
    },
    /// Scores, or logits that become scores.
    Scores {
        /// Whether they are logits.
        logits: bool,
    },
}

impl Numbers {
    /// The results of the first items of a run, whose sizes are given; more of them only filled it up.
    pub(super) fn results<T: TensorValueTypeMarker + ?Sized>(
        &self,
        value: &Value<T>,
        sizes: &[usize],
    ) -> Result<Vec<Output>, BackendError> {
        let elements = value.dtype().tensor_type();
        let (shape, numbers) = if elements == Some(TensorElementType::Float16) {
            let (shape, halves) = value.try_extract_tensor::<f16>().map_err(runtime_error)?;
            let numbers = halves.iter().map(|half| half.to_f32()).collect();
            (shape, Cow::Owned(numbers))
        } else {
            let (shape, numbers) = value.try_extract_tensor::<f32>().map_err(runtime_error)?;
            (shape, Cow::Borrowed(numbers))
        };
        let rows = shape
            .first()
            .map_or(0, |rows| usize::try_from(*rows).unwrap_or(0));
        self.cut(&numbers, rows, sizes)
    }

    fn cut(
        &self,
        numbers: &[f32],
        rows: usize,
        lengths: &[usize],
    ) -> Result<Vec<Output>, BackendError> {
        let per_row = numbers.len().checked_div(rows).unwrap_or(0);
        let pooled = matches!(
            self.shape,
            NumbersShape::Vector {
                pooling: Pooling::Mean | Pooling::Cls,
                ..
            }
        );
        let fits = match pooled {
            true => per_row >= self.per_item && per_row.is_multiple_of(self.per_item),
            false => per_row == self.per_item,
        };
        if rows < lengths.len() || !fits {
            return Err(BackendError::Shape {
                expected: lengths.len() * self.per_item,
                actual: numbers.len(),
            });
        }
        let rows = numbers.chunks_exact(per_row).zip(lengths);
        rows.map(|(row, length)| self.result(row, *length))
            .collect()
    }

    fn result(&self, row: &[f32], length: usize) -> Result<Output, BackendError> {
        match self.shape {
            NumbersShape::Vector { pooling, normalize } => {
                let vector = pool(row, self.per_item, pooling, length);
                if normalize {
                    return finite(&normalized(&vector));
                }
                finite(&vector)
            }
            NumbersShape::Scores { logits: true } => finite(&softmax(row)),
            NumbersShape::Scores { logits: false } => finite(row),
        }
    }
}

fn pool(row: &[f32], dimensions: usize, pooling: Pooling, length: usize) -> Cow<'_, [f32]> {
    match pooling {
        Pooling::Inside => Cow::Borrowed(row),
        Pooling::Cls => Cow::Borrowed(&row[..dimensions]),
        Pooling::Mean => {
            let mut mean = vec![0.0; dimensions];
            for token in row.chunks_exact(dimensions).take(length) {
                for (sum, number) in mean.iter_mut().zip(token) {
                    *sum += number;
                }
            }
            let tokens = length.max(1) as f32;
            mean.iter_mut().for_each(|sum| *sum /= tokens);
            Cow::Owned(mean)
        }
    }
}

fn normalized(vector: &[f32]) -> Vec<f32> {
    let square = |number: &f32| f64::from(*number) * f64::from(*number);
    let length = vector.iter().map(square).sum::<f64>().sqrt().max(1e-12);
    let divide = |number: &f32| (f64::from(*number) / length) as f32;
    vector.iter().map(divide).collect()
}

/// Probabilities of logits; the largest is subtracted so that nothing overflows.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponents: Vec<f64> = logits
        .iter()
        .map(|logit| f64::from(logit - largest).exp())
        .collect();
    let sum: f64 = exponents.iter().sum();
    exponents.iter().map(|it| (it / sum) as f32).collect()
}

/// The bytes of a result. What is not finite compares with nothing and must not be kept.
fn finite(numbers: &[f32]) -> Result<Output, BackendError> {
    if !numbers.iter().all(|number| number.is_finite()) {
        return Err(BackendError::NotFinite);
    }
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
    Ok(Bytes::from_iter(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(per_item: usize, shape: NumbersShape) -> Numbers {
        Numbers {
            output: "vector".to_owned(),
            per_item,
            shape,
        }
    }

    fn floats(output: &Output) -> Vec<f32> {
        let (cells, _) = output.as_chunks::<4>();
        cells.iter().map(|cell| f32::from_le_bytes(*cell)).collect()
    }

    const fn vector(pooling: Pooling, normalize: bool) -> NumbersShape {
        NumbersShape::Vector { pooling, normalize }
    }

    #[test]
    fn vectors_are_pooled_over_real_tokens_only() {
        // One item of two real tokens and one of padding, in two dimensions.
        let row = [1.0, 2.0, 3.0, 6.0, 100.0, 100.0];
        let check = |shape, expected: &[f32]| {
            let results = numbers(2, shape).cut(&row, 1, &[2]).expect("a vector");
            assert_eq!(floats(&results[0]), expected);
        };
        check(vector(Pooling::Mean, false), &[2.0, 4.0]);
        check(vector(Pooling::Cls, false), &[1.0, 2.0]);
        let results = numbers(2, vector(Pooling::Inside, true)).cut(&[3.0, 4.0], 1, &[9]);
        assert_eq!(floats(&results.expect("a vector")[0]), [0.6, 0.8]);
    }

    #[test]
    fn logits_become_probabilities() {
        let shape = NumbersShape::Scores { logits: true };
        let results = numbers(3, shape).cut(&[1000.0, 1000.0, -1000.0], 1, &[1]);
        assert_eq!(floats(&results.expect("scores")[0]), [0.5, 0.5, 0.0]);
    }

    #[test]
    fn items_that_fill_a_batch_up_are_left_out() {
        let shape = NumbersShape::Scores { logits: false };
        let results = numbers(1, shape).cut(&[1.0, 2.0, 0.0], 3, &[1, 1]);
        assert_eq!(results.expect("scores").len(), 2);
    }

    #[test]
    fn results_of_another_size_or_not_finite_are_refused() {
        let inside = numbers(2, vector(Pooling::Inside, false));
        let error = inside.cut(&[1.0; 3], 1, &[1]).expect_err("three numbers");
        assert!(matches!(
            error,
            BackendError::Shape {
                expected: 2,
                actual: 3
            }
        ));
        let mean = numbers(2, vector(Pooling::Mean, false));
        assert!(matches!(
            mean.cut(&[1.0; 3], 1, &[1]),
            Err(BackendError::Shape { .. })
        ));
        assert!(matches!(
            mean.cut(&[], 0, &[1]),
            Err(BackendError::Shape { .. })
        ));
        for number in [f32::NAN, f32::INFINITY] {
            let results = inside.cut(&[0.0, number], 1, &[1]);
            assert!(matches!(results, Err(BackendError::NotFinite)));
        }
    }
}

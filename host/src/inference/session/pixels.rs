//! Pictures as the input of a model.

use half::f16;
use ort::value::TensorElementType;

use super::inputs::{Cells, Feed};
use super::wiring::{WiringError, element_type};
use crate::inference::backend::{BackendError, Payload};
use crate::inference::model::ImageInput;

/// Values that a colour can have.
const COLOURS: usize = 256;

/// The one input of a model that reads pictures.
#[derive(Debug)]
pub(super) struct PixelFeed {
    /// Of one picture.
    shape: [usize; 3],
    /// Numbers of a picture.
    item: usize,
    channels_last: bool,
    bgr: bool,
    /// What each value of red, green and blue becomes: looked up, because it is computed for millions.
    table: [Vec<f32>; 3],
    elements: TensorElementType,
}

impl PixelFeed {
    pub(super) fn new(
        session: &ort::session::Session,
        input: &ImageInput,
    ) -> Result<Self, WiringError> {
        let [only] = session.inputs() else {
            return Err(WiringError::Count(session.inputs().len()));
        };
        if only.name() != input.tensor {
            return Err(WiringError::Input(only.name().to_owned()));
        }
        let elements = match element_type(only) {
            Some(it @ (TensorElementType::Float32 | TensorElementType::Float16)) => it,
            other => return Err(WiringError::Elements(only.name().to_owned(), other)),
        };
        let (width, height) = (input.width as usize, input.height as usize);
        let table = [0, 1, 2].map(|colour| {
            let (mean, std) = (input.mean[colour], input.std[colour]);
            (0..COLOURS)
                .map(|value| (value as f32 - mean) / std)
                .collect()
        });
        Ok(Self {
            shape: match input.channels_last {
                true => [height, width, 3],
                false => [3, height, width],
            },
            item: width * height * 3,
            channels_last: input.channels_last,
            bgr: input.bgr,
            table,
            elements,
        })
    }

    /// Pictures, and zeros behind them.
    fn fill<T: Copy + Default>(
        &self,
        batch: &[&Payload],
        cells: &mut [T],
        number: impl Fn(f32) -> T,
    ) -> Result<(), BackendError> {
        let (pictures, blank) = cells.split_at_mut(batch.len() * self.item);
        for (payload, cells) in batch.iter().zip(pictures.chunks_exact_mut(self.item)) {
            let pixels = payload.pixels()?;
            if pixels.len() != self.item {
                return Err(BackendError::Payload);
            }
            self.picture(pixels, cells, &number);
        }
        blank.fill(T::default());
        Ok(())
    }

    fn picture<T>(&self, pixels: &[u8], cells: &mut [T], number: impl Fn(f32) -> T) {
        let plane = self.item / 3;
        for (at, pixel) in pixels.chunks_exact(3).enumerate() {
            for (colour, value) in pixel.iter().enumerate() {
                let place = if self.bgr { 2 - colour } else { colour };
                let cell = match self.channels_last {
                    true => at * 3 + place,
                    false => place * plane + at,
                };
                cells[cell] = number(self.table[colour][usize::from(*value)]);
            }
        }
    }
}

impl Feed for PixelFeed {
    fn elements(&self) -> Vec<TensorElementType> {
        vec![self.elements]
    }

    /// Pictures of zeros fill a batch up.
    fn shape(
        &self,
        batch: &[&Payload],
        [items, _]: [usize; 2],
    ) -> Result<Vec<usize>, BackendError> {
        let [a, b, c] = self.shape;
        Ok(vec![batch.len().max(items), a, b, c])
    }

    fn write(
        &self,
        _input: usize,
        batch: &[&Payload],
        _shape: &[usize],
        cells: Cells<'_>,
    ) -> Result<(), BackendError> {
        match cells {
            Cells::F32(cells) => self.fill(batch, cells, |number| number),
            Cells::F16(cells) => self.fill(batch, cells, f16::from_f32),
            Cells::I64(_) | Cells::I32(_) => Err(BackendError::Payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(bgr: bool, channels_last: bool) -> PixelFeed {
        let table =
            [100.0, 10.0, 1.0].map(|scale| (0..COLOURS).map(|it| it as f32 * scale).collect());
        PixelFeed {
            shape: [1, 2, 3],
            item: 6,
            channels_last,
            bgr,
            table,
            elements: TensorElementType::Float32,
        }
    }

    #[test]
    fn colours_are_ordered_as_the_model_wants_them() {
        let check = |bgr, channels_last, expected: [f32; 6]| {
            let mut cells = [0.0; 6];
            feed(bgr, channels_last).picture(&[1, 2, 3, 4, 5, 6], &mut cells, |number| number);
            assert_eq!(cells, expected);
        };
        check(false, false, [100.0, 400.0, 20.0, 50.0, 3.0, 6.0]);
        check(true, false, [3.0, 6.0, 20.0, 50.0, 100.0, 400.0]);
        check(false, true, [100.0, 20.0, 3.0, 400.0, 50.0, 6.0]);
        check(true, true, [3.0, 20.0, 100.0, 6.0, 50.0, 400.0]);
    }

    #[test]
    fn batches_are_filled_up_with_blank_pictures() {
        let feed = feed(false, true);
        let picture = Payload::Pixels(vec![1; 6].into());
        let shape = feed.shape(&[&picture], [2, 9]).expect("pictures");
        assert_eq!(shape, [2, 1, 2, 3]);
        let mut cells = [f16::NAN; 12];
        feed.write(0, &[&picture], &shape, Cells::F16(&mut cells))
            .expect("a picture of that size");
        let cells = cells.map(f16::to_f32);
        assert_eq!(cells[..6], [100.0, 10.0, 1.0, 100.0, 10.0, 1.0]);
        assert_eq!(cells[6..], [0.0; 6]);
        let other = Payload::Pixels(vec![1; 5].into());
        let mut cells = [0.0; 6];
        let written = feed.write(0, &[&other], &shape, Cells::F32(&mut cells));
        assert!(written.is_err());
    }
}

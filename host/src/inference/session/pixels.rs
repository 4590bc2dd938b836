//! Pictures as the input of a model.

use half::f16;
use ort::session::SessionInputValue;
use ort::value::{TensorElementType, TensorRef};

use super::wiring::{WiringError, element_type};
use crate::inference::backend::{BackendError, Payload};
use crate::inference::model::ImageInput;

/// Values that a colour can have.
const COLOURS: usize = 256;

/// The one input of a model that reads pictures.
#[derive(Debug)]
pub(super) struct PixelFeed {
    shape: [usize; 4],
    /// Bytes of a picture.
    item: usize,
    channels_last: bool,
    bgr: bool,
    /// What each value of red, green and blue becomes: looked up, because it is computed for millions.
    table: [Vec<f32>; 3],
    cells: Cells,
}

#[derive(Debug)]
enum Cells {
    F32(Vec<f32>),
    F16(Vec<f16>),
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
        let cells = match element_type(only) {
            Some(TensorElementType::Float32) => Cells::F32(Vec::new()),
            Some(TensorElementType::Float16) => Cells::F16(Vec::new()),
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
                true => [0, height, width, 3],
                false => [0, 3, height, width],
            },
            item: width * height * 3,
            channels_last: input.channels_last,
            bgr: input.bgr,
            table,
            cells,
        })
    }

    /// Fills in a batch, and pictures of zeros up to `at_least` items.
    pub(super) fn fill(&mut self, batch: &[&Payload], at_least: usize) -> Result<(), BackendError> {
        let items = batch.len().max(at_least);
        self.shape[0] = items;
        let mut cells = match &mut self.cells {
            Cells::F32(cells) => std::mem::take(cells),
            Cells::F16(_) => Vec::new(),
        };
        cells.clear();
        cells.resize(items * self.item, 0.0);
        for (payload, cells) in batch.iter().zip(cells.chunks_exact_mut(self.item)) {
            let pixels = payload.pixels()?;
            if pixels.len() != self.item {
                return Err(BackendError::Payload);
            }
            self.write(pixels, cells);
        }
        match &mut self.cells {
            Cells::F32(kept) => *kept = cells,
            Cells::F16(kept) => {
                kept.clear();
                kept.extend(cells.into_iter().map(f16::from_f32));
            }
        }
        Ok(())
    }

    fn write(&self, pixels: &[u8], cells: &mut [f32]) {
        let plane = self.item / 3;
        for (at, pixel) in pixels.chunks_exact(3).enumerate() {
            for (colour, value) in pixel.iter().enumerate() {
                let place = if self.bgr { 2 - colour } else { colour };
                let cell = match self.channels_last {
                    true => at * 3 + place,
                    false => place * plane + at,
                };
                cells[cell] = self.table[colour][usize::from(*value)];
            }
        }
    }

    /// The tensor of the batch that was filled in.
    pub(super) fn values(&self) -> ort::Result<Vec<SessionInputValue<'_>>> {
        let value: SessionInputValue<'_> = match &self.cells {
            Cells::F32(cells) => TensorRef::from_array_view((self.shape, &cells[..]))?.into(),
            Cells::F16(cells) => TensorRef::from_array_view((self.shape, &cells[..]))?.into(),
        };
        Ok(vec![value])
    }

    pub(super) fn forget(&mut self) {
        match &mut self.cells {
            Cells::F32(cells) => *cells = Vec::new(),
            Cells::F16(cells) => *cells = Vec::new(),
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
            shape: [0; 4],
            item: 6,
            channels_last,
            bgr,
            table,
            cells: Cells::F32(Vec::new()),
        }
    }

    #[test]
    fn colours_are_ordered_as_the_model_wants_them() {
        let check = |bgr, channels_last, expected: [f32; 6]| {
            let mut cells = [0.0; 6];
            feed(bgr, channels_last).write(&[1, 2, 3, 4, 5, 6], &mut cells);
            assert_eq!(cells, expected);
        };
        check(false, false, [100.0, 400.0, 20.0, 50.0, 3.0, 6.0]);
        check(true, false, [3.0, 6.0, 20.0, 50.0, 100.0, 400.0]);
        check(false, true, [100.0, 20.0, 3.0, 400.0, 50.0, 6.0]);
        check(true, true, [3.0, 20.0, 100.0, 6.0, 50.0, 400.0]);
    }

    #[test]
    fn batches_are_filled_up_with_blank_pictures() {
        let mut feed = feed(false, true);
        let picture = Payload::Pixels(vec![1; 6].into());
        feed.fill(&[&picture], 2).expect("a picture of that size");
        assert_eq!(feed.shape[0], 2);
        let Cells::F32(cells) = &feed.cells else {
            panic!("as it was made")
        };
        assert_eq!(cells[..6], [100.0, 10.0, 1.0, 100.0, 10.0, 1.0]);
        assert_eq!(cells[6..], [0.0; 6]);
        let other = Payload::Pixels(vec![1; 5].into());
        assert!(feed.fill(&[&other], 1).is_err());
    }
}

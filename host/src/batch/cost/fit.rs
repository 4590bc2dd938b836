//! Fits the model at warm-up, by running blank inputs.

use std::time::Duration;

use super::CostModel;
use crate::batch::config::BatchLimits;
use crate::batch::shape::Shape;
use crate::inference::{Backend, BackendError};

/// Time for all probes of a model. A start takes a second or more anyway.
const BUDGET: Duration = Duration::from_millis(1500);
/// Runs of each shape, of which the fastest counts: whatever else the machine did made the others
/// slower. One more comes first, which allocates.
const RUNS: usize = 3;

/// Measures a backend that serves nobody yet. What it cannot be asked for, and what the time does
/// not suffice for, is learnt from its later runs.
///
/// # Errors
/// When a probe fails: the model does not run.
pub fn fit(backend: &mut dyn Backend, limits: &BatchLimits) -> Result<CostModel, BackendError> {
    let mut model = CostModel::new(limits);
    let mut left = BUDGET;
    for shape in shapes(&backend.probe_sizes(), limits) {
        // The next shape is larger: what cannot be afforded now cannot be later.
        let expected = model.time(shape.padded()).unwrap_or_default();
        if expected * (RUNS as u32 + 1) > left {
            break;
        }
        let times = times(backend, shape, left)?;
        left = left.saturating_sub(times.iter().sum());
        if let Some(fastest) = times.iter().skip(1).min() {
            model.probed(shape, *fastest);
        }
    }
    Ok(model)
}

/// The probes, the cheapest first: each size alone and in batches of each power of two, or the
/// shapes of runs if those are fixed.
fn shapes(sizes: &[usize], limits: &BatchLimits) -> Vec<Shape> {
    if let Some(buckets) = &limits.buckets {
        let sizes = buckets.sizes.iter();
        return sizes.map(|size| Shape::of(buckets.items, *size)).collect();
    }
    let powers = (0..usize::BITS).map(|power| 1usize << power);
    let numbers: Vec<usize> = powers
        .take_while(|items| *items <= limits.max_batch_items)
        .collect();
    let of_size = |size: &usize| {
        let size = *size;
        numbers.iter().map(move |items| Shape::of(*items, size))
    };
    let fits = |shape: &Shape| shape.items == 1 || shape.padded() <= limits.max_batch_tokens;
    let mut shapes: Vec<Shape> = sizes.iter().flat_map(of_size).filter(fits).collect();
    shapes.sort_by_key(|shape| shape.padded());
    shapes
}

/// The times of the runs of a shape, of fewer if they take too long. None if the model has no such
/// input.
fn times(
    backend: &mut dyn Backend,
    shape: Shape,
    left: Duration,
) -> Result<Vec<Duration>, BackendError> {
    let mut times = Vec::new();
    while times.len() <= RUNS && times.iter().sum::<Duration>() < left {
        match backend.probe(shape.items, shape.longest)? {
            Some(time) => times.push(time),
            None => break,
        }
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchConfig;
    use crate::inference::{Device, Output, Payload};

    /// Takes the time that a function says, the first time of a shape ten times that.
    struct Timed {
        sizes: Vec<usize>,
        time: fn(usize, usize) -> Duration,
        probes: Vec<(usize, usize)>,
    }

    impl Backend for Timed {
        fn run(&mut self, _: &[&Payload]) -> Result<Vec<Output>, BackendError> {
            Err(BackendError::Payload)
        }

        fn shrink(&mut self) -> Result<(), BackendError> {
            Ok(())
        }

        fn probe_sizes(&self) -> Vec<usize> {
            self.sizes.clone()
        }

        fn probe(&mut self, items: usize, size: usize) -> Result<Option<Duration>, BackendError> {
            let before = self.probes.iter().filter(|probe| **probe == (items, size));
            let noise = [10, 2, 1, 3][before.count() % 4];
            self.probes.push((items, size));
            Ok(Some((self.time)(items, size) * noise))
        }
    }

    fn backend(sizes: &[usize], time: fn(usize, usize) -> Duration) -> Timed {
        Timed {
            sizes: sizes.to_vec(),
            time,
            probes: Vec::new(),
        }
    }

    fn limits() -> BatchLimits {
        BatchConfig::default().limits(Device::Cpu)
    }

    fn micros(micros: usize) -> Duration {
        Duration::from_micros(micros as u64)
    }

    #[test]
    fn parts_are_found_whatever_else_the_machine_does() {
        let mut timed = backend(&[16, 64], |items, size| micros(300 + 20 * items * size));
        let model = fit(&mut timed, &limits()).expect("a fit");
        let (run, unit) = (model.run_seconds(), model.unit_seconds());
        assert!((run.unwrap() - 300e-6).abs() < 1e-6, "{run:?}");
        assert!((unit.unwrap() - 20e-6).abs() < 1e-7, "{unit:?}");
        assert!(timed.probes.contains(&(16, 16)));
    }

    #[test]
    fn probes_end_when_their_time_is_over() {
        let slow = |items, size| micros(4_000 * items * size);
        let mut timed = backend(&[1, 100], slow);
        fit(&mut timed, &limits()).expect("a fit");
        let spent: Duration = timed.probes.iter().map(|(n, size)| slow(*n, *size)).sum();
        assert!(spent < BUDGET, "{spent:?}");
        assert!(!timed.probes.contains(&(1, 100)), "400 ms are too much");

        let mut endless = backend(&[1], |_, _| Duration::from_secs(60));
        fit(&mut endless, &limits()).expect("a fit");
        assert_eq!(endless.probes.len(), 1);
    }

    #[test]
    fn backend_that_cannot_be_probed_is_learnt_later() {
        let model = fit(&mut backend(&[], |_, _| micros(1)), &limits()).expect("a fit");
        assert_eq!(model.time(10), None);
        assert_eq!(model.run_cost(), limits().run_cost as f64);
    }
}

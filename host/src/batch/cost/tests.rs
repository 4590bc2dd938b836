//! What the model tells from what it was shown.

use super::*;
use crate::batch::BatchConfig;
use crate::inference::Device;

fn model() -> CostModel {
    CostModel::new(&BatchConfig::default().limits(Device::Cpu))
}

/// A model that has seen runs of 2 ms and 0.2 ms a unit.
fn taught(now: Instant) -> CostModel {
    let mut model = model();
    for round in 0..30 {
        let shape = [Shape::of(1, 16), Shape::of(4, 64), Shape::of(16, 16)][round % 3];
        model.ran(shape, micros(2_000 + 200 * shape.padded() as u64), now);
    }
    model
}

fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

fn close(actual: Option<Duration>, expected: Duration) -> bool {
    actual.is_some_and(|actual| actual.abs_diff(expected) < expected / 50)
}

#[test]
fn nothing_is_told_before_anything_ran() {
    let model = model();
    assert_eq!(model.time(100), None);
    assert_eq!(model.time_for(Load::default()), None);
    assert_eq!(model.padded_within(Duration::ZERO), usize::MAX);
    assert_eq!(model.run_cost(), 7.0);
}

#[test]
fn times_of_runs_and_backlogs_are_told() {
    let model = taught(Instant::now());
    assert!((model.run_cost() - 10.0).abs() < 0.1, "{model:?}");
    assert!(close(model.time(100), micros(22_000)));
    assert_eq!(model.padded_within(micros(1_000)), 0);
    assert!((98..=100).contains(&model.padded_within(micros(22_000))));
    // 1,000 items of 16 tokens are 62.5 runs of 16 items, or of 256 tokens.
    let load = Load {
        items: 1_000,
        tokens: 16_000,
        bytes: 0,
    };
    assert!(close(model.time_for(load), micros(125_000 + 3_200_000)));
    let one = Load {
        items: 1,
        tokens: 512,
        bytes: 0,
    };
    assert!(close(model.time_for(one), micros(2_000 + 102_400)));
}

#[test]
fn slow_machine_is_noticed_within_some_runs_and_forgotten_after_a_pause() {
    let mut now = Instant::now();
    let mut model = taught(now);
    let expected = model.time(256).unwrap();
    for _ in 0..20 {
        now += 3 * expected;
        model.ran(Shape::of(16, 16), 3 * expected, now);
    }
    assert!(model.time(256).unwrap() > 2 * expected);
    let mut quick = model.clone();
    quick.ran(Shape::of(16, 16), expected, now + Duration::from_secs(30));
    assert!(quick.time(256).unwrap() < expected.mul_f64(1.3));
}

#[test]
fn backlog_is_told_with_the_padding_of_late() {
    let now = Instant::now();
    let mut model = taught(now);
    let padded = Shape {
        items: 4,
        longest: 64,
        real: 128,
    };
    let load = Load {
        items: 100,
        tokens: 1_600,
        bytes: 0,
    };
    let before = model.time_for(load).unwrap();
    for run in 0..50 {
        model.ran(padded, micros(2_000 + 51_200), now + micros(run));
    }
    let ratio = model.time_for(load).unwrap().div_duration_f64(before);
    assert!((1.7..2.1).contains(&ratio), "{ratio}");
}

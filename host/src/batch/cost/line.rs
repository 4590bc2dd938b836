//! The time of a run as a straight line: `run + per_unit * padded`.
//!
//! Fitted by least squares of the *relative* errors, so that a long run does not count for more
//! than a short one; the difference between them is what the run's own cost is read from. A run
//! that was held up is wrong by one at most in this measure, so a few of them move little. Older
//! runs count for less and less.

/// What a run counts for when the next one comes: the last fifty count.
const DECAY: f64 = 0.98;
/// Least spread of the sizes (their squared coefficient of variation, nearly) from which the two
/// parts can be told apart. Below it only their sum is learnt, and their ratio stays.
const MIN_SPREAD: f64 = 0.05;
/// A run is never told to cost more than so many units by itself: a cost that does not depend on
/// the size at all would make it infinite.
const MAX_RATIO: f64 = 1e6;
/// Nothing is faster; a clock that stands still in tests would make the fit meaningless.
const MIN_SECONDS: f64 = 1e-6;

/// Decayed sums over runs of `x` units and `y` seconds, with `u = 1 / y` and `v = x / y`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// What a run costs by itself, in units.
    ratio: f64,
    /// Seconds of a unit; `None` until something was measured.
    per_unit: Option<f64>,
    uu: f64,
    uv: f64,
    vv: f64,
    u: f64,
    v: f64,
}

impl Line {
    /// Nothing measured; a run is taken to cost so many units by itself.
    pub(super) fn new(ratio: f64) -> Self {
        Self {
            ratio: ratio.clamp(0.0, MAX_RATIO),
            per_unit: None,
            uu: 0.0,
            uv: 0.0,
            vv: 0.0,
            u: 0.0,
            v: 0.0,
        }
    }

    /// What a run costs by itself, in units.
    pub(super) fn ratio(&self) -> f64 {
        self.ratio
    }

    /// Seconds of a unit.
    pub(super) fn per_unit(&self) -> Option<f64> {
        self.per_unit
    }

    /// Seconds of a run.
    pub(super) fn seconds(&self, padded: usize) -> Option<f64> {
        Some(self.per_unit? * (self.ratio + padded as f64))
    }

    /// Counts a run of so many units.
    pub(super) fn add(&mut self, padded: usize, seconds: f64) {
        let u = 1.0 / seconds.max(MIN_SECONDS);
        let v = padded as f64 * u;
        for (sum, more) in [
            (&mut self.uu, u * u),
            (&mut self.uv, u * v),
            (&mut self.vv, v * v),
            (&mut self.u, u),
            (&mut self.v, v),
        ] {
            *sum = *sum * DECAY + more;
        }
        self.fit();
    }

    fn fit(&mut self) {
        let determinant = self.uu * self.vv - self.uv * self.uv;
        if determinant > MIN_SPREAD * self.uu * self.vv {
            let run = (self.u * self.vv - self.v * self.uv) / determinant;
            let per_unit = (self.v * self.uu - self.u * self.uv) / determinant;
            // A negative part is noise, or a cost that grows faster than the size.
            self.ratio = if per_unit > 0.0 {
                (run / per_unit).clamp(0.0, MAX_RATIO)
            } else {
                MAX_RATIO
            };
        }
        // The unit's cost that fits best with this ratio.
        let c = self.ratio;
        let square = c * c * self.uu + 2.0 * c * self.uv + self.vv;
        if square > 0.0 {
            self.per_unit = Some((c * self.u + self.v) / square);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: f64, expected: f64) -> bool {
        (actual - expected).abs() <= 0.02 * expected
    }

    fn fitted(runs: &[(usize, f64)]) -> Line {
        let mut line = Line::new(7.0);
        for (padded, seconds) in runs {
            line.add(*padded, *seconds);
        }
        line
    }

    #[test]
    fn parts_of_a_line_are_found() {
        for (run, per_unit) in [(0.002, 0.0002), (0.05, 1e-6), (0.0, 0.001), (1e-5, 1e-9)] {
            let runs = [16, 64, 256, 1000, 32].map(|x| (x, run + per_unit * x as f64));
            let line = fitted(&runs);
            assert!(close(line.per_unit().unwrap(), per_unit), "{line:?}");
            assert!(line.ratio() < 0.01 || close(line.ratio(), run / per_unit));
        }
    }

    #[test]
    fn ratio_is_kept_while_all_runs_are_alike() {
        let line = fitted(&[(93, 1.0); 200]);
        assert_eq!(line.ratio(), 7.0);
        assert!(close(line.seconds(93).unwrap(), 1.0));
        assert!(close(line.seconds(193).unwrap(), 2.0));
    }

    #[test]
    fn runs_that_were_held_up_move_little() {
        let mut line = Line::new(0.0);
        for round in 0..200 {
            let padded = [16, 64, 256][round % 3];
            let held_up = if round % 10 == 9 { 20.0 } else { 1.0 };
            line.add(padded, held_up * (0.002 + 0.0002 * padded as f64));
        }
        let seconds = line.seconds(100).unwrap();
        assert!((0.018..0.026).contains(&seconds), "{line:?}");
        assert!((4.0..20.0).contains(&line.ratio()), "{line:?}");
    }

    #[test]
    fn change_is_followed() {
        let mut line = fitted(&[(16, 0.016), (64, 0.064)]);
        for round in 0..600 {
            let padded = [16, 64, 256][round % 3];
            line.add(padded, 0.1 + 0.01 * padded as f64);
        }
        assert!(close(line.ratio(), 10.0), "{line:?}");
        assert!(close(line.per_unit().unwrap(), 0.01), "{line:?}");
    }

    #[test]
    fn cost_that_does_not_depend_on_the_size_is_a_large_ratio() {
        let line = fitted(&[(1, 0.01), (64, 0.01), (256, 0.01), (1, 0.01)]);
        assert!(line.ratio() > 1e5, "{line:?}");
        assert!(close(line.seconds(64).unwrap(), 0.01), "{line:?}");
    }
}

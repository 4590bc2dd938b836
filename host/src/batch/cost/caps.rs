//! How many items pay: measured, because no line says where a cache ends.
//!
//! A table of what a unit took, for batches of similar size (a row for each power of two of the
//! longest item) and of similar number (a column for each power of two of the items). A row's
//! **cap** is the smallest number of items whose units cost as little as the cheapest, nearly: more
//! would only make everybody wait for everybody. Where batching does not pay at all the cap is 1.
//!
//! A cap needs evidence from above and from below: a number that was never tried is tried a few
//! times. After that a batch may be larger than the cap now and then, to see whether that still
//! costs more.

/// Rows: items of up to 2^31 units; above that they are all alike.
const ROWS: usize = 32;
/// Columns: up to 2^12 items; no device gains from more.
const COLUMNS: usize = 13;
/// Weight of the newest run of a cell: the last ten or so count.
const NEWEST: f64 = 0.15;
/// A run that took longer than so many times the cell's average was held up by something else, and
/// counts as this.
const MAX_OUTLIER: f64 = 1.5;
/// Runs before a cell is believed.
const BELIEVED: u32 = 3;
/// By how much a unit may cost more than the cheapest if that spares waiting.
const NEARLY: f64 = 1.03;
/// By how much the present cap's units must cost more than the cheapest before it is given up.
const WORSE: f64 = 1.08;
/// One of so many batches that the cap holds back may be larger.
const EXPLORE: u32 = 32;
/// One of so many batches may be smaller than it could be, while smaller ones are not known.
const LEARN: u32 = 8;

/// What batches of each size and number cost.
#[derive(Clone, Debug)]
pub(super) struct Caps {
    /// The column of the largest batch that is allowed at all.
    last: usize,
    rows: [Row; ROWS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    cells: [Cell; COLUMNS],
    /// Whether numbers of items can be compared.
    is_known: bool,
    /// The column of the cap; `None` where nothing speaks for one.
    cap: Option<usize>,
    /// Batches asked for since the last that explored.
    as_usual: u32,
    /// Batches that explored above the cap.
    explored: usize,
}

/// Seconds of a unit, and how many runs said so.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    runs: u32,
    per_unit: f64,
}

impl Caps {
    /// Nothing measured. Batches have at most so many items.
    pub(super) fn new(max_items: usize) -> Self {
        Self {
            last: column(max_items),
            rows: [Row::default(); ROWS],
        }
    }

    /// Counts a run of `items` of up to `longest` units.
    pub(super) fn add(&mut self, items: usize, longest: usize, seconds: f64) {
        let padded = (items * longest).max(1);
        let row = &mut self.rows[row(longest)];
        row.cells[column(items)].add(seconds / padded as f64);
        row.choose();
    }

    /// Counts a measurement that is known to be good.
    pub(super) fn believe(&mut self, items: usize, longest: usize, seconds: f64) {
        for _ in 0..BELIEVED {
            self.add(items, longest, seconds);
        }
    }

    /// The most items that pay, without exploring.
    pub(super) fn cap(&self, longest: usize) -> usize {
        let cap = self.rows[self.nearest(longest)].cap;
        cap.map_or(usize::MAX, |column| 1 << column)
    }

    /// The most items of the next batch around an item of this size.
    pub(super) fn next(&mut self, longest: usize) -> usize {
        let nearest = self.nearest(longest);
        self.rows[nearest].next(self.last)
    }

    /// The row of that size, or the nearest that is known, if one is.
    fn nearest(&self, longest: usize) -> usize {
        let own = row(longest);
        let known = (0..ROWS).filter(|row| self.rows[*row].is_known);
        known.min_by_key(|row| row.abs_diff(own)).unwrap_or(own)
    }
}

impl Row {
    fn next(&mut self, last: usize) -> usize {
        self.as_usual += 1;
        let usual = self.cap.unwrap_or(last);
        let unknown = (0..usual).find(|column| self.cells[*column].runs < BELIEVED);
        match unknown {
            Some(column) if self.as_usual >= LEARN => {
                self.as_usual = 0;
                return 1 << column;
            }
            _ => {}
        }
        let Some(cap) = self.cap else {
            return usize::MAX;
        };
        if self.as_usual < EXPLORE {
            return 1 << cap;
        }
        self.as_usual = 0;
        self.explored += 1;
        // Each larger column in turn, again and again.
        let larger = last.saturating_sub(cap).max(1);
        1 << (cap + 1 + self.explored % larger)
    }

    fn choose(&mut self) {
        let believed = |column: &usize| self.cells[*column].runs >= BELIEVED;
        let measured: Vec<usize> = (0..COLUMNS).filter(believed).collect();
        self.is_known = measured.len() >= 2;
        let per_unit = |column: &usize| self.cells[*column].per_unit;
        let cheapest = measured.iter().map(per_unit).fold(f64::INFINITY, f64::min);
        let enough = measured
            .iter()
            .find(|column| per_unit(column) <= cheapest * NEARLY);
        let (Some(&enough), Some(&largest)) = (enough, measured.last()) else {
            return;
        };
        let is_kept = self.cap.is_some_and(|cap| {
            believed(&cap) && cap < enough && per_unit(&cap) <= cheapest * WORSE
        });
        if !is_kept {
            self.cap = (enough < largest).then_some(enough);
        }
    }
}

impl Cell {
    fn add(&mut self, per_unit: f64) {
        self.runs = self.runs.saturating_add(1);
        if self.runs == 1 {
            self.per_unit = per_unit;
            return;
        }
        let newest = per_unit.min(self.per_unit * MAX_OUTLIER);
        self.per_unit += NEWEST * (newest - self.per_unit);
    }
}

fn row(longest: usize) -> usize {
    (longest.max(1).ilog2() as usize).min(ROWS - 1)
}

/// 1, 2, 3 to 4, 5 to 8, and so on.
fn column(items: usize) -> usize {
    (items.max(1).next_power_of_two().ilog2() as usize).min(COLUMNS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a device takes for so many items of 64 units.
    type Device = fn(usize) -> f64;

    /// Faster with more items: a run costs much by itself.
    const GAINS: Device = |items| 0.010 + 0.001 * items as f64;
    /// No difference.
    const EVEN: Device = |items| 0.010 * items as f64;
    /// Beyond four items a cache is too small.
    const SUPER_LINEAR: Device = |items| {
        let run = 0.010 + 0.010 * items as f64;
        run * (items as f64 / 4.0).max(1.0).sqrt()
    };

    /// Serves a queue that is always full; the time wobbles by a tenth. Returns the items of the
    /// last thousand batches.
    fn saturate(caps: &mut Caps, device: Device, batches: usize) -> Vec<usize> {
        let mut sizes = Vec::new();
        for batch in 0..batches {
            let items = caps.next(64).min(16);
            let wobble = 1.0 + 0.1 * ((batch * 7) % 11) as f64 / 10.0;
            caps.add(items, 64, device(items) * wobble);
            sizes.push(items);
        }
        sizes.split_off(sizes.len().saturating_sub(1_000))
    }

    fn probed(device: Device) -> Caps {
        let mut caps = Caps::new(16);
        for items in [1, 2, 4, 8, 16] {
            caps.believe(items, 64, device(items));
        }
        caps
    }

    #[test]
    fn cap_is_where_more_items_no_longer_pay() {
        assert_eq!(probed(GAINS).cap(64), usize::MAX);
        assert_eq!(probed(EVEN).cap(64), 1);
        assert_eq!(probed(SUPER_LINEAR).cap(64), 4);
        assert_eq!(
            probed(SUPER_LINEAR).cap(300),
            4,
            "that is the nearest known"
        );
    }

    #[test]
    fn one_item_at_a_time_is_no_evidence_against_more() {
        let mut caps = Caps::new(16);
        caps.believe(1, 64, EVEN(1));
        assert_eq!(caps.cap(64), usize::MAX);
    }

    #[test]
    fn cap_is_found_without_probes() {
        for (device, expected) in [(GAINS, usize::MAX), (EVEN, 1), (SUPER_LINEAR, 4)] {
            let mut caps = Caps::new(16);
            saturate(&mut caps, device, 1_000);
            assert_eq!(caps.cap(64), expected);
        }
    }

    #[test]
    fn batches_of_a_busy_queue_stay_at_the_cap_and_seldom_explore() {
        let mut caps = probed(SUPER_LINEAR);
        let sizes = saturate(&mut caps, SUPER_LINEAR, 5_000);
        let at_cap = sizes.iter().filter(|items| **items == 4).count();
        assert!(at_cap > 960, "{at_cap} of 1000 are at the cap");
        assert!(at_cap < 1_000, "larger ones are tried now and then");
    }

    #[test]
    fn change_is_noticed_in_both_directions() {
        let mut caps = probed(SUPER_LINEAR);
        saturate(&mut caps, GAINS, 5_000);
        assert_eq!(caps.cap(64), usize::MAX);
        saturate(&mut caps, SUPER_LINEAR, 5_000);
        assert_eq!(caps.cap(64), 4);
    }
}

//! What happened so far, and how that is told.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use brink_cache::outcome::Outcome;

use super::edge::Answered;
use super::list::Mistake;

/// Mistakes and failures that are told one by one; further ones are only counted.
const MAX_TOLD: u64 = 10;

/// Counts of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines of the list, where that is known before its end.
    total: Option<u64>,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that have no result.
    pub failed: u64,
    /// Lines that are no request.
    pub mistakes: u64,
    /// Items of the requests that were answered, by outcome.
    pub items: BTreeMap<Outcome, u64>,
    /// How long the run took; zero before its end.
    pub took: Duration,
}

impl Tally {
    pub(super) fn new(total: Option<u64>) -> Self {
        Self {
            total,
            ..Self::default()
        }
    }

    /// Lines that left no result: both kinds.
    pub fn failures(&self) -> u64 {
        self.failed + self.mistakes
    }

    /// Counts a line that is no request; what to tell, if anything.
    pub(super) fn mistake(&mut self, number: u64, mistake: &Mistake) -> Option<String> {
        self.mistakes += 1;
        (self.mistakes <= MAX_TOLD).then(|| format!("line {number} is no request: {mistake}"))
    }

    /// Counts a request; what to tell, if anything.
    pub(super) fn request(&mut self, number: u64, answered: &Answered) -> Option<String> {
        match answered {
            Ok(counts) => {
                self.answered += 1;
                for (outcome, count) in counts.iter() {
                    *self.items.entry(outcome).or_default() += u64::from(count);
                }
                None
            }
            Err(failure) => {
                self.failed += 1;
                (self.failed <= MAX_TOLD).then(|| format!("line {number} failed: {failure}"))
            }
        }
    }

    pub(super) fn ended(&mut self, took: Duration) {
        self.took = took;
    }

    /// One line for people who wait.
    pub(super) fn progress(&self) -> String {
        let done = self.answered + self.failures();
        let of = self.total.map(|total| format!(" of {total}"));
        let (of, items) = (of.unwrap_or_default(), self.items());
        format!(
            "{done}{of} lines, items: {items}, failures: {}",
            self.failures()
        )
    }

    /// Hits and misses always, other outcomes where they occurred.
    fn items(&self) -> String {
        let always = [Outcome::Hit, Outcome::Miss];
        let counted = Outcome::ALL.into_iter().filter_map(|outcome| {
            let count = self.items.get(&outcome).copied();
            let count = count.or_else(|| always.contains(&outcome).then_some(0))?;
            Some(format!("{}={count}", outcome.name()))
        });
        counted.collect::<Vec<_>>().join(", ")
    }
}

/// The summary at the end of a run.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = self.answered + self.failed;
        let seconds = self.took.as_secs_f64();
        writeln!(f, "requests: {requests} in {seconds:.1} s")?;
        writeln!(f, "items: {}", self.items())?;
        let Self {
            failed, mistakes, ..
        } = self;
        write!(
            f,
            "failures: {failed} request(s), {mistakes} line(s) that are none"
        )
    }
}

#[cfg(test)]
mod tests {
    use brink_cache::outcome::OutcomeCounts;

    use super::*;
    use crate::warm_up::edge::Failure;

    #[test]
    fn counts_are_told_as_they_grow() {
        let mut tally = Tally::new(None);
        assert_eq!(
            tally.progress(),
            "0 lines, items: hit=0, miss=0, failures: 0"
        );
        tally.total = Some(4);
        for items in ["hit=1, miss=2", "miss=3, stale=1"] {
            let counts = OutcomeCounts::parse(items).unwrap();
            assert_eq!(tally.request(1, &Ok(counts)), None);
        }
        let told = tally.request(3, &Err(Failure::Timeout));
        assert_eq!(told.unwrap(), "line 3 failed: no answer within 60s");
        let told = tally.mistake(4, &Mistake::NotAnObject);
        assert_eq!(
            told.unwrap(),
            "line 4 is no request: it is JSON and no object"
        );
        assert_eq!(
            tally.progress(),
            "4 of 4 lines, items: hit=1, miss=5, stale=1, failures: 2"
        );
        tally.ended(Duration::from_millis(1234));
        assert_eq!(
            tally.to_string(),
            "requests: 3 in 1.2 s\n\
             items: hit=1, miss=5, stale=1\n\
             failures: 1 request(s), 1 line(s) that are none"
        );
    }

    #[test]
    fn ten_of_each_kind_are_told() {
        let mut tally = Tally::new(None);
        let told = (1..=50).filter_map(|number| tally.mistake(number, &Mistake::TooLong));
        assert_eq!(told.count(), 10);
        let failed = (1..=50).filter_map(|number| tally.request(number, &Err(Failure::Timeout)));
        assert_eq!(failed.count(), 10);
        assert_eq!(tally.failures(), 100);
    }
}

//! Steps and how their progress is shown.

use std::time::{Duration, Instant};

use crate::error::Error;

/// One piece of work of a command.
///
/// A step that is interrupted at any moment must look [`State::Needed`] the next time.
pub(crate) trait Step {
    /// What is made or checked: a few words for the progress line.
    fn title(&self) -> String;

    /// Whether there is anything to do. Cheap: it runs each time.
    fn state(&self) -> Result<State, Error> {
        Ok(State::Needed)
    }

    /// Does the work. What takes more than a moment leaves its programs' output on the terminal.
    fn run(&self) -> Result<(), Error>;
}

/// Whether a step has to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Needed,
    AlreadyThere,
    /// Cannot run here, which is no failure; the text says why.
    Skipped(String),
}

/// Runs steps one after the other and shows `[2/5] what … done in 3.1 s`.
#[derive(Debug)]
pub(crate) struct Progress {
    total: usize,
    finished: Vec<Finished>,
}

#[derive(Debug)]
struct Finished {
    title: String,
    outcome: String,
}

impl Progress {
    /// `total` is the number of steps that the whole command has.
    pub(crate) fn new(total: usize) -> Self {
        Self {
            total,
            finished: Vec::with_capacity(total),
        }
    }

    /// Runs one step unless it is done, and shows how it went.
    pub(crate) fn run(&mut self, step: &dyn Step) -> Result<(), Error> {
        let title = step.title();
        let line = format!("[{}/{}] {title} …", self.finished.len() + 1, self.total);
        let (outcome, result) = match step.state()? {
            State::AlreadyThere => ("already there".to_owned(), Ok(())),
            State::Skipped(reason) => (format!("skipped: {reason}"), Ok(())),
            State::Needed => {
                eprintln!("{line}");
                timed(|| step.run())
            }
        };
        eprintln!("{line} {outcome}");
        self.finished.push(Finished { title, outcome });
        result
    }

    /// The steps so far, a line each.
    pub(crate) fn summary(&self) -> String {
        let width = self.finished.iter().map(|step| step.title.chars().count());
        let width = width.max().unwrap_or(0);
        self.finished
            .iter()
            .map(|Finished { title, outcome }| format!("  {title:width$}  {outcome}\n"))
            .collect()
    }
}

fn timed(work: impl FnOnce() -> Result<(), Error>) -> (String, Result<(), Error>) {
    let start = now();
    let result = work();
    let verb = if result.is_ok() {
        "done in"
    } else {
        "failed after"
    };
    (format!("{verb} {}", seconds(start.elapsed())), result)
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is what a person waited; no test depends on it"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    struct Fake {
        state: State,
        runs: Cell<usize>,
        fails: bool,
    }

    impl Fake {
        fn new(state: State) -> Self {
            Self {
                state,
                runs: Cell::new(0),
                fails: false,
            }
        }
    }

    impl Step for Fake {
        fn title(&self) -> String {
            "fake".to_owned()
        }

        fn state(&self) -> Result<State, Error> {
            Ok(self.state.clone())
        }

        fn run(&self) -> Result<(), Error> {
            self.runs.set(self.runs.get() + 1);
            if self.fails {
                Err(Error::NoHome)
            } else {
                Ok(())
            }
        }
    }

    #[test]
    fn only_a_needed_step_runs() {
        let check = |state: State, runs: usize, shown: &str| {
            let step = Fake::new(state);
            let mut progress = Progress::new(1);
            progress.run(&step).unwrap();
            assert_eq!(step.runs.get(), runs, "{shown}");
            assert!(progress.summary().contains(shown), "{}", progress.summary());
        };
        check(State::Needed, 1, "done in");
        check(State::AlreadyThere, 0, "already there");
        check(State::Skipped("no tool".to_owned()), 0, "skipped: no tool");
    }

    #[test]
    fn failed_step_is_in_the_summary_and_its_error_is_returned() {
        let step = Fake {
            fails: true,
            ..Fake::new(State::Needed)
        };
        let mut progress = Progress::new(1);
        assert!(matches!(progress.run(&step), Err(Error::NoHome)));
        assert!(progress.summary().contains("failed after"));
    }

    #[test]
    fn durations_have_a_tenth_of_a_second() {
        assert_eq!(seconds(Duration::from_millis(3_149)), "3.1 s");
    }
}

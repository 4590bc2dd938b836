//! Tells what is wrong with the parts of a policy, whether they come from a file or from a store.

mod aliases;
mod origins;
mod rules;

use std::time::Duration;

use super::PolicyParts;
use super::rule::Rule;
use crate::file::duration::Written;
use crate::file::{Mistake, Place, name_problem};

/// Everything that is wrong with the parts of a policy.
pub(super) fn check(parts: &PolicyParts) -> Vec<Mistake> {
    let mut check = Check::default();
    check.name("name", &parts.name);
    check.rules(&parts.rules);
    check.origins(&parts.origins);
    check.aliases(&parts.aliases);
    check.mistakes
}

/// Rules that no request can reach. Asked of files only: a stored policy that has one works.
pub(super) fn check_reach(rules: &[Rule]) -> Vec<Mistake> {
    let mut check = Check::default();
    check.reach(rules);
    check.mistakes
}

/// What rules say to no effect. Asked of files only, for the same reason.
pub(super) fn check_effect(rules: &[Rule]) -> Vec<Mistake> {
    let mut check = Check::default();
    check.effect(rules);
    check.mistakes
}

#[derive(Default)]
struct Check {
    place: Option<Place>,
    mistakes: Vec<Mistake>,
}

impl Check {
    /// What is added from now on is wrong here.
    fn at(&mut self, kind: &'static str, index: usize, name: &str) {
        self.place = Some(Place {
            kind,
            index,
            name: name.to_owned(),
        });
    }

    fn add(&mut self, key: &str, problem: String) {
        self.mistakes.push(Mistake {
            line: None,
            place: self.place.clone(),
            key: key.to_owned(),
            problem,
        });
    }

    fn name(&mut self, key: &str, name: &str) {
        if let Some(problem) = name_problem(name) {
            self.add(key, problem);
        }
    }

    fn count(&mut self, key: &str, count: usize, most: usize) {
        if count > most {
            self.add(
                key,
                format!("has {count} elements; at most {most} are allowed"),
            );
        }
    }

    fn duration(&mut self, key: &str, value: Duration, least: Duration, most: Duration) {
        if value < least || value > most || value.subsec_nanos() > 0 {
            let (shown, least, most) = (Written(value), Written(least), Written(most));
            self.add(
                key,
                format!("is \"{shown}\"; \"{least}\" to \"{most}\" is allowed"),
            );
        }
    }
}

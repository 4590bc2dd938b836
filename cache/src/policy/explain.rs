//! Why a policy decides as it does: the rules that were passed over, each with what differs.

use std::fmt;

use super::Policy;
use super::decision::{Decision, MatchedRule, RequestFacts};
use super::pattern::Patterns;
use super::rule::{Fact, Rule};

/// A decision and the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation<'p> {
    /// The rules before the one that matches, in order; all of them if none does.
    pub passed_over: Vec<PassedOver<'p>>,
    /// What was decided.
    pub decision: Decision<'p>,
}

/// A rule that does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver<'p> {
    /// Which.
    pub rule: MatchedRule<'p>,
    /// Its conditions that do not hold; never empty.
    pub differences: Vec<Difference<'p>>,
}

/// A condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference<'p> {
    /// What the condition is about.
    pub fact: Fact,
    /// What the rule wants.
    pub wanted: &'p Patterns,
    /// What the request has.
    pub found: String,
}

impl Policy {
    /// Decides like [`decide`](Self::decide), and says why.
    pub fn explain(&self, facts: &RequestFacts<'_>) -> Explanation<'_> {
        let decision = self.decide(facts);
        let before = decision
            .rule
            .map_or(self.rules().len(), |matched| matched.index);
        let rules = self.rules()[..before].iter().enumerate();
        Explanation {
            passed_over: rules
                .map(|(index, rule)| PassedOver::new(index, rule, facts))
                .collect(),
            decision,
        }
    }
}

impl<'p> PassedOver<'p> {
    fn new(index: usize, rule: &'p Rule, facts: &RequestFacts<'_>) -> Self {
        let differs = |(fact, wanted): (Fact, &'p Patterns)| {
            let found = facts.value(fact);
            (!wanted.matches(found)).then(|| Difference {
                fact,
                wanted,
                found: found.to_owned(),
            })
        };
        let conditions = rule.matching.conditions().into_iter();
        Self {
            rule: MatchedRule {
                index,
                name: &rule.name,
            },
            differences: conditions.filter_map(differs).collect(),
        }
    }
}

/// `task is "embed", wanted is "complete"`
impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            fact,
            wanted,
            found,
        } = self;
        write!(f, "{} is {found:?}, wanted is {wanted}", fact.name())
    }
}

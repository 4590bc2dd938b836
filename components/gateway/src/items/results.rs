//! The results of a request, as forms see them.

use brink_protocol::ModelInfo;

use super::plan::Plan;
use super::resolved::Hit;

/// One result for each input of a request.
#[derive(Clone, Copy, Debug)]
pub struct Results<'a> {
    plan: &'a Plan,
    hits: &'a [Hit],
}

impl<'a> Results<'a> {
    /// `hits` has one for each distinct item of the plan.
    pub(super) fn new(plan: &'a Plan, hits: &'a [Hit]) -> Self {
        Self { plan, hits }
    }

    /// The model that made them.
    pub(crate) fn model(&self) -> &'a ModelInfo {
        self.plan.model.model()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.plan.place_of.len()
    }

    /// Each at the place of its input.
    pub(crate) fn each(&self) -> impl Iterator<Item = &'a Hit> + use<'a> {
        let hits = self.hits;
        self.plan.place_of.iter().map(move |place| &hits[*place])
    }
}

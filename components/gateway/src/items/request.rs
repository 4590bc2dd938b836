//! A request for the results of some items, in whatever form it came.

use brink_cache::Policy;
use brink_protocol::{Catalog, Input, ModelInfo};

use crate::default_model;
use crate::error::ApiError;
use crate::forms::Form;

/// A well-formed request; what depends on the model is not yet checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// 1 to [`MAX_INPUTS`](brink_protocol::limits::MAX_INPUTS) items. In forms in which the model says what an
    /// item is, there are none until the request is bound to one.
    pub inputs: Vec<Input>,
    /// The model's name; empty where the form lets the edge choose.
    pub model: String,
    /// Which version of it; `None` for the one that is served by default.
    pub version: Option<String>,
    /// Whether inputs above the model's limit are cut. Absent means that such an input is an error, so
    /// nothing is ever cut silently.
    pub truncate: bool,
    /// How it was asked for, and how the answer is written.
    pub form: Form,
}

impl Request {
    /// Holds the items against the model, and makes them where only the model says what they are.
    ///
    /// # Errors
    /// What of the request this model does not take.
    pub(crate) fn bind(&mut self, model: &ModelInfo) -> Result<(), ApiError> {
        self.form.bind(&mut self.inputs, self.truncate, model)
    }

    /// The same request, with a model where it named none. `chosen` is the operator's default.
    ///
    /// # Errors
    /// 404 when there is no such model.
    pub fn with_model(
        mut self,
        catalog: &Catalog,
        policy: &Policy,
        chosen: &str,
    ) -> Result<Self, ApiError> {
        if self.model.is_empty()
            && let Some(purpose) = self.form.purpose()
        {
            self.model = default_model::name(catalog, policy, chosen, purpose)?.to_owned();
        }
        Ok(self)
    }

    /// The same request, with the model that the policy's aliases say its name means.
    pub fn for_model(self, policy: &Policy) -> Self {
        let model = policy.model_of(&self.model);
        match model == self.model {
            true => self,
            false => Self {
                model: model.to_owned(),
                ..self
            },
        }
    }
}
